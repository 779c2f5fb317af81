"""The pipeline in tiles, on a stand-in that knows the truth, and on the tiny model."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch

from stablemtl.large_images import predict_tiled, predict_tiled_with_report
from stablemtl.outputs import Prediction, Predictions
from stablemtl.pipeline import ONE_FRAME_NOTE
from stablemtl.tasks import TASKS, build_task

H, W = 150, 213
Y, X = np.mgrid[0:H, 0:W].astype(np.float32)
TRUTH = 0.2 + 0.5 * X / W + 0.2 * np.sin(Y / 23) ** 2  # in [0.2, 0.9]
IMAGE = np.stack([TRUTH, Y / H, X / W], axis=2)  # says the truth, and where a pixel is


class StandIn:
    """Predicts what is in the image: of the whole the truth, of a crop with a scale and shift of its own."""

    def __init__(self, *tasks: Any) -> None:
        self.tasks = {task.spec.name: task for task in tasks}
        self.calls: list[dict[str, Any]] = []
        self.crops: list[tuple[np.ndarray, np.ndarray | None]] = []
        self._random = np.random.default_rng(0)

    def __call__(self, image: Any, image_next: Any = None, tasks: Any = None, **options: Any) -> Any:
        self.calls.append(options)
        names = list(tasks or self.tasks)
        if isinstance(image, torch.Tensor):  # the coarse pass: the whole image
            return self._predict(IMAGE, names, 1.0, 0.0)
        several = isinstance(image, list)
        images = image if several else [image]
        nexts = image_next if isinstance(image_next, list) else [image_next] * len(images)
        self.crops += list(zip(images, nexts, strict=True))
        results = [
            self._predict(i, names, self._random.uniform(0.5, 2), self._random.normal()) for i in images
        ]
        return results if several else results[0]

    def _predict(self, pixels: np.ndarray, names: list[str], a: float, b: float) -> Predictions:
        maps = {}
        for name in names:
            task = self.tasks[name]
            values = torch.from_numpy(np.ascontiguousarray(pixels[:, :, : task.spec.channels]))
            if name == "semantic":
                values = (values * 8).long()
            else:
                values = (values - b * (not task.spec.shift_known)) / (1 if name == "normal" else a)
            maps[name] = Prediction.from_tensor(task, values.permute(2, 0, 1), note=f"note on {name}")
        return Predictions(maps)


@pytest.mark.parametrize("options", [{"encoding": "linear"}, {"encoding": "log", "near_m": 0.1}])
@pytest.mark.parametrize("tile", [64, 104, 152])
def test_scales_of_tiles_are_undone(tile, options) -> None:
    pipe = StandIn(build_task("depth", **options))
    maps, report = predict_tiled_with_report(pipe, IMAGE, tile=tile)
    np.testing.assert_allclose(maps["depth"].values, TRUTH, atol=1e-5)
    assert report.tasks["depth"].disagreement < 1e-5
    assert report.tasks["depth"].disagreement_before > 0.05


def test_scales_of_tiles_are_undone_by_the_fit_alone() -> None:
    maps = predict_tiled(StandIn(TASKS["depth"]), IMAGE, tile=64, context=0)
    np.testing.assert_allclose(maps["depth"].values, TRUTH, atol=1e-5)


def test_without_alignment_they_are_not() -> None:
    maps, report = predict_tiled_with_report(StandIn(TASKS["depth"]), IMAGE, tile=64, align=False)
    assert np.abs(maps["depth"].values - TRUTH).max() > 0.2
    assert report.tasks["depth"].disagreement == report.tasks["depth"].disagreement_before
    assert (report.tasks["depth"].factors == 1).all()


@pytest.mark.parametrize("task", ["albedo", "scene_flow", "optical_flow"])
def test_one_scale_of_all_channels(task) -> None:
    maps = predict_tiled(StandIn(TASKS[task]), IMAGE, tile=104)
    np.testing.assert_allclose(maps[task].values, IMAGE[:, :, : TASKS[task].spec.channels], atol=1e-5)


def test_classes_and_normals() -> None:
    maps = predict_tiled(StandIn(TASKS["semantic"], TASKS["normal"]), IMAGE, tile=64)
    assert np.array_equal(maps["semantic"].values, (TRUTH * 8).astype(np.int64))
    expected = IMAGE / np.linalg.norm(IMAGE, axis=2, keepdims=True)
    np.testing.assert_allclose(maps["normal"].values, expected, atol=1e-5)


def test_what_a_prediction_says() -> None:
    pipe = StandIn(TASKS["albedo"], TASKS["depth"], TASKS["semantic"])
    maps = predict_tiled(pipe, IMAGE, tasks=["semantic", "depth"], tile=64)
    assert list(maps) == ["semantic", "depth"]
    assert maps["depth"].note == "note on depth"
    assert maps["depth"].valid.all()
    assert maps["depth"].values.dtype == np.float32
    assert maps["semantic"].values.dtype == np.int64
    assert maps["semantic"].size == (H, W)
    assert [frame.size for frame in maps.frames] == [(W, H)]


def test_frames_are_cut_at_the_same_places_and_not_copied() -> None:
    pipe = StandIn(TASKS["depth"])
    image = (IMAGE * 255).astype(np.uint8)
    _, report = predict_tiled_with_report(pipe, image, image + 0, tile=104, overlap=16)
    assert len(pipe.crops) == len(report.tiles) == 6
    for (first, second), (top, left, bottom, right) in zip(pipe.crops, report.tiles, strict=True):
        assert np.shares_memory(first, image)
        assert np.array_equal(first, image[top:bottom, left:right])
        assert second is not None
        assert np.array_equal(second, first)
    assert report.tiles[0][:2] == (0, 0)
    assert report.tiles[-1][2:] == (H, W)
    assert report.rows == (64, 80)
    assert all(0 < column < W for column in report.columns)


def test_options_reach_the_pipeline_and_progress_is_told() -> None:
    pipe, seen = StandIn(TASKS["depth"]), []
    predict_tiled(
        pipe,
        IMAGE,
        tile=104,
        overlap=16,
        batch_size=4,
        processing_resolution=40,
        single_stream=True,
        progress=lambda done, total: seen.append((done, total)),
    )
    for call in pipe.calls:
        assert call == {
            "batch_size": 4,
            "processing_resolution": 40,
            "single_stream": True,
            "match_input_resolution": False,
        }
    assert seen == [(1, 7), (5, 7), (7, 7)]


# one tile, and errors ---------------------------------------------------------------------------------------


def test_one_tile_is_the_plain_call(tiny_pipeline) -> None:
    image = (IMAGE[:40, :64] * 255).astype(np.uint8)
    plain = tiny_pipeline(image, image[::-1].copy())
    seen: list[tuple[int, int]] = []
    tiled, report = predict_tiled_with_report(
        tiny_pipeline, image, image[::-1].copy(), tile=64, progress=lambda *counts: seen.append(counts)
    )
    assert seen == [(1, 1)]
    assert report.tiles == ((0, 0, 40, 64),)
    assert report.tasks == {}
    for name, one in plain.items():
        assert np.array_equal(tiled[name].values, one.values)


def test_the_tiny_model_in_tiles(tiny_pipeline) -> None:
    image = (IMAGE[:70, :101] * 255).astype(np.uint8)
    maps = predict_tiled(tiny_pipeline, image, tile=64, processing_resolution=32, batch_size=3)
    assert list(maps) == list(TASKS)
    for name, one in maps.items():
        assert one.values.shape[:2] == (70, 101)
        assert one.valid.all()
        assert one.note == (ONE_FRAME_NOTE if TASKS[name].spec.frames == 2 else "")
    assert np.allclose(np.linalg.norm(maps["normal"].values, axis=2), 1, atol=1e-5)
    assert maps["depth"].values.min() >= 0.5
    assert maps["depth"].values.max() <= 80
    assert maps["shading"].values.max() <= 1


def test_errors(tiny_pipeline) -> None:
    with pytest.raises(ValueError, match="tile must be a number of px, a multiple of 8"):
        predict_tiled(tiny_pipeline, IMAGE, tile=100)
    with pytest.raises(ValueError, match="overlap must be"):
        predict_tiled(tiny_pipeline, IMAGE, tile=64, overlap=40)
    with pytest.raises(ValueError, match=r"context must be a share of the tile, from 0 .* to 1, got 2"):
        predict_tiled(tiny_pipeline, IMAGE, tile=64, context=2)
    with pytest.raises(ValueError, match="match_input_resolution must be True with tiles"):
        predict_tiled(tiny_pipeline, IMAGE, tile=64, match_input_resolution=False)
    with pytest.raises(TypeError, match="image must be one image, got a list"):
        predict_tiled(tiny_pipeline, [IMAGE], tile=64)  # type: ignore[arg-type]
    with pytest.raises(
        ValueError, match=r"image_next must have the size of image, 213x150 px .* got 200x150 px"
    ):
        predict_tiled(tiny_pipeline, IMAGE, IMAGE[:, :200], tile=64)
    with pytest.raises(FileNotFoundError, match="image_next not found"):
        predict_tiled(tiny_pipeline, IMAGE, "nowhere.png", tile=64)
    with pytest.raises(ValueError, match="unknown task 'normals'"):
        predict_tiled(tiny_pipeline, IMAGE, tasks="normals", tile=64)
    with pytest.raises(ValueError, match="batch_size must be 1 or more"):
        predict_tiled(tiny_pipeline, IMAGE, tile=64, batch_size=0)
    with pytest.raises(TypeError, match="image was encoded before"):
        predict_tiled(tiny_pipeline, tiny_pipeline.encode(IMAGE[:20, :20]), tile=64)


# memory -----------------------------------------------------------------------------------------------------

PROGRAM = """
import json, resource, sys
import numpy as np
from stablemtl import StableMTLPipeline
from stablemtl.large_images import predict_tiled
from stablemtl.outputs import DEFAULT_FORMATS
y, x = np.mgrid[0:2048, 0:4096]
image = np.stack([x // 16, y // 8, (x + y) // 24], axis=2).astype(np.uint8)
pipe = StableMTLPipeline.from_pretrained("nano")
maps = predict_tiled(pipe, image, image, tile=1024)
predicted = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
maps.save(sys.argv[1], formats=[*DEFAULT_FORMATS, "exr"])
saved = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"shapes": [m.values.shape for m in maps.values()], "kB": [predicted, saved]}))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in kB on Linux only")
def test_a_panorama_needs_less_than_four_gigabytes(tmp_path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "maps")], capture_output=True, text=True, check=True
    )
    facts = json.loads(done.stdout.splitlines()[-1])
    assert len(facts["shapes"]) == 7
    assert all(shape[:2] == [2048, 4096] for shape in facts["shapes"])
    assert max(facts["kB"]) < 4e6
