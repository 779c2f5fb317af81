"""Labels beside what becomes of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderTiny

from stablemtl.contact_sheet import TILE_WIDTH_PX
from stablemtl.data import Sample
from stablemtl.data_sheet import LabelView, data_sheet, labels_at, load_codec, view
from stablemtl.models import LatentCodec
from stablemtl.tasks import build_task

H, W = 9, 14


def sample(task: str, target: torch.Tensor, **changes: torch.Tensor) -> Sample:
    fields = {
        "image": torch.full((3, H, W), 0.5),
        "image_next": torch.full((3, H, W), 0.25) if task in ("optical_flow", "scene_flow") else None,
        "valid": torch.ones(1, H, W, dtype=torch.bool),
        **changes,
    }
    return Sample(target=target, task=task, dataset="garden", key="k7", **fields)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def codec(make_tiny_vae: Callable[[], AutoencoderTiny]) -> LatentCodec:
    return LatentCodec(make_tiny_vae())


class Perfect:
    """A codec that loses nothing."""

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        return images

    def decode(self, latents: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        assert tuple(latents.shape[-2:]) == size
        return latents


def seen(name: str, target: torch.Tensor, **options: object) -> LabelView:
    return view(sample(name, target), build_task(name, **options), Perfect())  # type: ignore[arg-type]


def test_errors_of_the_encoding_and_of_the_codec(codec: LatentCodec) -> None:
    """Half of the pixels move by 20 px where the encoding ends at 16."""
    flow = torch.zeros(2, H, W)
    flow[0, :, : W // 2] = 20.0
    options = {"encoding": "calibrated", "scale_px": 16.0}
    clipped = seen("optical_flow", flow, **options)
    # One scale fits 16 and 0 to 20 and 0: clipping a single motion is undone by the alignment.
    assert clipped.encoding_error == pytest.approx(0.0, abs=1e-5)
    flow[1, :, 0] = 1.0
    flow[0, :, 1] = 10.0
    clipped = seen("optical_flow", flow, **options)
    scale = (20 * 16 * 6 + 10 * 10) / (16 * 16 * 6 + 10 * 10)
    expected = (6 * abs(20 - 16 * scale) + abs(10 - 10 * scale)) / W
    assert clipped.encoding_error == pytest.approx(expected, rel=1e-4)
    assert clipped.codec_error == pytest.approx(clipped.encoding_error)
    assert clipped.error_text(clipped.codec_error) == f"epe {expected:.3g}"
    random = view(sample("optical_flow", flow), build_task("optical_flow", **options), codec)
    assert random.codec_error > random.encoding_error
    assert random.decoded.shape == (2, H, W)
    assert random.encoded.shape == (3, H, W)


def test_values_in_words() -> None:
    depth = torch.linspace(1.0, 3.0, H * W).reshape(1, H, W)
    one = seen("depth", depth)
    assert (one.unit, one.values_text, one.valid_share) == ("m", "1 / 1.99 / 3", 1.0)
    vectors = torch.tensor([0.0, 0.0, 1.0])[:, None, None].expand(3, H, W)
    assert seen("normal", vectors).values_text == "x 0 / 0 / 0  y 0 / 0 / 0  z 1 / 1 / 1"
    assert seen("albedo", vectors).values_text == "R 0 / 0 / 0  G 0 / 0 / 0  B 1 / 1 / 1"
    flow = torch.tensor([-2.5, 1e-9])[:, None, None].expand(2, H, W)
    assert seen("optical_flow", flow).values_text == "u -2.5 / -2.5 / -2.5  v 0 / 0 / 0"
    assert seen("optical_flow", flow).unit == "px"  # the label's, though the encoding is relative
    assert seen("semantic", torch.full((1, H, W), 6)).unit == "class id"


def test_classes_by_their_share() -> None:
    ids = torch.full((1, H, W), 6)
    ids[0, :3] = 0
    ids[0, 0, 0] = 7
    valid = torch.ones(1, H, W, dtype=torch.bool)
    valid[0, -1] = False
    ids[0, -1] = 250
    one = view(sample("semantic", ids, valid=valid), build_task("semantic"), Perfect())  # type: ignore[arg-type]
    assert one.values_text == "sky 62%  road 37%  vehicle 1%"
    assert one.valid_share == pytest.approx(8 / 9)
    ids = torch.full((1, 20, 20), 6)
    ids[0, 0, 0] = 0
    large = Sample(
        image=torch.zeros(3, 20, 20),
        target=ids,
        valid=torch.ones(1, 20, 20, dtype=torch.bool),
        task="semantic",
        dataset="d",
        key="k",
    )
    text = view(large, build_task("semantic"), Perfect()).values_text  # type: ignore[arg-type]
    assert text == "sky 100%  road < 1%"


def test_without_a_valid_pixel() -> None:
    nothing = torch.zeros(1, H, W, dtype=torch.bool)
    depth = sample("depth", torch.zeros(1, H, W), valid=nothing)
    one = view(depth, build_task("depth"), Perfect())  # type: ignore[arg-type]
    assert one.values_text == "no valid pixel"
    assert np.isnan(one.codec_error)
    assert data_sheet([one], model="none").width > 4 * TILE_WIDTH_PX


def test_sheet_shows_frames_label_mask_and_image(codec: LatentCodec) -> None:
    valid = torch.ones(1, H, W, dtype=torch.bool)
    valid[0, :, : W // 2] = False
    ids = torch.full((1, H, W), 6)
    flow = torch.ones(2, H, W)
    views = [
        view(sample("semantic", ids, valid=valid), build_task("semantic"), codec),
        view(sample("optical_flow", flow), build_task("optical_flow"), codec),
    ]
    page = np.asarray(data_sheet(views, model="tiny"))
    tile = TILE_WIDTH_PX * round(TILE_WIDTH_PX * H / W)
    for grey in (128, 64):  # 0.5 and 0.25: the two frames
        assert (page == grey).all(axis=2).sum() >= tile
    sky = (page == (70, 130, 180)).all(axis=2).sum()
    # Label: its valid half. Label image: all of it, a class counts everywhere. After the codec: unlikely.
    assert sky >= 1.4 * tile
    assert page.shape[1] > 4 * TILE_WIDTH_PX
    alone = data_sheet(views[:1], model="tiny")
    assert alone.height < page.shape[0]


class Garden:
    name = "garden"
    tasks = ("depth", "optical_flow")

    def __len__(self) -> int:
        return 3

    def indices(self, task: str) -> list[int]:
        return [0, 2] if task == "depth" else [0]

    def load(self, index: int, task: str) -> Sample:
        raise NotImplementedError


def test_labels_at() -> None:
    assert labels_at(Garden(), 0) == ["depth", "optical_flow"]
    assert labels_at(Garden(), 0, ["optical_flow"]) == ["optical_flow"]
    assert labels_at(Garden(), 1) == []
    for index in (-1, 3):
        with pytest.raises(ValueError, match=rf"garden has frames 0 to 2 in this part, got {index}"):
            labels_at(Garden(), index)
    with pytest.raises(
        ValueError, match="garden, frame 2 has no label of optical_flow, normal; it has depth"
    ):
        labels_at(Garden(), 2, ["depth", "optical_flow", "normal"])
    with pytest.raises(ValueError, match="garden, frame 1 has no label of depth; it has none"):
        labels_at(Garden(), 1, ["depth"])


def test_codec_and_encodings_of_a_model(tiny_folder: Path) -> None:
    tasks, codec = load_codec(str(tiny_folder))
    assert tasks["depth"].options == {"encoding": "log", "near_m": 0.5, "far_m": 80.0}
    assert tasks["normal"] == build_task("normal")
    assert codec.downscale == 2
    with pytest.raises(ValueError, match="unknown model 'nanno'"):
        load_codec("nanno")
