"""From the published checkpoints to :class:`StableMTLModel`.

The published single-stream file holds the keys of a stock UNet. The multi-stream file holds those of the main
UNet, plus the task attention inside each ``attn1``; the auxiliary UNet is not in it, it is the single-stream
file.
"""

from __future__ import annotations

import logging
import pickle
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from stablemtl.models.model import StableMTLModel
from stablemtl.models.passes import SecondFrame
from stablemtl.models.task_attention import TaskAttention, self_attention_blocks
from stablemtl.models.task_attention_config import TaskAttentionConfig
from stablemtl.models.unets import unet_options

logger = logging.getLogger(__name__)


def from_published(
    auxiliary_state: Mapping[str, Tensor],
    main_state: Mapping[str, Tensor] | None,
    unet_config: Mapping[str, Any],
    task_attention_config: Mapping[str, Any] | TaskAttentionConfig | None,
    task_tokens: Mapping[str, Tensor],
    *,
    second_frame: SecondFrame | None = None,
    timestep: int = 999,
) -> StableMTLModel:
    """The model that the published weights describe, in float32 and eval mode.

    Args:
        auxiliary_state: single-stream UNet, key -> tensor.
        main_state: multi-stream UNet with its task attention; None converts the single-stream model alone.
        unet_config: the UNet's options, as in its ``config.json``. Missing ones take diffusers' defaults,
            ``in_channels`` that of the weights; options diffusers does not know are dropped, and names of the
            released 3-D copies of blocks mean the 2-D ones.
        task_attention_config: sizes of the task attention; None takes the released model's. Not used without
            ``main_state``.
        task_tokens: task -> prompt embedding (1, L, D) or (L, D). Its order is the order of the model's
            tasks.
        second_frame: rule for tasks of one frame; None takes "average" for two input groups, else
            "duplicate", as released.
        timestep: the constant diffusion timestep.
    Raises:
        ValueError: keys are missing or left over, or shapes differ; all of them are listed.
    """
    unet = _unet_config(unet_config)
    if "conv_in.weight" in auxiliary_state:
        unet.setdefault("in_channels", auxiliary_state["conv_in.weight"].shape[1])
    if second_frame is None:
        averaged = unet.get("in_channels") == 2 * unet.get("out_channels", 4)
        second_frame = "average" if averaged else "duplicate"
    model = StableMTLModel(
        unet=unet,
        tasks=list(task_tokens),
        token_lengths=[tokens.shape[-2] for tokens in task_tokens.values()],
        second_frame=second_frame,
        timestep=timestep,
    )
    model.set_tokens(task_tokens)
    _load(
        "auxiliary_state",
        model.auxiliary,
        {key: key for key in model.auxiliary.state_dict()},
        auxiliary_state,
    )
    if main_state is not None:
        _add_main_stream(model, main_state, task_attention_config)
    return model.eval()


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Reads a checkpoint file: ``.safetensors``, or a torch pickle of plain tensors (``.pth``, ``.bin``) with
    ``weights_only=True``.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is damaged, or holds anything but a flat dict of tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint file at {path}.")
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ValueError(
            f"{path} is damaged, or holds more than tensors; nothing in it was run "
            f"({str(error).splitlines()[0]})."
        ) from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(
            f"{path} must hold a flat dict of tensors; this looks like a training checkpoint of another kind."
        )
    return state


def _unet_config(config: Mapping[str, Any]) -> dict[str, Any]:
    known = unet_options()
    options = {}
    for name, value in config.items():
        if name in known:
            options[name] = _stock_block_type(value)
        elif not name.startswith("_"):
            logger.warning(
                "unet_config: %s=%r is no option of UNet2DConditionModel and is dropped.", name, value
            )
    return options


def _stock_block_type(value: Any) -> Any:
    """``CrossAttnDownBlock3D`` -> ``CrossAttnDownBlock2D``; anything else as it is."""
    if isinstance(value, str):
        return value.replace("Block3D", "Block2D")
    return [_stock_block_type(item) for item in value] if isinstance(value, list | tuple) else value


def _add_main_stream(
    model: StableMTLModel,
    main_state: Mapping[str, Tensor],
    task_attention_config: Mapping[str, Any] | TaskAttentionConfig | None,
) -> None:
    config = task_attention_config or TaskAttentionConfig()
    if not isinstance(config, TaskAttentionConfig):
        config = TaskAttentionConfig.from_dict(config)
    if config.shared_projections:
        raise ValueError(
            "the published layout has projections for each task; shared_projections cannot be converted."
        )
    model.add_main_stream(config)
    assert model.main is not None, "just added"
    ours = {f"main.{key}": key for key in model.main.state_dict()}
    blocks = self_attention_blocks(model.main)
    attentions = cast(Iterable[TaskAttention], model.task_attention_blocks)
    for i, (block, attention) in enumerate(zip(model.attending_blocks, attentions, strict=True)):
        for key, published in _published_names(attention).items():
            ours[f"task_attention_blocks.{i}.{key}"] = f"{blocks[block].name}.{published}"
    parts = nn.ModuleDict({"main": model.main, "task_attention_blocks": model.task_attention_blocks})
    _load("main_state", parts, ours, main_state)


def _published_names(attention: TaskAttention) -> dict[str, str]:
    """Our key of one block's task attention -> the published one, below ``attn1``."""
    names = {f"out.{kind}": f"to_out_task.{kind}" for kind in ("weight", "bias")}
    for role, projections in (("q", attention.query), ("k", attention.key), ("v", attention.value)):
        ours = {"q": "query", "k": "key", "v": "value"}[role]
        for task, mlp in projections.items():
            for key, _ in mlp.named_parameters():
                index, kind = key.split(".")
                if index == "0":  # the layer norm
                    published = f"task_norm_{role}.{task}.{kind}"
                elif role == "q":
                    published = f"task_to_q.{task}.net.{int(index) - 1}.{kind}"
                else:
                    published = f"task_to_{role}.{task}.fc{(int(index) + 1) // 2}.{kind}"
                names[f"{ours}.{task}.{key}"] = published
    return names


def _load(argument: str, module: nn.Module, names: Mapping[str, str], state: Mapping[str, Tensor]) -> None:
    """Loads ``state`` into ``module``, whose keys are those of ``names``, in float32.

    Args:
        argument: how errors call ``state``.
        module: the module to fill.
        names: key of the module -> key of ``state``.
        state: the published tensors.
    """
    shapes = {names[key]: value.shape for key, value in module.state_dict().items()}
    problems = [f"missing {key}" for key in shapes if key not in state]
    problems += [f"unexpected {key}" for key in state if key not in shapes]
    problems += [
        f"{key} must be {tuple(shape)}, got {tuple(state[key].shape)}"
        for key, shape in shapes.items()
        if key in state and state[key].shape != shape
    ]
    if problems:
        raise ValueError(
            f"{argument} does not fit the configs given ({len(problems)} differences):\n  "
            + "\n  ".join(problems)
        )
    module.load_state_dict({key: state[published].to(torch.float32) for key, published in names.items()})
