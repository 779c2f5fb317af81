"""Parts of the networks in a form that exporters take: plain operations, with sizes and tasks open.

:mod:`stablemtl.models.fixed_unet` chooses a task's constants by Python lists and decides by sizes; a graph
must do both with tensors. Here a pass has rows, each one task of one image, and a row's task is an index into
constants of all tasks. Numbers are the same up to rounding.

Letters: U distinct inputs, R rows of a pass, S rows of the auxiliary passes, K all tasks, N tokens of a
block, C its channels, H heads, D channels of a head, L text tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from diffusers.models.upsampling import Upsample2D
from torch import Tensor, nn

from stablemtl.models.fixed_unet import CrossAttention, FixedUNet
from stablemtl.models.task_attention import TaskAttention

Visit = Callable[[int, Tensor], Tensor]
"""Sees the self-attention output (R, N, C) of a block, returns what the block goes on with."""


class UNetPass(nn.Module):
    """One pass of a UNet whose tokens and timestep are constants, for tasks named by index.

    Args:
        fixed: the UNet with its constants.
    """

    def __init__(self, fixed: FixedUNet) -> None:
        super().__init__()
        self.kinds: list[str] = []
        self.layers = nn.ModuleList()
        for step, constants in fixed.steps:
            layer: nn.Module = nn.Identity()
            if step.kind == "residual":
                layer = _Residual(step.module, constants)
            elif step.kind == "transformer":
                layer = _Transformer(step.module, constants)
            elif step.kind == "upsample":
                layer = PlainUpsample(step.module)
            elif step.kind == "layer":
                layer = step.module
            self.kinds.append(step.kind)
            self.layers.append(layer)

    def forward(
        self,
        inputs: Tensor,
        source: Tensor,
        tasks: Tensor,
        visit: Visit | None = None,
        stop_after: int | None = None,
    ) -> Tensor | None:
        """Prediction (R, out_channels, h, w); None if the pass ends at the block ``stop_after``.

        Args:
            inputs: distinct inputs, shape (U, in_channels, h, w).
            source: which of the inputs each row sees, shape (R,), integers.
            tasks: each row's task, shape (R,), integers.
            visit: sees every self-attention output.
            stop_after: index of the last self-attention block needed.
        """

        def spread(x: Tensor) -> Tensor:
            return x.index_select(0, source)

        x, shared = inputs, True  # one entry per input up to the first transformer, one per row after it
        kept: list[tuple[Tensor, bool]] = []
        for kind, layer in zip(self.kinds, self.layers, strict=True):
            if kind == "keep":
                kept.append((x, shared))
            elif kind == "join":
                earlier, was_shared = kept.pop()
                x = torch.cat([x, spread(earlier) if was_shared and not shared else earlier], dim=1)
            elif kind == "upsample":
                x = layer(x, kept[-1][0].shape[-2:])
            elif kind == "transformer":
                out = layer(x, spread if shared else None, tasks, visit, stop_after)
                if out is None:
                    return None
                x, shared = out, False
            else:
                x = layer(x)
        return spread(x) if shared else x


class _Residual(nn.Module):
    """``ResnetBlock2D`` with the timestep in the bias of its first convolution."""

    bias: Tensor

    def __init__(self, module: Any, bias: Tensor) -> None:
        super().__init__()
        self.block = module
        self.register_buffer("bias", bias)

    def forward(self, x: Tensor) -> Tensor:
        block, conv = self.block, self.block.conv1
        hidden = block.nonlinearity(block.norm1(x))
        hidden = F.conv2d(
            hidden, conv.weight, self.bias, conv.stride, conv.padding, conv.dilation, conv.groups
        )
        hidden = block.conv2(block.nonlinearity(block.norm2(hidden)))
        if block.conv_shortcut is not None:
            x = block.conv_shortcut(x)
        return (x + hidden) / block.output_scale_factor


class _Transformer(nn.Module):
    """``Transformer2DModel``; the first one of a pass spreads what it gets over the rows."""

    def __init__(self, module: Any, constants: Sequence[tuple[int, CrossAttention]]) -> None:
        super().__init__()
        self.module = module
        self.indices = [index for index, _ in constants]
        self.cross = nn.ModuleList(_CrossAttention(one) for _, one in constants)

    def forward(
        self,
        x: Tensor,
        spread: Callable[[Tensor], Tensor] | None,
        tasks: Tensor,
        visit: Visit | None,
        stop_after: int | None,
    ) -> Tensor | None:
        module = self.module
        residual = x if spread is None else spread(x)
        x = module.norm(x)
        if not module.use_linear_projection:
            x = module.proj_in(x)
        x = x.permute(0, 2, 3, 1).flatten(1, 2)  # (U or R, N, C)
        if module.use_linear_projection:
            x = module.proj_in(x)
        for index, block, cross in zip(self.indices, module.transformer_blocks, self.cross, strict=True):
            attended = block.attn1(block.norm1(x))
            if spread is not None:
                attended, x, spread = spread(attended), spread(x), None
            if visit is not None:
                attended = visit(index, attended)
            if index == stop_after:
                return None
            x = x + attended
            x = x + cross(block.norm2(x), tasks)
            x = x + block.ff(block.norm3(x))
        if module.use_linear_projection:
            x = module.proj_out(x)
        x = x.unflatten(1, residual.shape[-2:]).permute(0, 3, 1, 2)
        if not module.use_linear_projection:
            x = module.proj_out(x)
        return residual + x


class _CrossAttention(nn.Module):
    """Cross-attention to the constant tokens of each row's task, shape (R, N, C) in and out."""

    queries: Tensor
    offsets: Tensor
    values: Tensor
    bias: Tensor

    def __init__(self, constants: CrossAttention) -> None:
        super().__init__()
        self.heads = constants.heads
        for name in ("queries", "offsets", "values", "bias"):
            self.register_buffer(name, getattr(constants, name))

    def forward(self, x: Tensor, tasks: Tensor) -> Tensor:
        logits = torch.matmul(x, self.queries.index_select(0, tasks)) + self.offsets.index_select(0, tasks)
        weights = logits.unflatten(-1, (self.heads, -1)).softmax(-1).flatten(-2)  # (R, N, H*L)
        return torch.matmul(weights, self.values.index_select(0, tasks)) + self.bias


class TaskMLP(nn.Module):
    """The query, key or value MLPs of all tasks in one; each row goes through that of its task.

    Args:
        mlps: one ``LayerNorm, Linear, GELU, Linear, ...`` for each task, of equal sizes; or one for all.
    """

    def __init__(self, mlps: Sequence[nn.Sequential]) -> None:
        super().__init__()
        self.shared = len(mlps) == 1
        norms = [cast(nn.LayerNorm, mlp[0]) for mlp in mlps]
        self.eps = norms[0].eps
        stacks = [(torch.stack([one.weight for one in norms]), torch.stack([one.bias for one in norms]))]
        self.layers = sum(isinstance(layer, nn.Linear) for layer in mlps[0])
        for layers in zip(*([x for x in mlp if isinstance(x, nn.Linear)] for mlp in mlps), strict=True):
            weights = torch.stack([layer.weight.T for layer in layers])  # (K, in, out)
            stacks.append((weights, torch.stack([layer.bias for layer in layers])))
        for i, (weight, bias) in enumerate(stacks):
            weight = weight if i else weight[:, None]  # the norm's: (K, 1, C)
            self.register_buffer(f"weight_{i}", weight.detach().contiguous())
            self.register_buffer(f"bias_{i}", bias.detach()[:, None])  # (K, 1, out)

    def forward(self, x: Tensor, tasks: Tensor) -> Tensor:
        """(R, N, C) -> (R, N, C); ``tasks`` (R,) are indices."""
        x = F.layer_norm(x, x.shape[-1:], eps=self.eps)
        x = x * self._of("weight_0", tasks) + self._of("bias_0", tasks)
        for i in range(1, self.layers + 1):
            x = x if i == 1 else F.gelu(x)
            x = torch.matmul(x, self._of(f"weight_{i}", tasks)) + self._of(f"bias_{i}", tasks)
        return x

    def _of(self, name: str, tasks: Tensor) -> Tensor:
        constants: Tensor = getattr(self, name)
        return constants if self.shared else constants.index_select(0, tasks)


class KeysValues(nn.Module):
    """Keys and values that a block's task attention makes of auxiliary features."""

    def __init__(self, attention: TaskAttention, tasks: Sequence[str]) -> None:
        super().__init__()
        self.key = TaskMLP(_mlps(attention, attention.key, tasks))
        self.value = TaskMLP(_mlps(attention, attention.value, tasks))

    def forward(self, features: Tensor, tasks: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (S, N, C) of features (S, N, C); ``tasks`` (S,) are indices."""
        return self.key(features, tasks), self.value(features, tasks)


class TaskTerm(nn.Module):
    """The term that a block's task attention adds to the self-attention output."""

    def __init__(self, attention: TaskAttention, tasks: Sequence[str]) -> None:
        super().__init__()
        self.heads = attention.config.heads
        self.query = TaskMLP(_mlps(attention, attention.query, tasks))
        self.out = attention.out

    def forward(self, hidden: Tensor, keys: Tensor, values: Tensor, tasks: Tensor, offset: Tensor) -> Tensor:
        """(R, N, C) -> (R, N, C).

        Args:
            hidden: self-attention output of the main stream.
            keys, values: those of the auxiliary rows, shape (S, N, C).
            tasks: each row's task, shape (R,), integers.
            offset: added to the logits, shape (R, S): minus infinity where a row must not attend, else zero.
        """
        q = self.query(hidden, tasks).unflatten(-1, (self.heads, -1)).permute(1, 2, 0, 3)  # (N, H, R, D)
        k = keys.unflatten(-1, (self.heads, -1)).permute(1, 2, 3, 0)  # (N, H, D, S)
        v = values.unflatten(-1, (self.heads, -1)).permute(1, 2, 0, 3)  # (N, H, S, D)
        weights = (torch.matmul(q * q.shape[-1] ** -0.5, k) + offset).softmax(-1)  # (N, H, R, S)
        return self.out(torch.matmul(weights, v).permute(2, 0, 1, 3).flatten(2))


def _mlps(attention: TaskAttention, projections: nn.ModuleDict, tasks: Sequence[str]) -> list[Any]:
    return [projections[name] for name in (["shared"] if attention.config.shared_projections else tasks)]


class PlainUpsample(nn.Module):
    """diffusers' ``Upsample2D`` without its branches on the number of elements.

    Raises:
        ValueError: an upsampling that Stable Diffusion's networks do not have.
    """

    def __init__(self, module: Upsample2D) -> None:
        super().__init__()
        conv = getattr(module, "conv", None)
        if module.norm is not None or module.use_conv_transpose or not isinstance(conv, nn.Conv2d):
            raise ValueError("an upsampling with a norm, or without a convolution, cannot be exported.")
        self.conv = conv

    def forward(self, x: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        if output_size is None:
            return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        return self.conv(F.interpolate(x, size=output_size, mode="nearest"))
