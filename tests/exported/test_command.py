"""``stablemtl export``."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from stablemtl import StableMTLPipeline
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
    config = command.ExportConfig(model=str(tmp_path / "model"), to="onnx", out=tmp_path / "out")
    assert command.run(config) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("multi-stream model with 3 tasks: ")
    assert "largest difference from torch " in printed
    picture = np.zeros((16, 20, 3), np.uint8)
    assert list(load_exported(tmp_path / "out")(picture)) == ["depth", "optical_flow", "normal"]
    with pytest.raises(ValueError, match=r"--out .*out is there already.*--overwrite"):
        command.run(config)


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
