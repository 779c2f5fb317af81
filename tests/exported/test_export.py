"""Writing exported folders: what is in them, and what stops it."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from stablemtl import StableMTLPipeline
from stablemtl.exported import check, export, export_pipeline, is_exported, load_exported
from stablemtl.exported.graphs import Graph
from stablemtl.exported.manifest import Manifest
from stablemtl.exported.onnx_files import write_onnx


def test_what_a_folder_holds(export_small: Callable[..., Path], small_pipeline: StableMTLPipeline) -> None:
    folder = export_small(to="onnx", streams="multi")
    names = {"encoder.onnx", "auxiliary.onnx", "main.onnx", "decoder.onnx"}
    assert {path.name for path in folder.iterdir()} == {*names, "exported.json"}
    assert is_exported(folder)
    content = json.loads((folder / "exported.json").read_text())
    assert content["format"] == 1
    manifest = Manifest.read(folder, verify=True)
    assert set(manifest.files) == names
    assert manifest.tasks == ("depth", "optical_flow", "normal")
    assert manifest.pair_tasks == ("optical_flow",)
    assert manifest.task_options == small_pipeline.config["task_options"]
    assert (manifest.downscale, manifest.latent_channels, manifest.opset) == (2, 4, 20)
    assert set(manifest.versions) == {"stablemtl", "torch", "diffusers", "onnx", "onnxscript", "onnxruntime"}
    pair, images = manifest.check
    assert (pair["frames"], pair["images"], pair["height"], pair["width"]) == (2, 1, 20, 27)
    assert (images["frames"], images["images"], images["height"], images["width"]) == (1, 2, 33, 24)
    for one in manifest.check:
        for part in ("encoder", "network", "decoder", "whole"):
            assert 0 < one[part] < 1e-4


def test_openvino_folders(export_small: Callable[..., Path]) -> None:
    folder = export_small(to="openvino", streams="multi")
    names = {
        f"{name}{end}" for name in ("encoder", "auxiliary", "main", "decoder") for end in (".xml", ".bin")
    }
    assert {path.name for path in folder.iterdir()} == {*names, "exported.json"}


def test_graphs_have_open_sizes_and_no_paths(export_small: Callable[..., Path]) -> None:
    import onnx

    folder = export_small(to="onnx", streams="multi")
    sizes = {}
    for name in ("encoder", "auxiliary", "main", "decoder"):
        data = (folder / f"{name}.onnx").read_bytes()
        assert b"stablemtl" not in data
        assert b"site-packages" not in data
        graph = onnx.load(folder / f"{name}.onnx").graph
        sizes[name] = {
            value.name: tuple(d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim)
            for value in graph.input
        }
    assert sizes["encoder"] == {"images": ("batch", 3, "image_height", "image_width")}
    assert sizes["decoder"] == {"latents": ("batch", 4, "height", "width")}
    latents = {name: ("distinct", 4, "height", "width") for name in ("latent", "latent_next")}
    rows = {name: ("rows",) for name in ("source", "tasks")}
    assert sizes["auxiliary"] == {**latents, **rows}
    assert sizes["main"] == {
        **latents,
        **rows,
        "attends": ("rows", "auxiliary_rows"),
        "keys_0": ("auxiliary_rows", "tokens_1", 8),
        "values_0": ("auxiliary_rows", "tokens_1", 8),
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"to": "tensorrt"}, "to must be one of onnx, openvino, got 'tensorrt'"),
        ({"dtype": "int8"}, "dtype must be one of float32, float16, got 'int8'"),
        ({"streams": "both"}, "streams must be one of multi, single, got 'both'"),
    ],
)
def test_unknown_choices(
    small_pipeline: StableMTLPipeline, tmp_path: Path, options: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        export_pipeline(small_pipeline, tmp_path / "out", **options)
    assert list(tmp_path.iterdir()) == []


def test_streams_that_are_not_there(
    make_small_model: Callable[..., Any], make_tiny_vae: Callable[[], Any], tmp_path: Path
) -> None:
    pipe = StableMTLPipeline(model=make_small_model(multi_stream=False), vae=make_tiny_vae())
    with pytest.raises(ValueError, match="streams='multi' needs a main network"):
        export_pipeline(pipe, tmp_path / "out", streams="multi")


def test_folders_are_not_overwritten(
    small_pipeline: StableMTLPipeline,
    written_once: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(export, "write_onnx", written_once)
    out = tmp_path / "out"
    out.mkdir()
    (out / "old.txt").touch()
    with pytest.raises(FileExistsError, match=r"out is there already.*overwrite=True"):
        export_pipeline(small_pipeline, out)
    assert export_pipeline(small_pipeline, out, overwrite=True) == out
    assert not (out / "old.txt").exists()
    assert is_exported(out)
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError, match="file is there already"):
        export_pipeline(small_pipeline, tmp_path / "file", overwrite=True)


def test_a_model_that_differs_is_not_written(
    small_pipeline: StableMTLPipeline,
    written_once: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(export, "write_onnx", written_once)
    compare = check.compare
    monkeypatch.setattr(
        export, "compare", lambda *arguments: [replace(one, decoder=0.02) for one in compare(*arguments)]
    )
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old.txt").touch()
    with pytest.raises(
        RuntimeError, match=r"differs from torch by 0.02, more than 0.001; nothing was written"
    ):
        export_pipeline(small_pipeline, tmp_path / "out", overwrite=True)
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "old.txt"]


def test_the_comparison_sees_a_difference(
    small_pipeline: StableMTLPipeline, make_small_model: Callable[..., Any]
) -> None:
    same = check.compare(small_pipeline, small_pipeline, single_stream=False)
    assert max(one.largest for one in same) == 0
    check.require_close(same, "float32")
    other = StableMTLPipeline(model=make_small_model().float(), vae=small_pipeline.vae)
    with torch.no_grad():
        other.model.main.conv_out.bias += 0.5
    for one in check.compare(small_pipeline, other, single_stream=False):
        assert one.encoder == one.decoder == 0
        assert one.network > 0.01
        assert one.whole > 1e-3
    with pytest.raises(RuntimeError, match="differs from torch"):
        check.require_close([replace(same[0], whole=float("nan"))], "float32")


def test_other_number_types_and_modes(
    make_small_model: Callable[..., Any],
    make_tiny_vae: Callable[[], Any],
    written_once: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    """A model in half precision and training mode is exported as a float32 copy, and stays as it was."""
    pipe = StableMTLPipeline(model=make_small_model(), vae=make_tiny_vae())
    pipe.model.train()
    seen: list[tuple[torch.dtype, bool]] = []

    def watch(graph: Graph, path: Path, **options: Any) -> None:
        seen.extend((p.dtype, graph.module.training) for p in graph.module.parameters())
        written_once(graph, path, **options)

    monkeypatch.setattr(export, "write_onnx", watch)
    with caplog.at_level(logging.INFO, logger="stablemtl.exported"):
        export_pipeline(pipe, tmp_path / "a")
    assert pipe.model.main.training
    assert "20x27 px, 1 x 2 frames: largest difference from torch" in caplog.text
    half = pipe.to(torch.float16)
    monkeypatch.setattr(export, "require_close", lambda *_: None)  # the graphs are of unrounded weights
    seen.clear()
    export_pipeline(half, tmp_path / "b")
    assert {dtype for dtype, _ in seen} == {torch.float32}
    assert half.model.dtype == torch.float16


def test_exported_models_are_not_exported(export_small: Callable[..., Path], tmp_path: Path) -> None:
    pipe = load_exported(export_small(to="onnx", streams="multi"))
    with pytest.raises(ValueError, match="was exported already"):
        export_pipeline(pipe, tmp_path / "out")


# one graph --------------------------------------------------------------------------------------------------


class Lines(nn.Module):
    """A small graph of one linear layer."""

    def __init__(self, width: int = 40) -> None:
        super().__init__()
        self.layer = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


class ThreeRows(nn.Module):
    """Works with one size only."""

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.ones(3, 40)


def graph_of(module: nn.Module) -> Graph:
    inputs = {"x": torch.zeros(3, 40)}
    return Graph(module=module, inputs=inputs, outputs=("y",), open_sizes={"x": {0: "rows"}})


def test_half_weights(tmp_path: Path) -> None:
    import onnxruntime
    import openvino

    module = Lines()
    write_onnx(graph_of(module), tmp_path / "a.onnx", opset=20, half=True)
    assert (tmp_path / "a.onnx").stat().st_size < 40 * 40 * 3
    x = torch.rand(5, 40)
    with torch.no_grad():
        exact = module(x).numpy()
        module.layer.weight.copy_(module.layer.weight.half().float())
        rounded = module(x).numpy()
    (y,) = onnxruntime.InferenceSession(str(tmp_path / "a.onnx")).run(None, {"x": x.numpy()})
    np.testing.assert_allclose(y, rounded, atol=1e-5)
    assert np.abs(y - exact).max() > 1e-5
    export._to_openvino(tmp_path / "a.onnx", half=True)
    assert (tmp_path / "a.bin").stat().st_size < 40 * 40 * 3
    y = openvino.compile_model(tmp_path / "a.xml", "CPU")(x.numpy())[0]
    np.testing.assert_allclose(y, rounded, atol=1e-3)


def test_large_weights_lie_beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime
    import openvino

    monkeypatch.setattr("stablemtl.exported.onnx_files._EMBEDDED_BYTES", 1000)
    module = Lines()
    ones = np.ones((2, 40), np.float32)
    with torch.no_grad():
        expected = module(torch.ones(2, 40)).numpy()
    file = tmp_path / "a.onnx"
    write_onnx(graph_of(module), file, opset=20)
    assert {path.name for path in tmp_path.iterdir()} == {"a.onnx", "a.onnx.data"}
    (y,) = onnxruntime.InferenceSession(str(file)).run(None, {"x": ones})
    np.testing.assert_allclose(y, expected, atol=1e-5)
    export._to_openvino(file, half=False)
    assert {path.name for path in tmp_path.iterdir()} == {"a.xml", "a.bin"}
    y = openvino.compile_model(tmp_path / "a.xml", "CPU")(ones)[0]
    np.testing.assert_allclose(y, expected, atol=1e-5)


@pytest.mark.slow
def test_sizes_that_would_be_fixed(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="Failed to export the model"):
        write_onnx(graph_of(ThreeRows()), tmp_path / "a.onnx", opset=20)
    assert list(tmp_path.iterdir()) == []


# whole models -----------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("to", ["onnx", "openvino"])
def test_nano(to: Any, tmp_path: Path) -> None:
    pipe = StableMTLPipeline.from_pretrained("nano")
    folder = export_pipeline(pipe, tmp_path / "nano", to=to)
    manifest = Manifest.read(folder)
    assert manifest.source == "nano"
    assert max(one["whole"] for one in manifest.check) < 1e-4
    exported = load_exported(folder)
    random = np.random.default_rng(0)
    first, second = random.integers(0, 256, (2, 70, 98, 3), dtype=np.uint8)
    got, expected = exported(first, second), pipe(first, second)
    assert list(got) == list(expected)
    for name, one in expected.items():
        if name == "semantic":
            assert (got[name].values == one.values).mean() > 0.999
        else:
            np.testing.assert_allclose(got[name].values, one.values, atol=2e-3, rtol=2e-3)
