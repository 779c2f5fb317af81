"""``stablemtl export``."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stablemtl import StableMTLPipeline, __version__, cli
from stablemtl.commands import export as command
from stablemtl.exported import export, load_exported


def test_export(
    small_pipeline: StableMTLPipeline,
    written_once: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(export, "write_onnx", written_once)
    small_pipeline.save_pretrained(tmp_path / "model")
    out = tmp_path / "out"
    config = command.ExportConfig(model=str(tmp_path / "model"), to="onnx", out=out)
    assert command.run(config) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("multi-stream model with 3 tasks: ")
    assert "largest difference from torch " in printed
    picture = np.zeros((16, 20, 3), np.uint8)
    assert list(load_exported(out)(picture)) == ["depth", "optical_flow", "normal"]
    with pytest.raises(ValueError, match=r"--out .*out is there already.*--overwrite"):
        command.run(config)

    arguments = ["export", "--model", tmp_path / "model", "--to", "onnx", "--out", out, "--json"]
    assert cli.main([*map(str, arguments)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "is there already" in captured.err
    assert cli.main([*map(str, arguments), "--overwrite"]) == 0
    check_document(json.loads(capsys.readouterr().out), tmp_path / "model", out)


def check_document(found: dict[str, Any], model: Path, out: Path) -> None:
    """What ``--json`` says, against what lies in the folder."""
    manifest = json.loads((out / "exported.json").read_text())
    for name in ("streams", "tasks", "dtype", "opset", "check", "versions"):
        assert found.pop(name) == manifest[name]
    files = found.pop("files")
    assert {file["name"] for file in files} == {path.name for path in out.iterdir()} - {"exported.json"}
    for file in files:
        content = (out / file["name"]).read_bytes()
        assert (file["bytes"], file["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
    assert found.pop("bytes") == sum(file["bytes"] for file in files)
    assert found.pop("largest_difference") == max(one["whole"] for one in manifest["check"])
    assert found.pop("seconds") > 0
    assert found == {"stablemtl": __version__, "model": str(model), "out": str(out), "to": "onnx"}


@pytest.mark.parametrize(
    "use",
    ["import stablemtl.commands.export", "from stablemtl.exported import is_exported; is_exported('a')"],
)
def test_light_to_import(use: str) -> None:
    code = (
        f"{use}; import sys; print([name for name in ('torch', 'onnx', 'openvino') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
