"""From images to predictions."""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from stablemtl import TASKS, StableMTLPipeline
from stablemtl.models import LatentCodec
from stablemtl.outputs import Predictions

H, W = 18, 27  # odd: the last latent cells are half padding
RANDOM = np.random.default_rng(0)
IMAGE = RANDOM.integers(0, 256, (H, W, 3), dtype=np.uint8)
IMAGE_NEXT = RANDOM.integers(0, 256, (H, W, 3), dtype=np.uint8)
TWO_FRAMES = ("optical_flow", "scene_flow")


def same(a: Predictions, b: Predictions) -> bool:
    return list(a) == list(b) and all(np.allclose(a[name].values, b[name].values, atol=1e-4) for name in a)


def as_tensor(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image).permute(2, 0, 1) / 255


# what comes out ---------------------------------------------------------------------------------------------


def test_all_tasks_of_a_pair(tiny_pipeline: StableMTLPipeline) -> None:
    maps = tiny_pipeline(IMAGE, IMAGE_NEXT)
    assert isinstance(maps, Predictions)
    assert list(maps) == list(TASKS)
    for name, one in maps.items():
        channels = TASKS[name].spec.channels
        assert one.values.shape == ((H, W) if channels == 1 else (H, W, channels))
        assert one.values.dtype == (np.int64 if name == "semantic" else np.float32)
        assert one.valid.all()
        assert one.note == ""
    assert maps["depth"].unit == "m"
    assert maps["depth"].values.min() >= 0.5
    assert maps["optical_flow"].unit == "px"
    assert np.allclose(np.linalg.norm(maps["normal"].values, axis=2), 1, atol=1e-4)
    assert [frame.size for frame in maps.frames] == [(W, H), (W, H)]
    assert maps.contact_sheet().mode == "RGB"


def test_values_are_those_of_model_codec_and_task(tiny_pipeline: StableMTLPipeline) -> None:
    maps = tiny_pipeline(IMAGE, IMAGE_NEXT, ["normal", "optical_flow"])
    codec = LatentCodec(tiny_pipeline.vae)
    with torch.no_grad():
        latent, latent_next = (codec.encode(as_tensor(image)[None] * 2 - 1) for image in (IMAGE, IMAGE_NEXT))
        latents = tiny_pipeline.model(latent, latent_next, tasks=["normal", "optical_flow"])
        for name in ("normal", "optical_flow"):
            expected = tiny_pipeline.tasks[name].decode(codec.decode(latents[name], size=(H, W)))
            np.testing.assert_allclose(maps[name].values, expected[0].permute(1, 2, 0).numpy(), atol=1e-5)


def test_same_maps_whatever_the_image_comes_as(tiny_pipeline: StableMTLPipeline, tmp_path: Path) -> None:
    expected = tiny_pipeline(IMAGE, tasks=["depth"])
    picture = Image.fromarray(IMAGE)
    picture.save(tmp_path / "a.png")
    for source in (tmp_path / "a.png", str(tmp_path / "a.png"), picture, as_tensor(IMAGE)):
        assert same(tiny_pipeline(source, tasks=["depth"]), expected)


@pytest.mark.parametrize(
    "image",
    [
        Image.fromarray(IMAGE).convert("L"),
        Image.fromarray(IMAGE).convert("RGBA"),
        Image.fromarray(IMAGE).convert("P"),
        IMAGE[:, :, 0],
        IMAGE.astype(np.uint16) * 257,
        np.concatenate([IMAGE, IMAGE[:, :, :1]], axis=2),
    ],
    ids=["grey", "rgba", "palette", "grey array", "16 bits", "rgba array"],
)
def test_other_kinds_of_image(tiny_pipeline: StableMTLPipeline, image: Any) -> None:
    assert tiny_pipeline(image, tasks="depth")["depth"].values.shape == (H, W)


def test_tasks_asked_for_come_alone_in_order(tiny_pipeline: StableMTLPipeline) -> None:
    everything = tiny_pipeline(IMAGE, IMAGE_NEXT)
    few = tiny_pipeline(IMAGE, IMAGE_NEXT, ["shading", "depth", "shading"])
    assert list(few) == ["shading", "depth"]
    for name in few:
        np.testing.assert_allclose(few[name].values, everything[name].values, atol=1e-4)
    assert list(tiny_pipeline(IMAGE, tasks="depth")) == ["depth"]


def test_second_frame_matters_to_motion_only_in_the_single_stream(tiny_pipeline: StableMTLPipeline) -> None:
    one = tiny_pipeline(IMAGE, single_stream=True)
    two = tiny_pipeline(IMAGE, IMAGE_NEXT, single_stream=True)
    for name in TASKS:
        moved = not np.allclose(one[name].values, two[name].values, atol=1e-4)
        assert moved == (name in TWO_FRAMES)


def test_one_frame_is_the_frame_twice_and_says_so(tiny_pipeline: StableMTLPipeline) -> None:
    maps = tiny_pipeline(IMAGE)
    assert same(maps, tiny_pipeline(IMAGE, IMAGE))
    assert {name for name, one in maps.items() if one.note} == set(TWO_FRAMES)
    assert "one frame" in maps["optical_flow"].note
    assert len(maps.frames) == 1


def test_streams_differ(tiny_pipeline: StableMTLPipeline) -> None:
    assert not same(
        tiny_pipeline(IMAGE, tasks="depth"), tiny_pipeline(IMAGE, tasks="depth", single_stream=True)
    )


def test_double_precision(tiny_pipeline: StableMTLPipeline) -> None:
    double = copy.deepcopy(tiny_pipeline).to(torch.float64)
    single = tiny_pipeline(IMAGE, IMAGE_NEXT, tasks="depth")["depth"].values
    found = double(IMAGE, IMAGE_NEXT, tasks="depth")["depth"].values
    assert not np.array_equal(found, single)
    np.testing.assert_allclose(found, single, rtol=1e-4)


def test_batch_tasks_changes_nothing(tiny_pipeline: StableMTLPipeline) -> None:
    assert same(tiny_pipeline(IMAGE, IMAGE_NEXT, batch_tasks=2), tiny_pipeline(IMAGE, IMAGE_NEXT))


def test_list_of_images(tiny_pipeline: StableMTLPipeline) -> None:
    other = IMAGE[: H - 4]
    images, nexts = [IMAGE, other, IMAGE_NEXT, IMAGE], [None, None, IMAGE, IMAGE_NEXT]
    maps = tiny_pipeline(images, nexts, ["depth", "optical_flow"], batch_size=2)
    assert isinstance(maps, list)
    for got, image, image_next in zip(maps, images, nexts, strict=True):
        assert same(got, tiny_pipeline(image, image_next, ["depth", "optical_flow"]))
        assert bool(got["optical_flow"].note) == (image_next is None)
    assert [got["depth"].size for got in tiny_pipeline([other], tasks="depth")] == [other.shape[:2]]


def test_images_of_one_size_are_computed_together(
    tiny_pipeline: StableMTLPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = []
    forward = tiny_pipeline.model.forward

    def spy(latent: torch.Tensor, *args: Any, **kwargs: Any) -> dict[str, torch.Tensor]:
        batches.append(len(latent))
        return forward(latent, *args, **kwargs)

    monkeypatch.setattr(tiny_pipeline.model, "forward", spy)
    tiny_pipeline([IMAGE] * 5 + [IMAGE[:10]], tasks="depth", batch_size=3)
    assert sorted(batches) == [1, 2, 3]


def test_decoding_takes_tasks_together_within_a_limit(
    tiny_pipeline: StableMTLPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = tiny_pipeline([IMAGE, IMAGE_NEXT])
    batches: list[int] = []
    decode = tiny_pipeline._decode

    def spy(latents: torch.Tensor, *args: Any) -> torch.Tensor:
        batches.append(len(latents))
        return decode(latents, *args)

    monkeypatch.setattr(tiny_pipeline, "_decode", spy)
    tiny_pipeline([IMAGE, IMAGE_NEXT])
    assert batches == [2 * 7]
    tiny_pipeline([IMAGE, IMAGE_NEXT], batch_tasks=3)
    assert batches[1:] == [6, 6, 2]
    monkeypatch.setattr("stablemtl.pipeline._CODEC_PIXELS", 5 * H * W)
    maps = tiny_pipeline([IMAGE, IMAGE_NEXT])
    assert batches[4:] == [4, 4, 4, 2]
    assert all(same(a, b) for a, b in zip(maps, expected, strict=True))


# frames seen more than once ---------------------------------------------------------------------------------


def images_encoded(pipe: StableMTLPipeline, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    batches: list[int] = []
    encode: Callable[..., torch.Tensor] = pipe._encode

    def spy(images: torch.Tensor, *args: int) -> torch.Tensor:
        batches.append(len(images))
        return encode(images, *args)

    monkeypatch.setattr(pipe, "_encode", spy)
    return batches


def test_an_encoded_frame_takes_the_place_of_its_image(
    tiny_pipeline: StableMTLPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = tiny_pipeline(IMAGE, IMAGE_NEXT, ["depth", "optical_flow"])
    batches = images_encoded(tiny_pipeline, monkeypatch)
    first, second = tiny_pipeline.encode(IMAGE), tiny_pipeline.encode(IMAGE_NEXT)
    assert batches == [1, 1]
    assert first.pixels is None
    assert first.latent is not None
    assert first.latent.shape == (4, 9, 14)
    for pair in ((first, second), (first, IMAGE_NEXT), (IMAGE, second)):
        maps = tiny_pipeline(*pair, ["depth", "optical_flow"])
        assert same(maps, expected)
        assert len(maps.frames) == 2
    assert batches == [1, 1, 1, 1]
    assert tiny_pipeline.encode(first) is first
    assert same(tiny_pipeline([first, IMAGE], tasks="depth")[1], tiny_pipeline(first, tasks="depth"))


def test_frames_of_a_video_are_encoded_once(
    tiny_pipeline: StableMTLPipeline, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    frames = [IMAGE, IMAGE_NEXT, IMAGE[::-1], IMAGE_NEXT[::-1]]
    paths = [tmp_path / f"{i}.png" for i in range(4)]
    for path, frame in zip(paths, frames, strict=True):
        Image.fromarray(frame).save(path)
    expected = [tiny_pipeline(a, b, "optical_flow") for a, b in pairwise(frames)]
    batches = images_encoded(tiny_pipeline, monkeypatch)
    for names in (paths, [str(path) for path in paths]):
        maps = tiny_pipeline(names[:-1], names[1:], "optical_flow", batch_size=2)
        assert all(same(a, b) for a, b in zip(maps, expected, strict=True))
        assert batches == [3, 1]  # of two pairs, and the last frame of the third
        batches.clear()
    maps = tiny_pipeline(frames[:-1], frames[1:], "optical_flow")
    assert all(same(a, b) for a, b in zip(maps, expected, strict=True))
    assert batches == [4]


def test_encoding_keeps_within_a_limit(
    tiny_pipeline: StableMTLPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stablemtl.pipeline._CODEC_PIXELS", 2 * H * W)
    batches = images_encoded(tiny_pipeline, monkeypatch)
    tiny_pipeline([IMAGE, IMAGE_NEXT, IMAGE[::-1]], tasks="depth")
    assert batches == [2, 1]


def test_an_encoded_frame_has_its_resolution(tiny_pipeline: StableMTLPipeline) -> None:
    frame = tiny_pipeline.encode(IMAGE, processing_resolution=54)
    assert (frame.size, frame.processed) == ((H, W), (36, 54))
    expected = tiny_pipeline(IMAGE, tasks="depth", processing_resolution=54)
    assert same(tiny_pipeline(frame, tasks="depth"), expected)
    assert same(tiny_pipeline(frame, tasks="depth", processing_resolution=54), expected)
    with pytest.raises(ValueError, match=r"image was encoded at 54x36 px .*=27 asks for 27x18 px"):
        tiny_pipeline(frame, tasks="depth", processing_resolution=27)
    with pytest.raises(
        ValueError, match=r"image_next must be encoded at the size of image, 54x36 px .*27x18"
    ):
        tiny_pipeline(frame, IMAGE_NEXT)
    with pytest.raises(ValueError, match="processing_resolution must be 0"):
        tiny_pipeline.encode(IMAGE, processing_resolution=-2)
    with pytest.raises(ValueError, match="tile must be at least"):
        tiny_pipeline.encode(IMAGE, codec_tile=3)


# memory -----------------------------------------------------------------------------------------------------


def test_codec_in_tiles(tiny_pipeline: StableMTLPipeline) -> None:
    wide = np.concatenate([IMAGE, IMAGE_NEXT, IMAGE], axis=1)  # 81 px
    expected = tiny_pipeline(wide, tasks=["depth", "normal"])
    assert same(tiny_pipeline(wide, tasks=["depth", "normal"], codec_tile=56), expected)
    frame = tiny_pipeline.encode(wide, codec_tile=56)
    assert same(tiny_pipeline(frame, tasks=["depth", "normal"]), expected)


def test_one_network_at_a_time(tiny_pipeline: StableMTLPipeline, make_tiny_model: Callable[..., Any]) -> None:
    pipe = StableMTLPipeline(make_tiny_model(), tiny_pipeline.vae, tiny_pipeline.config["task_options"])
    expected = pipe(IMAGE, IMAGE_NEXT)
    pipe.enable_stream_offload("cpu")
    assert pipe.model.offload_device == torch.device("cpu")
    assert same(pipe(IMAGE, IMAGE_NEXT), expected)
    assert same(pipe(IMAGE, single_stream=True), tiny_pipeline(IMAGE, single_stream=True))
    with pytest.raises(ValueError, match="device 'cuda:77' is not available"):
        pipe.enable_stream_offload("cuda:77")


# resolution -------------------------------------------------------------------------------------------------


def processed_sizes(pipe: StableMTLPipeline, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    sizes: list[tuple[int, ...]] = []
    encode: Callable[..., torch.Tensor] = pipe._encode

    def spy(images: torch.Tensor, *args: int) -> torch.Tensor:
        sizes.append(tuple(images.shape[-2:]))
        return encode(images, *args)

    monkeypatch.setattr(pipe, "_encode", spy)
    return sizes


def test_processing_resolution_is_the_longest_edge(
    tiny_pipeline: StableMTLPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = processed_sizes(tiny_pipeline, monkeypatch)
    for resolution, expected in ((54, (36, 54)), (9, (6, 9)), (0, (H, W)), (None, (H, W))):
        maps = tiny_pipeline(IMAGE, tasks=["depth", "normal"], processing_resolution=resolution)
        assert sizes.pop() == expected
        assert maps["depth"].values.shape == (H, W)
    small = tiny_pipeline(IMAGE, tasks="normal", processing_resolution=9, match_input_resolution=False)
    assert small["normal"].values.shape == (6, 9, 3)


def test_flow_in_pixels_follows_the_size(tiny_pipeline: StableMTLPipeline) -> None:
    options: dict[str, Any] = {"tasks": "optical_flow", "processing_resolution": 54}
    processed = tiny_pipeline(IMAGE, IMAGE_NEXT, match_input_resolution=False, **options)[
        "optical_flow"
    ].values
    resized = tiny_pipeline(IMAGE, IMAGE_NEXT, **options)["optical_flow"].values
    assert processed.shape == (36, 54, 2)
    assert np.allclose(resized.mean((0, 1)), processed.mean((0, 1)) / 2, rtol=0.1)


def test_default_resolution_is_part_of_the_pipeline(
    tiny_pipeline: StableMTLPipeline, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pipe = StableMTLPipeline(tiny_pipeline.model, tiny_pipeline.vae, default_processing_resolution=18)
    pipe.save_pretrained(tmp_path)
    pipe = StableMTLPipeline.from_pretrained(tmp_path)
    sizes = processed_sizes(pipe, monkeypatch)
    pipe(IMAGE, tasks="depth")
    pipe(IMAGE, tasks="depth", processing_resolution=0)
    assert sizes == [(12, 18), (H, W)]


# what is refused --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"tasks": ["normals"]}, "unknown task 'normals'; choose from albedo, depth, normal"),
        ({"tasks": "flow"}, "unknown task 'flow'; choose from"),
        ({"tasks": []}, "tasks is empty; choose from albedo"),
        ({"processing_resolution": -1}, r"processing_resolution must be 0 .* got -1"),
        ({"processing_resolution": 64.0}, r"got 64\.0"),
        ({"processing_resolution": 2}, r"image is 27x18 px .* which is 2x1 px at processing_resolution=2"),
        ({"batch_tasks": 0}, "batch_tasks must be 1 or more, got 0"),
        ({"batch_size": 0}, "batch_size must be 1 or more, got 0"),
        ({"codec_tile": -1}, r"codec_tile must be 0 \(no tiles\) or a number of px, got -1"),
        ({"codec_tile": 8}, "tile must be at least 56 px with this AutoencoderTiny, or 0 for none; got 8"),
        ({"image": np.zeros((1, 1, 3), np.uint8)}, "image is 1x1 px .* at least 8 px"),
        ({"image_next": IMAGE[:, :-1]}, r"image_next must have the size of image, 27x18 px .* got 26x18 px"),
        ({"image_next": [IMAGE]}, "image_next is a list but image is one image"),
        ({"image": []}, "image is an empty list"),
        ({"image": [IMAGE, IMAGE], "image_next": [IMAGE]}, r"as long as image \(2\), got 1 entries"),
        ({"image": [IMAGE], "image_next": IMAGE}, "got ndarray"),
        ({"image": [IMAGE, np.zeros((1, 1), np.uint8)]}, r"image\[1\] is 1x1 px"),
    ],
)
def test_wrong_arguments(tiny_pipeline: StableMTLPipeline, arguments: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        tiny_pipeline(**{"image": IMAGE, **arguments})


def test_wrong_files(tiny_pipeline: StableMTLPipeline, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="image not found"):
        tiny_pipeline(tmp_path / "none.png")
    (tmp_path / "text.png").write_text("text")
    with pytest.raises(ValueError, match="is not an image that can be read"):
        tiny_pipeline(tmp_path / "text.png")


def test_task_the_model_does_not_have(
    tiny_pipeline: StableMTLPipeline, make_tiny_model: Callable[..., Any]
) -> None:
    pipe = StableMTLPipeline(make_tiny_model(("depth", "optical_flow")), tiny_pipeline.vae)
    assert list(pipe(IMAGE)) == ["depth", "optical_flow"]
    with pytest.raises(ValueError, match="unknown task 'normal'; choose from depth, optical_flow"):
        pipe(IMAGE, tasks="normal")


def test_task_this_version_does_not_have(
    tiny_pipeline: StableMTLPipeline, make_tiny_model: Callable[..., Any]
) -> None:
    model = make_tiny_model(("depth", "weather"))
    with pytest.raises(ValueError, match="does not know: weather"):
        StableMTLPipeline(model, tiny_pipeline.vae)


def test_wrong_task_options(tiny_pipeline: StableMTLPipeline) -> None:
    with pytest.raises(ValueError, match="unknown option 'near'"):
        StableMTLPipeline(tiny_pipeline.model, tiny_pipeline.vae, task_options={"depth": {"near": 1}})


# side effects -----------------------------------------------------------------------------------------------


def test_training_mode_is_left_as_it_was(
    tiny_pipeline: StableMTLPipeline, make_tiny_model: Callable[..., Any]
) -> None:
    pipe = StableMTLPipeline(make_tiny_model(), tiny_pipeline.vae)
    expected = pipe(IMAGE, tasks="depth")
    pipe.model.train()
    assert same(pipe(IMAGE, tasks="depth"), expected)  # no task is masked
    assert pipe.model.training
    assert not pipe.vae.training
    with pytest.raises(ValueError, match="px"):
        pipe(np.zeros((1, 1), np.uint8))
    assert pipe.model.training


def test_arrays_given_are_not_changed(tiny_pipeline: StableMTLPipeline) -> None:
    array, tensor = IMAGE.copy(), as_tensor(IMAGE)
    before = tensor.clone()
    tiny_pipeline([array, tensor], tasks="albedo")
    assert (array == IMAGE).all()
    assert torch.equal(tensor, before)
