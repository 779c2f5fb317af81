"""Runs of exported models that are continued: with the same model, and with another one."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stablemtl import StableMTLPipeline
from stablemtl.exported import load_exported
from stablemtl.exported.manifest import MANIFEST, Manifest, describe_files
from stablemtl.folders import model_fingerprint
from stablemtl.video import VideoMaps, VideoOptions, VideoProgress, predict_video

OPTIONS = VideoOptions(chunk_frames=1, smoothing="none")


@pytest.fixture(scope="module")
def folders(export_small: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """An exported model, and one whose decoder has other weights in a file of the same size."""
    import onnx

    first = export_small(to="onnx", streams="multi")
    second = tmp_path_factory.mktemp("other") / "model"
    shutil.copytree(first, second)
    graph = onnx.load(second / "decoder.onnx")
    weights = max(graph.graph.initializer, key=lambda one: len(one.raw_data))
    values = onnx.numpy_helper.to_array(weights)
    weights.CopyFrom(onnx.numpy_helper.from_array(values * np.float32(-1), weights.name))
    onnx.save(graph, second / "decoder.onnx")
    files = describe_files(path for path in second.iterdir() if path.name != MANIFEST)
    replace(Manifest.read(first), files=files).write(second)
    return first, second


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for number, path in enumerate(paths):
        pixels = np.random.default_rng(number).integers(0, 256, (16, 22, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    return paths


def interrupted(pipe: StableMTLPipeline, pictures: list[Path], out: Path) -> None:
    """A run that has finished two frames."""

    def stop(at: VideoProgress) -> None:
        if (at.stage, at.done) == ("predict", 2):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict_video(pipe, pictures, out, OPTIONS, tasks="depth", progress=stop)


def test_a_video_goes_on_with_the_same_model_only(
    folders: tuple[Path, Path], pictures: list[Path], tmp_path: Path
) -> None:
    first, second = (load_exported(folder, threads=1) for folder in folders)
    interrupted(first, pictures, tmp_path / "a")
    again = load_exported(folders[0], threads=1)
    assert predict_video(again, pictures, tmp_path / "a", OPTIONS, tasks="depth").resumed == 2
    interrupted(first, pictures, tmp_path / "b")
    other = predict_video(second, pictures, tmp_path / "b", OPTIONS, tasks="depth")
    assert other.resumed == 0
    maps = [VideoMaps(tmp_path / name)[0]["depth"].values for name in ("a", "b")]
    assert not np.allclose(*maps)


def test_what_tells_exported_models_apart(folders: tuple[Path, Path], tmp_path: Path) -> None:
    first, second = (load_exported(folder) for folder in folders)
    moved = shutil.copytree(folders[0], tmp_path / "moved")
    assert load_exported(moved).fingerprint == first.fingerprint
    assert first.fingerprint != second.fingerprint
    assert first.fingerprint.endswith(" float32")
    assert model_fingerprint(moved) == model_fingerprint(folders[0])
    assert model_fingerprint(folders[0]) != model_fingerprint(folders[1])
