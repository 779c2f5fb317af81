"""What a predictor calls for which option, and what it writes."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from stablemtl import StableMTLPipeline
from stablemtl.folders import Predictor, PredictorOptions, model_fingerprint
from stablemtl.folders.options import check_options
from stablemtl.outputs import FORMATS

PLAIN = PredictorOptions(tasks=("depth", "normal"), formats=("npz",))


@dataclass
class Map:
    """Stands in for a consistency map."""

    text: str

    def save(self, path: Path) -> None:
        path.write_text(self.text)


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (72, 80, 3), dtype=np.uint8)


@pytest.fixture
def confidence(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Calls of the functions of ``stablemtl.confidence``, which are stood in for."""
    calls: list[Any] = []

    def predict_with_flips(pipe: Any, image: Any, image_next: Any, tasks: Any, **options: Any) -> Any:
        calls.append(("flips", options))
        return pipe(image, image_next, tasks), {"depth": Map("spread")}

    def cross_task(predictions: Any, image: Any, image_next: Any, *, camera: Any) -> Any:
        calls.append(("cross", camera))
        found = CrossTask({"normal_depth": Map("angle")}, {"albedo_shading": "no albedo"})  # type: ignore[dict-item]
        return found

    from stablemtl.confidence.cross_task import CrossTask

    stand_in = SimpleNamespace(predict_with_flips=predict_with_flips, cross_task=cross_task)
    monkeypatch.setitem(sys.modules, "stablemtl.confidence", stand_in)
    return calls


def test_plain(tiny_pipeline: StableMTLPipeline, image: np.ndarray, tmp_path: Path) -> None:
    predictor = Predictor(tiny_pipeline, PLAIN)
    assert predictor.shares_frames
    (predicted,) = predictor.predict([image], [None])
    records = predictor.write(predicted, tmp_path / "a" / "maps")
    assert [record.name for record in records] == ["depth.npz", "maps.json", "normal.npz"]
    for record in records:
        assert (tmp_path / "a" / "maps" / record.name).stat().st_size == record.bytes
        assert len(record.sha256) == 64
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["maps"]


def test_several_are_what_each_is_alone(tiny_pipeline: StableMTLPipeline, image: np.ndarray) -> None:
    predictor = Predictor(tiny_pipeline, PLAIN)
    other = image[::-1]
    together = predictor.predict([image, other], [other, None])
    for one, pair in zip(together, ((image, other), (other, None)), strict=True):
        (alone,) = predictor.predict([pair[0]], [pair[1]])
        np.testing.assert_allclose(
            one.predictions["depth"].values, alone.predictions["depth"].values, rtol=1e-4
        )


def test_other_files_stay_and_a_failure_writes_nothing(
    tiny_pipeline: StableMTLPipeline, image: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor = Predictor(tiny_pipeline, PLAIN)
    (predicted,) = predictor.predict([image], [None])
    (tmp_path / "maps").mkdir()
    (tmp_path / "maps" / "mine.txt").touch()
    predictor.write(predicted, tmp_path / "maps")
    assert len(list((tmp_path / "maps").iterdir())) == 4
    broken = replace(predicted, consistency={"x": SimpleNamespace(save=lambda _: 1 / 0)})  # type: ignore[dict-item]
    with pytest.raises(ZeroDivisionError):
        predictor.write(broken, tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir()] == ["maps"]


def test_tiles(tiny_pipeline: StableMTLPipeline, image: np.ndarray) -> None:
    predictor = Predictor(tiny_pipeline, replace(PLAIN, tile=64, processing_resolution=32))
    assert not predictor.shares_frames
    assert not predictor.computes_together
    (predicted,) = predictor.predict([image], [None])
    assert predicted.predictions["depth"].size == (72, 80)
    whole = tiny_pipeline(image, tasks=["depth"], processing_resolution=32)["depth"]
    assert not np.allclose(predicted.predictions["depth"].values, whole.values)


def test_flips_and_confidence(
    tiny_pipeline: StableMTLPipeline, image: np.ndarray, confidence: list[Any], tmp_path: Path
) -> None:
    options = replace(PLAIN, flips=("horizontal",), confidence=True, field_of_view=90.0, single_stream=True)
    predictor = Predictor(tiny_pipeline, options)
    (predicted,) = predictor.predict([image], [None])
    assert [name for name, _ in confidence] == ["flips", "cross"]
    assert confidence[0][1]["flips"] == ("horizontal",)
    assert confidence[0][1]["single_stream"] is True
    assert confidence[1][1].fx == pytest.approx(40.0)  # 80 px wide, 90 degrees
    names = [record.name for record in predictor.write(predicted, tmp_path / "maps")]
    assert [name for name in names if "consistency" in name] == [
        *("depth_flip_consistency.npz", "depth_flip_consistency.png"),
        *("normal_depth_consistency.npz", "normal_depth_consistency.png"),
    ]


def test_spread_is_written_with_confidence_alone(
    tiny_pipeline: StableMTLPipeline, image: np.ndarray, confidence: list[Any]
) -> None:
    (averaged,) = Predictor(tiny_pipeline, replace(PLAIN, flips=("horizontal",))).predict([image], [None])
    assert averaged.consistency == {}
    (checked,) = Predictor(tiny_pipeline, replace(PLAIN, confidence=True)).predict([image], [None])
    assert list(checked.consistency) == ["normal_depth"]
    assert checked.left_out == {"albedo_shading": "no albedo"}
    assert confidence[-1] == ("cross", None)


def test_a_point_cloud_has_the_colours_and_the_camera_given(
    tiny_pipeline: StableMTLPipeline, image: np.ndarray, tmp_path: Path
) -> None:
    predictor = Predictor(tiny_pipeline, replace(PLAIN, formats=("ply",), field_of_view=90.0))
    (predicted,) = predictor.predict([image], [None])
    predictor.write(predicted, tmp_path / "maps")
    cloud = json.loads((tmp_path / "maps" / "maps.json").read_text())["point_cloud"]
    assert cloud["camera"]["fx"] == pytest.approx(40.0)
    assert cloud["camera"]["assumed"] is False


def test_unknown_names(tiny_pipeline: StableMTLPipeline) -> None:
    with pytest.raises(ValueError, match="unknown task 'normals'"):
        Predictor(tiny_pipeline, replace(PLAIN, tasks=("normals",)))
    with pytest.raises(ValueError, match="unknown format 'tiff'"):
        Predictor(tiny_pipeline, replace(PLAIN, formats=("tiff",)))


def test_formats_of_the_command_are_those_that_are_written() -> None:
    from typing import get_args

    from stablemtl.commands.predict import Format

    assert get_args(Format) == tuple(FORMATS)


def test_video_options_of_the_command_are_those_of_videos() -> None:
    from dataclasses import fields

    from stablemtl.commands.predict import PredictConfig, VideoChoices
    from stablemtl.commands.predict_video import video_options
    from stablemtl.video import VideoOptions

    assert video_options(PredictConfig(inputs=(Path("a.mp4"),))) == VideoOptions()
    ours, theirs = ({one.name for one in fields(kind)} for kind in (VideoChoices, VideoOptions))
    assert ours <= theirs


def test_fingerprints(tmp_path: Path) -> None:
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "config.json").write_text("{}")
    first = model_fingerprint(tmp_path)
    assert len(first) == 16
    (tmp_path / "README.md").write_text("text")
    (tmp_path / ".cache").touch()
    assert model_fingerprint(tmp_path) == first
    (tmp_path / "unet" / "config.json").write_text("[]")
    assert model_fingerprint(tmp_path) != first
    assert PLAIN.fingerprint() == replace(PLAIN, batch_tasks=3).fingerprint()
    assert PLAIN.fingerprint() != replace(PLAIN, computed_as="bfloat16").fingerprint()
    assert json.loads(PLAIN.fingerprint())["tasks"] == ["depth", "normal"]


def test_options_out_of_range() -> None:
    check_options(PredictorOptions())
    with pytest.raises(ValueError, match="--tile must be 0 or more, got -8"):
        check_options(PredictorOptions(tile=-8))
