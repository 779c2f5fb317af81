"""``benchmarks/exported.py`` runs and writes its figures."""

from __future__ import annotations

import importlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stablemtl import StableMTLPipeline

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.slow
def test_benchmark(
    small_pipeline: StableMTLPipeline,
    export_small: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    script: Any = importlib.import_module("exported")
    monkeypatch.setattr(script, "load", lambda size, device, dtype: small_pipeline)
    monkeypatch.setattr(script, "TASKS", dict.fromkeys(small_pipeline.tasks))
    written = []

    def export_pipeline(pipe: StableMTLPipeline, folder: Path, to: str) -> None:
        written.append(to)
        shutil.copytree(export_small(to=to, streams="multi"), folder)

    monkeypatch.setattr(script, "export_pipeline", export_pipeline)
    monkeypatch.setattr(script, "open_variant", _refuse_bfloat16(script.open_variant))
    options = script.ExportedOptions(
        sizes=("12x20",), tasks=(3, 1), repeats=1, threads=1, out=tmp_path, exports=tmp_path / "exports"
    )
    report = script.main(options)
    assert written == ["onnx", "openvino"]
    content = json.loads((tmp_path / "exported_nano.json").read_text())
    rows = [(row["runtime"], row["size"], row["tasks"]) for row in content["rows"]]
    assert rows == [(name, "12x20", count) for name in ("torch", "onnx", "openvino") for count in (3, 1)]
    for row in content["rows"]:
        assert row["difference"] < 1e-4
        assert row["ratio"] > 0
        assert len(row["call_s"]) == len(row["networks_s"]) == 1
    assert [row["ratio"] for row in content["rows"][:2]] == [1, 1]
    assert "openvino-bfloat16: not measured (none)" in report.notes


def _refuse_bfloat16(open_variant: Callable[..., Any]) -> Callable[..., Any]:
    """As on a machine without it."""

    def opened(options: Any, variant: str, report: Any) -> Any:
        if variant == "openvino-bfloat16":
            report.notes.append(f"{variant}: not measured (none)")
            return None
        return open_variant(options, variant, report)

    return opened
