"""Tiny models with random weights, shared by the tests."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tensors this small only lose by threads
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Started in the background of a shell: the commands that tests start would never see Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from diffusers import AutoencoderTiny

    from stablemtl import StableMTLModel, StableMTLPipeline

PUBLISHED = tuple(json.loads((Path(__file__).parent / "fixtures" / "metrics_expected.json").read_text()))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of exported models come last: OpenVINO's threads do not survive the forks of data loaders."""
    items.sort(key=lambda item: "exported" in item.path.parts)


TINY_UNET = {
    "in_channels": 12,
    "out_channels": 4,
    "block_out_channels": [8, 16],
    "layers_per_block": 1,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
    "attention_head_dim": [2, 2],
    "cross_attention_dim": 8,
    "norm_num_groups": 4,
    "use_linear_projection": True,
}
TINY_TASK_OPTIONS = {
    "depth": {"encoding": "log", "near_m": 0.5, "far_m": 80.0},
    "optical_flow": {"encoding": "calibrated", "scale_px": 16.0},
}


def _make_tiny_model(tasks: tuple[str, ...] | None = None, *, multi_stream: bool = True) -> StableMTLModel:
    """A model of a few thousand weights for all tasks, or for some; its two streams differ."""
    import torch

    from stablemtl import TASKS, StableMTLModel

    names = list(tasks or TASKS)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = StableMTLModel(
            unet=TINY_UNET,
            tasks=names,
            token_lengths=[2] * len(names),
            task_attention={"heads": 2, "query_hidden_dim": 8} if multi_stream else None,
        )
        model.set_tokens({name: torch.randn(2 + i % 2, 8) for i, name in enumerate(names)})
        for name, parameter in model.named_parameters():
            if "norm" not in name:  # some start as zeros, which would hide a part of the network
                torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


def _make_tiny_vae() -> AutoencoderTiny:
    """An autoencoder with 2 pixels a latent cell."""
    import torch
    from diffusers import AutoencoderTiny

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        vae = AutoencoderTiny(
            encoder_block_out_channels=(8, 8),
            decoder_block_out_channels=(8, 8),
            num_encoder_blocks=(1, 1),
            num_decoder_blocks=(1, 1),
            latent_channels=4,
        )
    return vae.eval()


def _beside(name: str) -> ModuleType:
    """A helper in this folder."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look for their module there
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def make_tiny_model() -> Callable[..., StableMTLModel]:
    """``make_tiny_model(tasks, multi_stream=True)``: a new model on each call, always the same."""
    return _make_tiny_model


@pytest.fixture(scope="session")
def make_tiny_vae() -> Callable[[], AutoencoderTiny]:
    """A new autoencoder on each call, always the same."""
    return _make_tiny_vae


@pytest.fixture(scope="session")
def tiny_pipeline() -> StableMTLPipeline:
    """All seven tasks, two streams, flow in pixels and depth in metres; images keep their size."""
    from stablemtl import StableMTLPipeline

    return StableMTLPipeline(model=_make_tiny_model(), vae=_make_tiny_vae(), task_options=TINY_TASK_OPTIONS)


@pytest.fixture(scope="session")
def tiny_folder(tiny_pipeline: StableMTLPipeline, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny pipeline written by ``save_pretrained``."""
    folder = tmp_path_factory.mktemp("tiny") / "model"
    tiny_pipeline.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def write_tiny_base() -> Callable[..., Path]:
    """``write_tiny_base(folder, unet_options)``; see ``tiny_base.py``."""
    return _beside("tiny_base").write_tiny_base


@pytest.fixture(scope="session")
def tiny_base(write_tiny_base: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base model to start stage 1 from, of the tiny UNet's options."""
    return write_tiny_base(tmp_path_factory.mktemp("base"), TINY_UNET)


@pytest.fixture(scope="session", params=PUBLISHED)
def published_case(request: pytest.FixtureRequest) -> Any:
    """Maps, and the figures that the published metric functions give on them: ``published_metrics.py``."""
    return _beside("published_metrics").published_case(request.param)
