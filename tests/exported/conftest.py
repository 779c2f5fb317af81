"""A model even smaller than the tiny one. Writing a graph takes seconds, so each is written once."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from stablemtl import StableMTLModel, StableMTLPipeline
from stablemtl.exported import export

UNET = {
    "in_channels": 12,
    "out_channels": 4,
    "block_out_channels": [4, 8],
    "layers_per_block": 1,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
    "mid_block_type": None,
    "up_block_types": ["UpBlock2D", "UpBlock2D"],
    "attention_head_dim": [2, 2],
    "cross_attention_dim": 8,
    "norm_num_groups": 2,
    "use_linear_projection": True,
}
"""Two levels and one self-attention block: exporting takes a second for every few layers."""
TASKS = ("depth", "optical_flow", "normal")


def small_model(multi_stream: bool = True, **changes: Any) -> StableMTLModel:
    """A model of a few hundred weights for three tasks, one of two frames."""
    unet = UNET | changes.pop("unet", {})
    attention = {"heads": 2, "query_hidden_dim": 6, "query_hidden_layers": 1} | changes.pop(
        "task_attention", {}
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = StableMTLModel(
            unet=unet,
            tasks=list(TASKS),
            token_lengths=[2, 3, 2],
            task_attention=attention if multi_stream else None,
            **changes,
        )
        model.set_tokens({name: torch.randn(2 + i % 2, 8) for i, name in enumerate(TASKS)})
        for name, parameter in model.named_parameters():
            if "norm" not in name:  # some start as zeros, which would hide a part of the network
                torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


@pytest.fixture(scope="session")
def make_small_model() -> Callable[..., StableMTLModel]:
    """``make_small_model(multi_stream=True, **options)``: a new model on each call."""
    return small_model


@pytest.fixture(scope="session")
def small_pipeline(make_tiny_vae: Callable[[], Any]) -> StableMTLPipeline:
    """Both streams; the codec has 2 pixels a latent cell."""
    options = {"depth": {"encoding": "log", "near_m": 0.5, "far_m": 80.0}}
    return StableMTLPipeline(model=small_model(), vae=make_tiny_vae(), task_options=options)


@pytest.fixture(scope="session")
def written_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., None]:
    """``write_onnx``, which for a kind of graph written before copies the file."""
    folder = tmp_path_factory.mktemp("graphs")
    write = export.write_onnx

    def write_or_copy(graph: Any, path: Path, *, opset: int, half: bool = False) -> None:
        kept = folder / f"{path.stem}-{opset}-{half}.onnx"
        if not kept.exists():
            write(graph, kept, opset=opset, half=half)
        shutil.copy(kept, path)

    return write_or_copy


@pytest.fixture(scope="session")
def export_small(
    small_pipeline: StableMTLPipeline,
    written_once: Callable[..., None],
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[..., Path]:
    """``export_small(to=..., streams=..., ...)``: the small pipeline's folder, made at the first call."""
    for package in ("onnx", "onnxscript", "onnxruntime", "openvino"):
        pytest.importorskip(package)
    folder = tmp_path_factory.mktemp("exported")

    def make(**options: str) -> Path:
        out = folder / "-".join(options.values())
        if not out.exists():
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(export, "write_onnx", written_once)
                export.export_pipeline(small_pipeline, out, **options)  # type: ignore[arg-type]
        return out

    return make
