"""Loading and saving pipelines: what is restored, what is refused, and where it computes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from stablemtl import StableMTLModel, StableMTLPipeline, locate
from stablemtl.outputs import Predictions

RANDOM = np.random.default_rng(0)
IMAGE, IMAGE_NEXT = RANDOM.integers(0, 256, (2, 18, 27, 3), dtype=np.uint8)


def same(a: Predictions, b: Predictions) -> bool:
    return list(a) == list(b) and all(np.allclose(a[name].values, b[name].values, atol=1e-4) for name in a)


def test_what_was_saved_is_loaded(tiny_pipeline: StableMTLPipeline, tiny_folder: Path) -> None:
    index = json.loads((tiny_folder / "model_index.json").read_text())
    assert index["model"] == ["stablemtl", "StableMTLModel"]
    assert index["vae"] == ["diffusers", "AutoencoderTiny"]
    assert index["task_options"]["depth"] == {"encoding": "log", "near_m": 0.5, "far_m": 80.0}
    for source in (tiny_folder, str(tiny_folder)):
        pipe = StableMTLPipeline.from_pretrained(source)
        assert not pipe.model.training
        assert pipe.tasks == tiny_pipeline.tasks
        assert same(pipe(IMAGE, IMAGE_NEXT), tiny_pipeline(IMAGE, IMAGE_NEXT))
    assert isinstance(StableMTLModel.from_pretrained(tiny_folder / "model"), StableMTLModel)


def test_loading_says_nothing(tiny_folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    from diffusers.utils import logging

    logging.enable_propagation()
    try:
        StableMTLPipeline.from_pretrained(tiny_folder)
    finally:
        logging.disable_propagation()
    assert caplog.records == []


def test_where_it_was_loaded_from_is_not_saved(tiny_folder: Path, tmp_path: Path) -> None:
    pipe = StableMTLPipeline.from_pretrained(tiny_folder)
    pipe.save_pretrained(tmp_path)
    for path in tmp_path.rglob("*.json"):
        assert str(tiny_folder.parent) not in path.read_text()


def test_half_precision_files_are_loaded_as_float32(tiny_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "half"
    shutil.copytree(tiny_folder, folder)
    for path in folder.rglob("*.safetensors"):
        weights = load_file(path)
        half = {name: value.half() if value.is_floating_point() else value for name, value in weights.items()}
        save_file(half, path, metadata={"format": "pt"})
    pipe = StableMTLPipeline.from_pretrained(folder)
    for module in (pipe.model, pipe.vae):
        values = [*module.parameters(), *module.buffers()]
        assert {value.dtype for value in values if value.is_floating_point()} == {torch.float32}
    full = StableMTLPipeline.from_pretrained(tiny_folder)
    depths = [one(IMAGE, tasks="depth")["depth"].values for one in (pipe, full)]
    assert np.allclose(*depths, rtol=0.2)


@pytest.mark.parametrize("argument", ["torch_dtype", "dtype"])
def test_reduced_precision(tiny_folder: Path, argument: str) -> None:
    pipe = StableMTLPipeline.from_pretrained(tiny_folder, **{argument: torch.bfloat16}, device="cpu")  # type: ignore[arg-type]
    assert pipe.model.dtype == pipe.vae.dtype == torch.bfloat16
    maps = pipe(IMAGE, IMAGE_NEXT)
    for one in maps.values():
        assert one.values.dtype in (np.float32, np.int64)
        assert one.valid.all()


def test_parts_can_be_given(tiny_folder: Path, make_tiny_vae: Callable[..., Any]) -> None:
    vae = make_tiny_vae()
    assert StableMTLPipeline.from_pretrained(tiny_folder, vae=vae).vae is vae


def test_kl_autoencoder(tiny_pipeline: StableMTLPipeline, tmp_path: Path) -> None:
    from diffusers import AutoencoderKL

    vae = AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        norm_num_groups=4,
    ).eval()
    pipe = StableMTLPipeline(tiny_pipeline.model, vae)
    expected = pipe(IMAGE, IMAGE_NEXT)
    pipe.save_pretrained(tmp_path)
    assert same(StableMTLPipeline.from_pretrained(tmp_path)(IMAGE, IMAGE_NEXT), expected)


@pytest.mark.parametrize(
    ("name", "error", "match"),
    [
        (
            "nanoo",
            ValueError,
            r"unknown model 'nanoo'; choose an embedded one \(nano\), a folder, or a hub id",
        ),
        ("", ValueError, "unknown model ''"),
        ("./none", FileNotFoundError, "there is no model folder ./none"),
        ("some/where/else", FileNotFoundError, "there is no model folder"),
        (Path("nano"), FileNotFoundError, "there is no model folder nano"),
        (Path("owner/name"), FileNotFoundError, "there is no model folder owner"),
    ],
)
def test_models_that_are_not_there(name: str | Path, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        StableMTLPipeline.from_pretrained(name)


def test_folders_that_are_no_model(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"is not a StableMTL model: it has no model_index\.json"):
        StableMTLPipeline.from_pretrained(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="is a file; a model is a folder"):
        StableMTLPipeline.from_pretrained(tmp_path / "file")


@pytest.mark.parametrize(
    ("index", "match"),
    [
        (
            '{"_class_name": "StableDiffusionPipeline"}',
            "is a StableDiffusionPipeline, not a StableMTLPipeline",
        ),
        ("{", r"model_index\.json is damaged"),
        ("{}", r"model_index\.json is damaged"),
    ],
)
def test_folders_of_other_models(tmp_path: Path, index: str, match: str) -> None:
    (tmp_path / "model_index.json").write_text(index)
    with pytest.raises(ValueError, match=match):
        StableMTLPipeline.from_pretrained(tmp_path)


def test_weights_cut_short_or_missing(tiny_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_folder, tmp_path / "model")
    weights = next((tmp_path / "model" / "vae").glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(OSError, match="Unable to load weights"):
        StableMTLPipeline.from_pretrained(tmp_path / "model")
    weights.unlink()
    with pytest.raises(OSError, match="no file named"):
        StableMTLPipeline.from_pretrained(tmp_path / "model")


def test_installation_without_the_embedded_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locate.resources, "files", lambda package: tmp_path)
    with pytest.raises(FileNotFoundError, match="embedded model 'nano' is not in this installation"):
        StableMTLPipeline.from_pretrained("nano")


def test_embedded_model_is_found(tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(tiny_folder, tmp_path / "assets" / "nano")
    monkeypatch.setattr(locate.resources, "files", lambda package: tmp_path)
    pipe = StableMTLPipeline.from_pretrained("nano")
    assert pipe.name_or_path == "nano"


def test_hub(tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, dict[str, Any]]] = []

    def fetch(repo_id: str, **options: Any) -> str:
        calls.append((repo_id, options))
        if repo_id == "owner/gone":
            raise OSError("404 not found\nmore lines")
        return str(tmp_path if repo_id == "owner/other" else tiny_folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", fetch)
    StableMTLPipeline.from_pretrained("owner/name", revision="v1")
    assert calls[0][0] == "owner/name"
    assert calls[0][1]["revision"] == "v1"
    assert not any("bin" in pattern for pattern in calls[0][1]["allow_patterns"])  # no pickles
    with pytest.raises(OSError, match=r"could not be fetched from the Hugging Face hub \(404 not found\)"):
        StableMTLPipeline.from_pretrained("owner/gone")
    with pytest.raises(ValueError, match="owner/other on the hub is not a StableMTL model"):
        StableMTLPipeline.from_pretrained("owner/other")


def test_pickles_are_not_read(tiny_folder: Path) -> None:
    with pytest.raises(ValueError, match="read from safetensors files only"):
        StableMTLPipeline.from_pretrained(tiny_folder, use_safetensors=False)


def test_devices(tiny_folder: Path) -> None:
    assert StableMTLPipeline.from_pretrained(tiny_folder, device="cpu").device.type == "cpu"
    with pytest.raises(ValueError, match="unknown device 'gpu'; choose cpu, cuda"):
        StableMTLPipeline.from_pretrained(tiny_folder, device="gpu")
    with pytest.raises(ValueError, match="device 'cuda:99' is not available"):
        StableMTLPipeline.from_pretrained(tiny_folder, device="cuda:99")


@pytest.mark.gpu
def test_gpu_agrees_with_cpu(tiny_folder: Path, tiny_pipeline: StableMTLPipeline) -> None:
    if not (torch.cuda.is_available() or torch.backends.mps.is_available()):
        pytest.skip("no accelerator")
    device = "cuda" if torch.cuda.is_available() else "mps"
    pipe = StableMTLPipeline.from_pretrained(tiny_folder, device=device)
    maps, expected = pipe(IMAGE, IMAGE_NEXT), tiny_pipeline(IMAGE, IMAGE_NEXT)
    for name in ("normal", "depth", "albedo"):
        np.testing.assert_allclose(maps[name].values, expected[name].values, atol=0.02)
