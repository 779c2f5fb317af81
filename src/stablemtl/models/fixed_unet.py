"""A UNet whose timestep and task tokens are constants: several tasks in one pass, nothing computed twice.

It drives the modules of a stock ``diffusers.UNet2DConditionModel`` in the order of its ``forward`` and gives
the same numbers up to rounding, for less:

- Nothing depends on the task before the first cross-attention: tasks that see the same frames share it.
- The timestep ends as a bias of each residual block's first convolution. The tokens end as keys and values;
  they are so few that keys times query weights, and values times output weights, are smaller than the weights
  and take their place. All of it is computed once.
- A pass that only collects features ends at the last block asked for.

There is no gradient here: constants are cut off from the weights they come from.

Letters: M tasks of a pass, U distinct inputs among them, K all tasks, B images, N tokens of a block, C its
channels, H heads, D channels of a head, L text tokens, E width of a text token.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn

from stablemtl.models.task_attention import Stream
from stablemtl.models.unet_steps import Step, cross_projections, unet_steps


class FixedUNet:
    """What a UNet makes of its constants, and the pass that uses it. A snapshot: :meth:`of` renews it.

    Args:
        unet: the UNet. Its modules are used as they are, only the constants are copies.
        steps: what :func:`stablemtl.models.unet_steps.unet_steps` says of it.
        timestep: the constant timestep.
        tokens: tokens of all tasks, zero-padded, shape (K, L, E).
        token_mask: True at the tokens that are no padding, shape (K, L), bool.
    """

    def __init__(
        self,
        unet: UNet2DConditionModel,
        steps: Sequence[Step],
        timestep: int,
        tokens: Tensor,
        token_mask: Tensor,
    ) -> None:
        self._seen = _Seen(_sources(unet, steps, tokens))
        self.steps: list[tuple[Step, Any]] = []
        blocks = 0
        weight = unet.time_embedding.linear_1.weight
        with torch.no_grad(), _no_autocast(weight.device.type):
            wide = _wide(weight.device)
            embedding = copy.deepcopy(unet.time_embedding).to(wide)
            time = unet.time_proj(torch.tensor([timestep], device=weight.device)).to(wide)
            time = embedding(time)[0]  # (width,)
            tokens, token_mask = tokens.to(weight.device), token_mask.to(weight.device)
            for step in steps:
                constants: Any = None
                if step.kind == "residual":
                    bias, layer = step.module.conv1.bias, step.module.time_emb_proj
                    shift = _matrix(layer).to(wide) @ step.module.nonlinearity(time) + layer.bias
                    constants = (bias + shift).to(bias.dtype)
                elif step.kind == "transformer":
                    constants = []
                    for block in step.module.transformer_blocks:
                        constants.append((blocks, CrossAttention.of(block.attn2, tokens, token_mask)))
                        blocks += 1
                self.steps.append((step, constants))

    @classmethod
    def of(
        cls,
        unet: UNet2DConditionModel,
        timestep: int,
        tokens: Tensor,
        token_mask: Tensor,
        earlier: FixedUNet | None = None,
    ) -> FixedUNet | None:
        """``earlier``, if all it was made from is as it was; else a new one.

        Returns:
            None for a UNet with parts or hooks that only its own ``forward`` serves.
        """
        steps = unet_steps(unet)
        if steps is None:
            return None
        if earlier is not None and earlier._seen.unchanged(_sources(unet, steps, tokens)):
            return earlier
        return cls(unet, steps, timestep, tokens, token_mask)

    def __call__(
        self,
        inputs: Sequence[Tensor],
        source: Sequence[int],
        rows: Sequence[int],
        stream: Stream | None = None,
        stop_after: int | None = None,
    ) -> Tensor | None:
        """One pass.

        Args:
            inputs: the U distinct inputs, each (B, in_channels, h, w), in the order in which tasks meet them.
            source: for each of the M tasks, which of the inputs it sees.
            rows: for each of the M tasks, its row in the tokens.
            stream: sees every self-attention output, as in the UNet's own forward.
            stop_after: index of the self-attention block after which nothing is needed any more.
        Returns:
            Prediction (M*B, out_channels, h, w), task-major; None after an early stop.
        """
        run = _Run(source, rows, len(inputs[0]), stream, stop_after)
        x = torch.cat(list(inputs))
        kept: list[Tensor] = []
        for step, constants in self.steps:
            match step.kind:
                case "residual":
                    x = _residual(step.module, constants, x)
                case "transformer":
                    out = _transformer(step.module, constants, x, run)
                    if out is None:
                        return None
                    x = out
                case "keep":
                    kept.append(x)
                case "join":
                    x = torch.cat([x, run.spread(kept.pop())], dim=1)
                case "upsample":
                    x = step.module(x, kept[-1].shape[-2:])
                case _:
                    x = step.module(x)
        return run.spread(x)


@dataclass(frozen=True)
class _Run:
    """What is the same all along one pass."""

    source: Sequence[int]
    rows: Sequence[int]
    batch: int
    stream: Stream | None
    stop_after: int | None

    def spread(self, x: Tensor) -> Tensor:
        """One entry per task, task-major, from one per distinct input; others go through as they are."""
        if len(x) == len(self.source) * self.batch:
            return x
        parts = x.split(self.batch)
        return torch.cat([parts[i] for i in self.source])


def _residual(module: Any, bias: Tensor, x: Tensor) -> Tensor:
    """``ResnetBlock2D`` with the timestep in the bias of its first convolution."""
    conv = module.conv1
    hidden = module.nonlinearity(module.norm1(x))
    hidden = F.conv2d(hidden, conv.weight, bias, conv.stride, conv.padding, conv.dilation, conv.groups)
    hidden = module.conv2(module.nonlinearity(module.norm2(hidden)))
    if module.conv_shortcut is not None:
        x = module.conv_shortcut(x)
    hidden = x + hidden
    return hidden if module.output_scale_factor == 1 else hidden / module.output_scale_factor


def _transformer(module: Any, constants: Any, x: Tensor, run: _Run) -> Tensor | None:
    """``Transformer2DModel`` for the tasks of ``run``; None if the pass stops inside it."""
    residual = x
    x = module.norm(x)
    if not module.use_linear_projection:
        x = module.proj_in(x)
    x = x.permute(0, 2, 3, 1).flatten(1, 2)  # (M*B or U*B, N, C)
    if module.use_linear_projection:
        x = module.proj_in(x)
    for block, (index, cross_attention) in zip(module.transformer_blocks, constants, strict=True):
        attended = run.spread(block.attn1(block.norm1(x)))  # from here on one entry per task
        if run.stream is not None:
            attended = run.stream.visit(index, attended)
        if index == run.stop_after:
            return None
        x = run.spread(x) + attended
        x = x + cross_attention(block.norm2(x), run.rows)
        x = x + block.ff(block.norm3(x))
    if module.use_linear_projection:
        x = module.proj_out(x)
    x = x.unflatten(1, residual.shape[-2:]).permute(0, 3, 1, 2)
    if not module.use_linear_projection:
        x = module.proj_out(x)
    return run.spread(residual) + x


@dataclass(frozen=True)
class CrossAttention:
    """Cross-attention to the constant tokens of each task, projections multiplied out.

    A head's logits are (x W_q) . k = x . (W_q k); its share of the output is p (v W_o).
    """

    heads: int
    queries: Tensor
    """Query weights times keys, times the softmax's scale, (K, C, H*L)."""
    offsets: Tensor
    """Added to the logits: minus infinity at padding, and the query bias's part, (K, 1, H*L)."""
    values: Tensor
    """Values times output weights, (K, H*L, C)."""
    bias: Tensor
    """Of the output projection, (C,)."""

    @classmethod
    def of(cls, attention: Attention, tokens: Tensor, token_mask: Tensor) -> CrossAttention:
        """From a stock attention; tokens (K, L, E), mask (K, L)."""
        to_q, to_k, to_v, to_out = cross_projections(attention)
        dtype, wide = to_q.weight.dtype, _wide(to_q.weight.device)
        q, k, v, o = (_matrix(layer).to(wide).T for layer in (to_q, to_k, to_v, to_out))  # (in, out)
        k, v = ((tokens.to(wide) @ w).unflatten(-1, (attention.heads, -1)) for w in (k, v))  # (K, L, H, D)
        for layer, projected in ((to_k, k), (to_v, v)):
            if layer.bias is not None:
                projected += layer.bias.to(wide).unflatten(0, (attention.heads, -1))
        k = k * k.shape[-1] ** -0.5
        queries = torch.einsum("chd,klhd->kchl", q.unflatten(1, (attention.heads, -1)), k).flatten(2)
        values = torch.einsum("klhd,hdc->khlc", v, o.unflatten(0, (attention.heads, -1))).flatten(1, 2)
        offsets = torch.zeros_like(queries[:, :1])
        if to_q.bias is not None:
            bias = to_q.bias.to(wide).unflatten(0, (attention.heads, -1))
            offsets = torch.einsum("hd,klhd->khl", bias, k).flatten(1)[:, None]
        offsets = offsets.masked_fill(~token_mask.repeat(1, attention.heads)[:, None], -torch.inf)
        out_bias = o.new_zeros(o.shape[1]) if to_out.bias is None else to_out.bias
        return cls(attention.heads, *(x.to(dtype).contiguous() for x in (queries, offsets, values, out_bias)))

    def __call__(self, x: Tensor, rows: Sequence[int]) -> Tensor:
        """Output (M*B, N, C) for queries from ``x`` (M*B, N, C), task-major; ``rows``: each task's tokens."""
        flat = x.reshape(len(rows), -1, x.shape[-1])  # (M, B*N, C)
        logits = torch.baddbmm(_pick(self.offsets, rows), flat, _pick(self.queries, rows))
        weights = logits.unflatten(-1, (self.heads, -1)).softmax(-1).flatten(-2)  # (M, B*N, H*L)
        return torch.baddbmm(self.bias, weights, _pick(self.values, rows)).view(x.shape)


def _wide(device: torch.device) -> torch.dtype:
    """In which type to compute: rounded once, at the end, constants do not depend on the order of sums."""
    return torch.float32 if device.type == "mps" else torch.float64  # there is no float64 on mps


def _matrix(layer: nn.Linear) -> Tensor:
    """Weight (out, in) of a linear layer, also of one that stores it in another form (quantised)."""
    if type(layer.weight) in (Tensor, nn.Parameter):
        return layer.weight
    unit = torch.eye(layer.in_features, dtype=layer.weight.dtype, device=layer.weight.device)
    return (layer(unit) - layer(torch.zeros_like(unit[:1]))).T


def _no_autocast(device_type: str) -> AbstractContextManager[None]:
    if torch.amp.is_autocast_available(device_type):
        return torch.autocast(device_type, enabled=False)
    return nullcontext()


def _pick(x: Tensor, rows: Sequence[int]) -> Tensor:
    """``x[rows]``, without a copy where the rows follow one another."""
    if list(rows) == list(range(rows[0], rows[0] + len(rows))):
        return x[rows[0] : rows[0] + len(rows)]
    return torch.stack([x[row] for row in rows])


def _sources(unet: UNet2DConditionModel, steps: Iterable[Step], tokens: Tensor) -> Iterator[Tensor]:
    """Every tensor that the constants are made from."""
    yield tokens
    yield from unet.time_embedding.parameters()
    for step in steps:
        if step.kind == "residual":
            yield step.module.conv1.bias
            yield from step.module.time_emb_proj.parameters()
        elif step.kind == "transformer":
            for block in step.module.transformer_blocks:
                for layer in cross_projections(block.attn2):
                    yield layer.weight
                    if layer.bias is not None:
                        yield layer.bias


class _Seen:
    """Tensors at a time, to tell later whether one was replaced, moved, converted or written to.

    It holds an alias of each: an address in use is not given away again.
    """

    def __init__(self, tensors: Iterable[Tensor]) -> None:
        self._tensors = list(tensors)
        self._aliases = [x.detach() for x in self._tensors]
        self._stamps = [_stamp(x) for x in self._tensors]

    def unchanged(self, tensors: Iterable[Tensor]) -> bool:
        now = list(tensors)
        return (
            len(now) == len(self._tensors)
            and all(x is before for x, before in zip(now, self._tensors, strict=True))
            and [_stamp(x) for x in now] == self._stamps
        )


def _stamp(x: Tensor) -> tuple[int, int]:
    """Address, and how often ``x`` was written to (not counted for tensors made in inference mode)."""
    address = x.data_ptr() if type(x) in (Tensor, nn.Parameter) else 0  # others may have none
    return address, 0 if x.is_inference() else x._version
