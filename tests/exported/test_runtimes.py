"""Exported models in ONNX Runtime and OpenVINO against torch; each graph is written once for all tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stablemtl import StableMTLPipeline
from stablemtl.exported import ExportedPipeline, load_exported
from stablemtl.outputs import Predictions

RUNTIMES = ("onnx", "openvino")
RANDOM = np.random.default_rng(0)


def image(height: int, width: int) -> np.ndarray:
    return RANDOM.integers(0, 256, (height, width, 3), dtype=np.uint8)


def same(got: Predictions, expected: Predictions, **tolerance: float) -> None:
    assert list(got) == list(expected)
    for name, one in expected.items():
        np.testing.assert_allclose(got[name].values, one.values, **{"atol": 1e-3, "rtol": 1e-3, **tolerance})
        assert (got[name].unit, got[name].note, got[name].size) == (one.unit, one.note, one.size)
        assert got[name].encoding == one.encoding


@pytest.fixture(scope="module", params=RUNTIMES)
def exported(request: pytest.FixtureRequest, export_small: Callable[..., Path]) -> ExportedPipeline:
    """Both streams."""
    return load_exported(export_small(to=request.param, streams="multi"), threads=1)


@pytest.mark.parametrize(("height", "width"), [(16, 24), (21, 15)])  # the codec's cells have 2 pixels
def test_a_pair_and_one_image(
    exported: ExportedPipeline, small_pipeline: StableMTLPipeline, height: int, width: int
) -> None:
    first, second = image(height, width), image(height, width)
    for inputs in ((first, second), (first,)):
        maps = exported(*inputs)
        same(maps, small_pipeline(*inputs))
        assert len(maps.frames) == len(inputs)
    assert maps["optical_flow"].note == "one frame given: shows no motion"


@pytest.mark.parametrize("tasks", ["depth", ["normal", "optical_flow"], ["optical_flow"]])
def test_some_of_the_tasks(
    exported: ExportedPipeline, small_pipeline: StableMTLPipeline, tasks: str | list[str]
) -> None:
    first, second = image(18, 13), image(18, 13)
    same(exported(first, second, tasks), small_pipeline(first, second, tasks))


def test_lists_of_images(exported: ExportedPipeline, small_pipeline: StableMTLPipeline) -> None:
    firsts = [image(18, 26), image(18, 26), image(22, 14), image(18, 26)]
    seconds = [image(18, 26), image(18, 26), None, image(18, 26)]
    for options in ({"batch_size": 2}, {"batch_size": 3, "batch_tasks": 2}):
        results = exported(firsts, seconds, **options)
        for got, expected in zip(results, small_pipeline(firsts, seconds), strict=True):
            same(got, expected)


def test_other_sizes_processed(exported: ExportedPipeline, small_pipeline: StableMTLPipeline) -> None:
    picture = image(40, 30)
    for match in (True, False):
        options: dict[str, Any] = {"processing_resolution": 20, "match_input_resolution": match}
        maps = exported(picture, tasks="depth", **options)
        assert maps["depth"].size == ((40, 30) if match else (20, 15))
        same(maps, small_pipeline(picture, tasks="depth", **options))


def test_frames_encoded_before(exported: ExportedPipeline, small_pipeline: StableMTLPipeline) -> None:
    first, second = image(16, 22), image(16, 22)
    frames = [exported.encode(one) for one in (first, second)]
    assert frames[0].latent is not None
    assert frames[0].latent.shape == (4, 8, 11)
    same(exported(*frames), small_pipeline(first, second))


def test_what_is_not_there(exported: ExportedPipeline) -> None:
    picture = image(16, 22)
    with pytest.raises(
        ValueError, match=r"single_stream=True is not in this exported model.*streams='single'"
    ):
        exported(picture, single_stream=True)
    with pytest.raises(ValueError, match=r"codec_tile is not available for an exported model"):
        exported(picture, codec_tile=64)
    with pytest.raises(ValueError, match=r"unknown task 'shading'; choose from depth, normal, optical_flow"):
        exported(picture, tasks="shading")
    with pytest.raises(NotImplementedError, match=r"load_exported\(folder, device=...\)"):
        exported.to("cuda")
    with pytest.raises(NotImplementedError, match="copy the folder"):
        exported.save_pretrained("somewhere")
    with pytest.raises(NotImplementedError, match="one_at_a_time=True"):
        exported.enable_stream_offload("cpu")


def test_what_maps_say_of_their_origin(exported: ExportedPipeline, export_small: Callable[..., Path]) -> None:
    assert exported.manifest.streams == "multi"
    assert exported.model.main is not None
    assert exported.device.type == "cpu"
    assert Path(exported.config["_name_or_path"]).name == f"{exported.manifest.runtime}-multi"


@pytest.mark.slow
def test_single_stream(export_small: Callable[..., Path], small_pipeline: StableMTLPipeline) -> None:
    pipe = load_exported(export_small(to="onnx", streams="single"), one_at_a_time=True, verify=True)
    assert pipe.model.main is None
    for height, width in ((16, 24), (21, 15)):
        first, second = image(height, width), image(height, width)
        expected = small_pipeline(first, second, single_stream=True)
        same(pipe(first, second), expected)
        same(pipe(first, second, single_stream=True), expected)
        same(pipe(first, tasks=["normal"]), small_pipeline(first, tasks=["normal"], single_stream=True))


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_choices_that_are_not_available(runtime: str, export_small: Callable[..., Path]) -> None:
    folder = export_small(to=runtime, streams="multi")
    with pytest.raises(ValueError, match=r"device 'ABACUS' is not available .*Choose .*CPU"):
        load_exported(folder, device="ABACUS")
    assert load_exported(folder, device="cpu").manifest.runtime == runtime
    if runtime == "onnx":
        with pytest.raises(ValueError, match="precision must be 'float32' with ONNX Runtime"):
            load_exported(folder, precision="bfloat16")
        return
    import openvino

    if "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pipe = load_exported(folder, precision="bfloat16")
        same(pipe(image(16, 24)), load_exported(folder)(image(16, 24)), atol=0.5)
    else:
        with pytest.raises(ValueError, match="precision 'bfloat16' is not available: this CPU has none"):
            load_exported(folder, precision="bfloat16")
