"""What a click does, with a tiny model."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from stablemtl import StableMTLModel, StableMTLPipeline
from stablemtl.app.attention import attention_places
from stablemtl.app.downloads import ZIP_NAME, zip_result
from stablemtl.app.limits import Limits
from stablemtl.app.prediction import Choice, Result, draw_attention, draw_maps, predict
from stablemtl.app.shelf import Shelf
from stablemtl.outputs import read_prediction
from stablemtl.tasks import TASKS


@pytest.fixture
def choice(shelf: Shelf) -> Choice:
    return Choice(model=next(iter(shelf.offers)), tasks=("depth", "optical_flow"))


@pytest.fixture
def single_shelf(
    make_tiny_model: Callable[..., StableMTLModel], tiny_pipeline: StableMTLPipeline, tmp_path: Path
) -> Shelf:
    model = make_tiny_model(("depth", "normal"), multi_stream=False)
    StableMTLPipeline(model=model, vae=tiny_pipeline.vae).save_pretrained(tmp_path / "single")
    return Shelf([str(tmp_path / "single")])


# predict ----------------------------------------------------------------------------------------------------


def test_maps_are_those_of_the_pipeline(
    shelf: Shelf, choice: Choice, frames: tuple[Path, Path], tiny_pipeline: StableMTLPipeline
) -> None:
    made = predict(shelf, Limits(), *frames, choice)
    expected = tiny_pipeline(*map(str, frames), tasks=list(choice.tasks))
    assert list(made.predictions) == ["depth", "optical_flow"]
    for task, prediction in made.predictions.items():
        np.testing.assert_allclose(prediction.values, expected[task].values, atol=1e-5)
    assert made.predictions["optical_flow"].note == ""
    assert made.summary.startswith("2 pictures of 27x18 px, ")


def test_single_stream_and_one_frame(
    shelf: Shelf, choice: Choice, frames: tuple[Path, Path], tiny_pipeline: StableMTLPipeline
) -> None:
    made = predict(shelf, Limits(), frames[0], None, replace(choice, single_stream=True))
    expected = tiny_pipeline(str(frames[0]), tasks=["depth"], single_stream=True)
    np.testing.assert_allclose(made.predictions["depth"].values, expected["depth"].values, atol=1e-5)
    assert "one frame" in made.predictions["optical_flow"].note
    assert "single stream" in made.summary


def test_a_large_picture_is_reduced_with_a_note(
    shelf: Shelf, choice: Choice, frames: tuple[Path, Path]
) -> None:
    made = predict(shelf, Limits(side_px=18), *frames, choice)
    assert made.predictions["depth"].size == made.picture.size == (12, 18)
    assert "The first picture has 27x18 px; it was made smaller, to 18x12 px." in made.summary
    assert "The second picture has" in made.summary


@pytest.mark.parametrize(
    ("first", "second", "change", "message"),
    [
        (None, None, {}, "Choose a picture first"),
        (None, "b.png", {}, "Choose the first picture as well"),
        ("a.png", None, {"tasks": ()}, "Choose at least one map; .* knows semantic, normal"),
        ("a.png", None, {"tasks": ("../x",)}, "Choose at least one map"),
        ("a.png", None, {"model": "../other"}, r"the model '../other' is not offered; choose from "),
        ("a.png", None, {"model": "nano"}, "the model 'nano' is not offered"),
    ],
)
def test_errors(
    shelf: Shelf,
    choice: Choice,
    frames: tuple[Path, Path],
    first: str | None,
    second: str | None,
    change: dict[str, object],
    message: str,
) -> None:
    paths = [None if name is None else frames[0].with_name(name) for name in (first, second)]
    with pytest.raises(ValueError, match=message):
        predict(shelf, Limits(), *paths, replace(choice, **change))  # type: ignore[arg-type]


# pictures and files -----------------------------------------------------------------------------------------


def test_pictures_are_drawn_in_the_maps_colours(result: Result, tmp_path: Path) -> None:
    paths = draw_maps(result, tmp_path)
    assert list(paths) == ["image", *TASKS]
    np.testing.assert_array_equal(np.asarray(Image.open(paths["image"])), result.picture.pixels)
    drawn = np.asarray(Image.open(paths["depth"]))
    np.testing.assert_array_equal(drawn, np.asarray(result.predictions["depth"].colorize()))


def test_the_zip_holds_what_save_writes_and_the_frames(result: Result, tmp_path: Path) -> None:
    (tmp_path / "zipped").mkdir()
    (tmp_path / "zipped" / "left_over.png").write_text("of an earlier result")
    path = zip_result(result, tmp_path)
    assert path.name == ZIP_NAME
    result.predictions.save(tmp_path / "expected")
    expected = {file.name for file in (tmp_path / "expected").iterdir()}
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert set(archive.namelist()) == expected | {"image.png", "image_next.png", "point_cloud.ply"}
        archive.extractall(tmp_path / "out")
    back = read_prediction(tmp_path / "out" / "normal.npz")
    np.testing.assert_array_equal(back.values, result.predictions["normal"].values)


# attention --------------------------------------------------------------------------------------------------


def test_attention_is_drawn_for_the_picture(shelf: Shelf, result: Result, tmp_path: Path) -> None:
    paths = draw_attention(shelf, result, "depth", tmp_path)
    for path in paths:
        with Image.open(path) as picture:
            assert min(picture.size) > 200


def test_places_sum_to_one_over_the_other_tasks(tiny_pipeline: StableMTLPipeline) -> None:
    latent = torch.randn(1, 4, 10, 14, generator=torch.Generator().manual_seed(0))
    places = attention_places(tiny_pipeline, latent, None, "normal")
    assert places.shape == (6, 5, 7)  # at the size of the only level that attends
    torch.testing.assert_close(places.sum(0), torch.ones(5, 7), atol=1e-5, rtol=0)
    assert places.std() > 0


def test_a_single_stream_has_no_attention(
    shelf: Shelf, single_shelf: Shelf, result: Result, tmp_path: Path
) -> None:
    name = next(iter(single_shelf.offers))
    alone = replace(result, choice=replace(result.choice, model=name))
    with pytest.raises(ValueError, match="This model has one stream only"):
        draw_attention(single_shelf, alone, "depth", tmp_path)
    single = replace(result, choice=replace(result.choice, single_stream=True))
    with pytest.raises(ValueError, match="predicted with the single stream"):
        draw_attention(shelf, single, "depth", tmp_path)
    assert not list(tmp_path.glob("*.png"))
