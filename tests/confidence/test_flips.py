"""Mirror images: a stand-in that knows what each version must be, and the tiny model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from stablemtl import StableMTLPipeline
from stablemtl.confidence import predict_with_flips
from stablemtl.images import read_image
from stablemtl.outputs import Prediction, Predictions
from stablemtl.tasks import TASKS, build_task

H, W = 8, 12
Y, X = np.mgrid[0:H, 0:W]
IMAGE = np.stack([X * 20, Y * 20, X + Y], axis=2).astype(np.uint8)
CALIBRATED = {"encoding": "calibrated"}
LOG = {"encoding": "log"}


class StandIn:
    """Gives the maps it was made with, one after the other, each mirrored as its image is."""

    def __init__(self, task: Any, *versions: Any) -> None:
        self.task, self.versions = task, versions
        self.tasks = {task.spec.name: task}
        self.calls: list[tuple[Any, Any, Any, dict[str, Any]]] = []

    def __call__(self, image: Any, image_next: Any = None, tasks: Any = None, **options: Any) -> Any:
        self.calls.append((image, image_next, tasks, options))
        results = []
        for pixels, version in zip(image, self.versions, strict=True):
            values = torch.as_tensor(version)
            if values.is_floating_point():
                values = values.float()
            if pixels[0, 0, 0] > pixels[0, -1, 0]:
                values = self.task.hflip(values)
            if pixels[0, 0, 1] > pixels[-1, 0, 1]:
                values = self.task.vflip(values)
            results.append(
                Predictions(
                    {self.task.spec.name: Prediction.from_tensor(self.task, values, note="a note")},
                    frames=[Image.fromarray(pixels)],
                    source={"model": "stand-in"},
                )
            )
        return results


def run(task: Any, *versions: Any, **options: Any) -> tuple[Prediction, Any]:
    maps, spread = predict_with_flips(StandIn(task, *versions), IMAGE, **options)
    return maps[task.spec.name], spread[task.spec.name]


def full(*vector: float) -> np.ndarray:
    """One vector everywhere, (C, H, W)."""
    return np.broadcast_to(np.array(vector, float)[:, None, None], (len(vector), H, W)).copy()


def relief(seed: int = 0) -> np.ndarray:
    """(1, H, W) in [0.2, 0.8]."""
    return np.random.default_rng(seed).uniform(0.2, 0.8, (1, H, W))


# --- what is asked of the pipeline


def test_the_pipeline_sees_the_image_and_its_mirror_images() -> None:
    pipe = StandIn(TASKS["albedo"], *[full(0.5, 0.5, 0.5)] * 3)
    flips = ("horizontal", "vertical")
    maps, _ = predict_with_flips(
        pipe, IMAGE, IMAGE + 1, ["albedo"], flips=flips, processing_resolution=0, batch_size=1
    )
    ((images, images_next, tasks, options),) = pipe.calls
    assert (tasks, options) == (["albedo"], {"processing_resolution": 0, "batch_size": 1})
    for seen, first in ((images, IMAGE), (images_next, IMAGE + 1)):
        for one, expected in zip(seen, (first, first[:, ::-1], first[::-1]), strict=True):
            np.testing.assert_array_equal(one, expected)
    np.testing.assert_array_equal(np.asarray(maps.frames[0]), IMAGE)
    assert maps.source == {"model": "stand-in", "flips": ["horizontal", "vertical"]}
    assert maps["albedo"].note == "a note"


def test_one_frame_stays_one() -> None:
    pipe = StandIn(TASKS["normal"], full(0, 0, 1), full(0, 0, 1))
    predict_with_flips(pipe, IMAGE, flips="horizontal")
    assert pipe.calls[0][1] is None


@pytest.mark.parametrize("flip", ["horizontal", "vertical"])
@pytest.mark.parametrize(
    ("task", "truth"),
    [
        (build_task("depth", **LOG), 2 + X[None] + 0.1 * Y),
        (TASKS["depth"], relief()),
        (TASKS["semantic"], ((X + 2 * Y) % 5)[None]),
        (TASKS["normal"], full(0.6, 0.48, 0.64)),
        (build_task("optical_flow", **CALIBRATED), np.stack([X - 3.0, 2.0 * Y])),
        (build_task("scene_flow", **CALIBRATED), np.stack([X * 0.1, Y * 0.1, X * 0.01])),
        (TASKS["shading"], relief()),
        (TASKS["albedo"], relief().repeat(3, axis=0)),
    ],
)
def test_a_model_that_is_right_on_all_versions_is_consistent(task, truth, flip) -> None:
    """Each version is mirrored back by its task's rule, u of a flow with its sign."""
    found, spread = run(task, truth, truth, flips=flip)
    expected = Prediction.from_tensor(task, torch.as_tensor(truth))
    np.testing.assert_allclose(found.values, expected.values, atol=1e-6)
    assert found.values.dtype == (np.int64 if task.spec.name == "semantic" else np.float32)
    assert found.valid.all()
    assert spread.valid.all()
    np.testing.assert_allclose(spread.values, 0, atol=2e-5)
    assert spread.name == f"{task.spec.name}_flip"


# --- mean and spread by hand


def test_metres_are_averaged_as_they_are() -> None:
    """2 m and 5 m: 3.5 m, 1.5 m to either; three of 2, 5 and 8 m: 5 m, the root of 6 m."""
    depth = build_task("depth", **LOG)
    found, spread = run(depth, full(2), full(5))
    assert (found.values == 3.5).all()
    assert (spread.values == 1.5).all()
    assert spread.unit == "m"
    found, spread = run(depth, full(2), full(5), full(8), flips=("horizontal", "vertical"))
    assert (found.values == 5).all()
    np.testing.assert_allclose(spread.values, 6**0.5, rtol=1e-6)


def test_flows_spread_by_the_length_of_the_difference() -> None:
    flow = build_task("optical_flow", **CALIBRATED)
    found, spread = run(flow, full(1, 2), full(7, 10))  # 6 and 8: 10 px apart
    np.testing.assert_allclose(found.values[0, 0], (4, 6))
    np.testing.assert_allclose(spread.values, 5, rtol=1e-6)
    assert spread.unit == "px"


def test_directions_have_length_1_again_and_spread_in_degrees() -> None:
    """30 degrees to the left and to the right."""
    left, right = full(-0.5, 0, 0.75**0.5), full(0.5, 0, 0.75**0.5)
    found, spread = run(TASKS["normal"], left, right)
    np.testing.assert_allclose(found.values[2, 3], (0, 0, 1), atol=1e-7)
    np.testing.assert_allclose(spread.values, 30, rtol=1e-5)
    assert spread.unit == "deg"


def test_opposite_directions_have_no_mean() -> None:
    """The image's own is kept; 0 and 180 degrees off: 180 / root of 2."""
    found, spread = run(TASKS["normal"], full(0, 0, 1), full(0, 0, -1))
    np.testing.assert_allclose(found.values[0, 0], (0, 0, 1))
    np.testing.assert_allclose(spread.values, 180 / 2**0.5, rtol=1e-6)


def test_classes_are_chosen_by_votes() -> None:
    """Of two versions the image's own stays; of three the majority wins."""
    own, other = np.full((1, H, W), 1), np.full((1, H, W), 6)
    other[0, 0] = 1
    found, spread = run(TASKS["semantic"], own, other)
    assert (found.values == 1).all()
    np.testing.assert_array_equal(spread.values, np.where(Y == 0, 0, 1))
    assert spread.unit == "0 or 1"
    found, spread = run(TASKS["semantic"], own, other, other, flips=("horizontal", "vertical"))
    np.testing.assert_array_equal(found.values, np.where(Y == 0, 1, 6))
    np.testing.assert_array_equal(spread.values, np.where(Y == 0, 0, 1))


# --- alignment


def test_open_scale_and_shift_are_brought_to_the_images_own() -> None:
    truth = relief()
    found, spread = run(TASKS["depth"], truth, 0.5 * truth + 0.3)
    np.testing.assert_allclose(found.values, truth[0], atol=1e-6)
    np.testing.assert_allclose(spread.values, 0, atol=1e-6)
    assert "least-squares fit of scale and shift" in spread.convention


def test_colours_have_one_scale_and_relative_motion_one_for_each_channel() -> None:
    albedo = np.concatenate([relief(1), relief(2), relief(3)])
    _, spread = run(TASKS["albedo"], albedo, 0.4 * albedo)
    np.testing.assert_allclose(spread.values, 0, atol=1e-6)
    tinted = albedo * np.array([0.4, 0.8, 0.4])[:, None, None]
    assert run(TASKS["albedo"], albedo, tinted)[1].mean > 0.05
    flow = np.concatenate([relief(4), -relief(5)])
    found, spread = run(TASKS["optical_flow"], flow, flow * np.array([0.2, 0.9])[:, None, None])
    np.testing.assert_allclose(spread.values, 0, atol=1e-6)
    np.testing.assert_allclose(found.values.transpose(2, 0, 1), flow, atol=1e-6)
    assert "scale to the image's own" in spread.convention


def test_what_contradicts_the_image_is_not_turned_round() -> None:
    """Scales are 0 or more: of an inverted relief the level is kept, of an opposite motion nothing."""
    own = relief()
    found, _ = run(TASKS["depth"], own, 1 - own)
    np.testing.assert_allclose(found.values, (own[0] + own.mean()) / 2, atol=1e-6)
    flow = np.concatenate([own, own])
    found, _ = run(TASKS["optical_flow"], flow, -flow)
    np.testing.assert_allclose(found.values, (flow / 2).transpose(1, 2, 0), atol=1e-6)


def test_pixels_that_are_not_valid() -> None:
    """A mean of what there is; a spread only where all versions are valid."""
    own, other = full(2.0), full(4.0)
    own[0, 0, 1], other[0, 2, 3], own[0, 5, 5], other[0, 5, 5] = [np.nan] * 4
    found, spread = run(build_task("depth", **LOG), own, other)
    assert [found.values[at] for at in ((1, 1), (0, 1), (2, 3))] == [3, 4, 2]
    assert [at for at in np.ndindex(H, W) if not found.valid[at]] == [(5, 5)]
    assert [at for at in np.ndindex(H, W) if not spread.valid[at]] == [(0, 1), (2, 3), (5, 5)]


# --- the tiny model, and errors


def test_tiny_model(tiny_pipeline: StableMTLPipeline) -> None:
    """The mean of what the pipeline says of both images, for all tasks."""
    rng = np.random.default_rng(3)
    first, second = (rng.integers(0, 256, (24, 34, 3), np.uint8) for _ in range(2))
    maps, spread = predict_with_flips(tiny_pipeline, Image.fromarray(first), second)
    assert list(maps) == list(spread) == list(TASKS)
    assert all(one.size == (24, 34) for one in maps.values())
    flow, mirrored = (
        tiny_pipeline(*pair, tasks="optical_flow")["optical_flow"].values
        for pair in ((first, second), (first[:, ::-1].copy(), second[:, ::-1].copy()))
    )
    expected = (flow + mirrored[:, ::-1] * np.float32([-1, 1])) / 2
    np.testing.assert_allclose(maps["optical_flow"].values, expected, atol=1e-3)
    half = np.linalg.norm(flow - mirrored[:, ::-1] * np.float32([-1, 1]), axis=2) / 2
    np.testing.assert_allclose(spread["optical_flow"].values, half, atol=1e-3)
    small, _ = predict_with_flips(
        tiny_pipeline, first, tasks="depth", processing_resolution=16, match_input_resolution=False
    )
    assert small["depth"].size == (11, 16)


def test_errors(tiny_pipeline: StableMTLPipeline) -> None:
    with pytest.raises(ValueError, match="unknown flip 'sideways'; choose from horizontal, vertical"):
        predict_with_flips(tiny_pipeline, IMAGE, flips=("sideways",))
    with pytest.raises(ValueError, match="flips is empty; choose from horizontal, vertical"):
        predict_with_flips(tiny_pipeline, IMAGE, flips=())
    image = np.zeros((24, 34, 3), np.uint8)
    with pytest.raises(ValueError, match=r"image_next must have the size of image, 34x24 px .* got 33x24 px"):
        predict_with_flips(tiny_pipeline, image, image[:, 1:])
    with pytest.raises(TypeError, match="image must be one image, got a list"):
        predict_with_flips(tiny_pipeline, [image])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="image_next was encoded before and cannot be mirrored"):
        predict_with_flips(tiny_pipeline, image, tiny_pipeline.encode(image))  # type: ignore[arg-type]
    with pytest.raises(FileNotFoundError, match="image not found"):
        predict_with_flips(tiny_pipeline, "nowhere.png")
    with pytest.raises(ValueError, match="unknown task 'normals'"):
        predict_with_flips(tiny_pipeline, read_image(image), tasks="normals")
