"""Data, small networks and a toy run for the tests of training."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from stablemtl import StableMTLModel
from stablemtl.training import autoencoder, start
from stablemtl.training.config import CodecRun, DataConfig, LoopConfig, StageRun
from stablemtl.training.loop import fit
from stablemtl.training.step import Loss

FAKES = Path(__file__).resolve().parents[1] / "data" / "fake_datasets.py"
SIZE = (16, 24)
OPTIONS = {
    "depth": {"encoding": "log", "near_m": 0.5, "far_m": 80.0},
    "optical_flow": {"encoding": "calibrated", "scale_px": 16.0},
}


@pytest.fixture(scope="session")
def toy() -> Any:
    """The functions of ``toy.py``."""
    return _module("toy", Path(__file__).with_name("toy.py"))


@pytest.fixture(scope="session")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with fakes of all four datasets; three of them have held-out frames."""
    root: Path = _module("fake_datasets", FAKES).write_all(tmp_path_factory.mktemp("data"))
    return root


@pytest.fixture(scope="session")
def codec_folder(make_tiny_vae: Callable[[], Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A codec as ``train_codec`` writes it: 2 pixels a latent cell, latents of about unit scale."""
    folder = tmp_path_factory.mktemp("codec") / "codec"
    vae = make_tiny_vae()
    vae.register_to_config(scaling_factor=2.0)
    vae.save_pretrained(folder)
    return folder


@pytest.fixture
def small_networks(
    monkeypatch: pytest.MonkeyPatch,
    make_tiny_vae: Callable[[], Any],
    make_tiny_model: Callable[..., StableMTLModel],
) -> None:
    """Networks of a few thousand weights in place of the nano ones."""

    def model(tasks: tuple[str, ...], **options: Any) -> StableMTLModel:
        return make_tiny_model(tasks, multi_stream=False)

    monkeypatch.setattr(start, "nano_model", model)
    monkeypatch.setattr(autoencoder, "nano_codec", make_tiny_vae)


@pytest.fixture
def killed_at(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """``with killed_at(module, step=2):`` the training started inside, whose ``fit`` that module calls, ends
    before this step, as if from outside."""

    class Killed(Exception):
        pass

    @contextmanager
    def killed(module: ModuleType, step: int) -> Iterator[None]:
        def stopped(
            accelerator: Any, network: Any, loss_at: Callable[..., Loss], *args: Any, **options: Any
        ) -> None:
            def until(network: Any, now: int, micro: int, rank: int) -> Loss:
                if now == step:
                    raise Killed
                return loss_at(network, now, micro, rank)

            fit(accelerator, network, until, *args, **options)

        with monkeypatch.context() as patch:
            patch.setattr(module, "fit", stopped)
            with pytest.raises(Killed):
                yield

    return killed


@pytest.fixture
def codec_run(data_root: Path, tmp_path: Path) -> Callable[..., CodecRun]:
    """``codec_run(steps=3, ...)``: keywords of ``LoopConfig`` or ``CodecRun``."""

    def make(**options: Any) -> CodecRun:
        loop = _loop(options)
        options = {"out": tmp_path / "codec-run", "task_options": OPTIONS} | options
        return CodecRun(data=DataConfig(root=data_root, size=SIZE), loop=loop, **options)

    return make


@pytest.fixture
def stage_run(data_root: Path, codec_folder: Path, tmp_path: Path) -> Callable[..., StageRun]:
    """``stage_run(1, steps=3, ...)``: keywords of ``LoopConfig`` or ``StageRun``, some of
    ``DataConfig``; all of these as ``data={...}``."""

    def make(stage: int, **options: Any) -> StageRun:
        loop = _loop(options)
        data = {"root": data_root, "size": SIZE, "variants": 2}
        data |= {name: options.pop(name) for name in ("root", "size", "task_weights") if name in options}
        data |= options.pop("data", {})
        defaults = {"out": tmp_path / f"stage{stage}", "save_dtype": "float32", "balance_losses": False}
        options = defaults | options
        if stage == 1 and "init" not in options:
            options = {"codec": codec_folder, "task_options": OPTIONS} | options
        return StageRun(stage=stage, data=DataConfig(**data), loop=loop, **options)

    return make


def _module(name: str, path: Path) -> Any:
    """A module of the tests, which are no package."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _loop(options: dict[str, Any]) -> LoopConfig:
    """Takes the options of the loop out of ``options``."""
    own = {name: options.pop(name) for name in list(options) if name in LoopConfig.__dataclass_fields__}
    return LoopConfig(**{"steps": 3, "batch_size": 2, "warmup_steps": 0, "preview_every": 0} | own)


@pytest.fixture
def parameters() -> Callable[[nn.Module], dict[str, torch.Tensor]]:
    """Copies of everything a module holds, by name."""
    return lambda module: {name: value.clone() for name, value in module.state_dict().items()}
