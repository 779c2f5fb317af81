"""Networks small enough for tests, and the golden numbers of the published code.

Test files are imported one by one, so helpers come as fixtures that return a function.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from stablemtl.models import StableMTLModel, TaskAttentionConfig, from_published

GOLDEN = Path(__file__).parents[1] / "fixtures" / "golden"


@pytest.fixture(scope="package", autouse=True)
def _one_thread() -> Iterator[None]:
    """Networks this small do not share: threads that wait for each other cost ten times the work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@dataclass(frozen=True)
class Golden:
    """The published networks' weights, inputs and outputs."""

    config: dict[str, Any]
    auxiliary: dict[str, Tensor]
    main: dict[str, Tensor]
    io: dict[str, Tensor]

    @property
    def tasks(self) -> list[str]:
        return self.config["tasks"]

    @property
    def tokens(self) -> dict[str, Tensor]:
        return {task: self.io[f"token.{task}"] for task in self.tasks}

    def convert(self, main: bool = True) -> StableMTLModel:
        state = self.main if main else None
        return from_published(
            self.auxiliary, state, self.config["unet"], self.config["task_attention"], self.tokens
        )


@pytest.fixture(scope="session")
def golden() -> Golden:
    weights = load_file(GOLDEN / "weights.safetensors")
    return Golden(
        config=json.loads((GOLDEN / "config.json").read_text()),
        auxiliary={key[4:]: value for key, value in weights.items() if key.startswith("aux.")},
        main={key[5:]: value for key, value in weights.items() if key.startswith("main.")},
        io=load_file(GOLDEN / "io.safetensors"),
    )


@pytest.fixture(scope="session")
def golden_model(golden: Golden) -> StableMTLModel:
    """The golden multi-stream model. Tests that change a model make their own."""
    return golden.convert()


@pytest.fixture(scope="session")
def unet_options() -> Callable[..., dict[str, Any]]:
    """Options of a UNet with two levels and attention at the second: blocks in down 1, middle, up 0 (two)."""

    def options(**changes: Any) -> dict[str, Any]:
        return {
            "in_channels": 12,
            "block_out_channels": [8, 16],
            "layers_per_block": 1,
            "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
            "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
            "attention_head_dim": 2,
            "cross_attention_dim": 12,
            "norm_num_groups": 4,
            "use_linear_projection": True,
            **changes,
        }

    return options


@pytest.fixture(scope="session")
def attention_config() -> Callable[..., TaskAttentionConfig]:
    def config(**changes: Any) -> TaskAttentionConfig:
        return TaskAttentionConfig(**{"query_hidden_dim": 10, "heads": 2, **changes})

    return config


@pytest.fixture(scope="session")
def make_model(unet_options: Callable[..., dict[str, Any]]) -> Callable[..., StableMTLModel]:
    """Makes a model with random weights; ``warm`` moves the main stream away from its start as a copy."""

    def make(
        attention: TaskAttentionConfig | None = None,
        *,
        tasks: tuple[str, ...] = ("semantic", "depth", "optical_flow", "normal"),
        warm: bool = True,
        unet: dict[str, Any] | None = None,
        **options: Any,
    ) -> StableMTLModel:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            lengths = [2 + i % 3 for i in range(len(tasks))]
            model = StableMTLModel(unet_options(**(unet or {})), list(tasks), lengths, **options)
            tokens = [torch.randn(length, 12) for length in lengths]
            model.set_tokens(dict(zip(tasks, tokens, strict=True)))
            if attention is not None:
                model.add_main_stream(attention)
                assert model.main is not None
                for parameter in model.trainable_parameters() if warm else []:
                    torch.nn.init.normal_(parameter, mean=parameter.detach().mean().item(), std=0.3)
        return model.eval()

    return make


@pytest.fixture(scope="session")
def make_latents() -> Callable[..., tuple[Tensor, Tensor]]:
    """Makes the latents of two frames, (batch, 4, *size) each; sizes are odd and not square unless asked."""

    def make(batch: int = 2, size: tuple[int, int] = (5, 9), seed: int = 1) -> tuple[Tensor, Tensor]:
        first, second = torch.randn(2, batch, 4, *size, generator=torch.Generator().manual_seed(seed))
        return first, second

    return make
