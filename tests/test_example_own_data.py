"""``examples/own_data``: its labels are right, and its commands run, in miniature."""

from __future__ import annotations

import importlib
import logging
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest

from stablemtl.data import ManifestDataset
from stablemtl.tasks import TASKS

FOLDER = Path(__file__).resolve().parents[1] / "examples" / "own_data"
MODULES = ("wall", "make_data", "run")


@pytest.fixture(scope="module")
def example() -> Iterator[ModuleType]:
    """``run.py``, imported as Python does when the file is run."""
    sys.path.insert(0, str(FOLDER))
    yield importlib.import_module("run")
    sys.path.remove(str(FOLDER))
    for name in MODULES:
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def photos(example: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own") / "photos"
    example.make_data(folder)
    return folder


@pytest.fixture
def quiet() -> Iterator[None]:
    """Training sets levels of logging for its process; put them back."""
    loggers = [logging.getLogger(name) for name in ("", "accelerate", "diffusers")]
    before = [(logger, logger.level, logger.handlers[:]) for logger in loggers]
    yield
    for logger, level, handlers in before:
        logger.setLevel(level)
        logger.handlers[:] = handlers


def test_twenty_images_with_different_labels(photos: Path) -> None:
    parts = [ManifestDataset(photos, split) for split in ("train", "test")]
    assert [len(part) for part in parts] == [16, 4]
    for part in parts:
        assert part.tasks == tuple(TASKS)
    assert len({frozenset(row.labels) for part in parts for row in part.rows}) >= 6


def test_every_label_is_valid_somewhere_and_in_its_range(photos: Path) -> None:
    ranges = {"depth": (1.0, 6.0), "optical_flow": (-25.0, 25.0), "scene_flow": (-0.5, 0.5)}
    for split in ("train", "test"):
        dataset = ManifestDataset(photos, split)
        for task in dataset.tasks:
            lowest, highest = ranges.get(task, TASKS[task].spec.value_range)
            for index in dataset.indices(task):
                sample = dataset.load(index, task)
                seen = sample.target[:, sample.valid[0]]
                assert seen.numel()
                assert lowest - 1e-6 <= seen.min() <= seen.max() <= highest + 1e-6, sample.key


def test_flow_leads_to_the_second_frame(photos: Path) -> None:
    dataset = ManifestDataset(photos)
    rows, columns = np.mgrid[:96, :128].astype(np.float32)
    for index in dataset.indices("optical_flow"):
        sample = dataset.load(index, "optical_flow")
        assert sample.image_next is not None
        image, following = (frame.permute(1, 2, 0).numpy() for frame in (sample.image, sample.image_next))
        u, v = sample.target.numpy()
        x, y = columns + u, rows + v
        warped = cv2.remap(following, x, y, cv2.INTER_LINEAR)
        inside = sample.valid[0].numpy() & (x >= 0) & (x <= 127) & (y >= 0) & (y <= 95)
        error = np.abs(warped - image)[inside].mean()
        assert error < 0.35 * np.abs(following - image)[inside].mean(), sample.key


def test_walls_agree_with_themselves(photos: Path) -> None:
    """Paint times light is the picture; depth and normal are of one plane, both flows of one motion."""
    dataset = ManifestDataset(photos)
    for index in dataset.indices("albedo"):
        paint, light = (dataset.load(index, task) for task in ("albedo", "shading"))
        product = (paint.target * light.target).clamp(0, 1)
        code = np.where(product <= 0.0031308, 12.92 * product, 1.055 * product ** (1 / 2.4) - 0.055)
        assert np.abs(code - paint.image.numpy()).mean() < 0.02  # JPEG
    focal = 0.9 * 128
    columns, rows = np.meshgrid(np.arange(128) - 63.5, np.arange(96) - 47.5)
    rays = np.stack([columns, rows, np.full((96, 128), focal)]) / focal
    for index in dataset.indices("normal"):
        depth, normal = (dataset.load(index, task).target.numpy() for task in ("depth", "normal"))
        distance = (rays * depth * normal).sum(0)  # of the plane from the camera, the same for every pixel
        assert distance.std() < 0.01 * distance.mean()
        assert (normal[2] > 0).all()
    for index in dataset.indices("scene_flow"):
        flow, motion = (dataset.load(index, task).target.numpy() for task in ("optical_flow", "scene_flow"))
        # A point at unknown depth z: its projections before and after differ by the flow, in u and in v.
        moved = rays[:2] + flow / focal
        z = (motion[:2] - moved * motion[2]) / (moved - rays[:2])
        ratio = np.where(np.abs(flow) > 1, z, np.nan)
        assert np.nanmin(ratio) > 0.5
        both = np.abs(flow).min(0) > 1
        if both.any():
            assert np.abs(ratio[0] - ratio[1])[both].max() < 0.05


def test_commands_are_those_of_the_readme(example: ModuleType) -> None:
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    written = [shlex.split(line)[1:] for line in readme.splitlines() if line.startswith("stablemtl ")]
    for command, words in zip(written, example.commands(example.Options()), strict=True):
        here = [word.replace(str(FOLDER.parents[1]) + "/", "") for word in words]
        assert here == command


@pytest.mark.usefixtures("quiet")
def test_everything_in_miniature(
    example: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    options = ["--data", tmp_path / "data", "--out", out, "--steps", 2, "--size", 24, 32]
    status = example.main(list(map(str, options)))
    assert status == 0, capsys.readouterr().err
    assert (out / "sample.png").is_file()
    assert (out / "pipeline" / "model_index.json").is_file()
    assert (out / "maps" / "contact_sheet.png").is_file()
    shown = capsys.readouterr().out
    assert shown.count("$ stablemtl") == 5
    assert "0 errors, 0 warnings" in shown


def test_a_command_that_fails_ends_it(
    example: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[list[str]] = []

    def fail(command: list[str]) -> int:
        called.append(command)
        return 3

    monkeypatch.setattr(example.cli, "main", fail)
    assert example.run(example.Options(data=tmp_path)) == 3
    assert len(called) == 1
