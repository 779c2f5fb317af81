"""Task attention: at every token, the main stream of one task attends to the auxiliary streams of the others.

Source: StableMTL (arXiv 2506.08013), section 3.2, with the sizes of the released model. For main task T, a
block of the main UNet computes

    q = MLP_q[T](LN(S)),  k_t = MLP_k[t](LN(F_t)),  v_t = MLP_v[t](LN(F_t))  for the auxiliary tasks t != T
    S <- S + W_out sum_t softmax_t(q . k_t / sqrt(D)) v_t

where S is the block's own self-attention output and F_t that of the auxiliary UNet for task t at the same
block. The softmax runs over tasks, separately at each token and head: tokens do not mix.

Letters: B images, M main tasks, A auxiliary tasks, N tokens of a block (row-major), C channels of a block,
H heads, D = C / H.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from torch import Tensor, nn

from stablemtl.models.task_attention_config import TaskAttentionConfig


@dataclass(frozen=True)
class AttentionBlock:
    """One self-attention of a UNet."""

    name: str
    """Path of the module in the UNet."""
    attention: Attention
    """The module."""
    level: int
    """UNet level; 0 has the latent's own resolution."""

    @property
    def width(self) -> int:
        """Channels C of the block."""
        return int(self.attention.out_dim)


def self_attention_blocks(unet: UNet2DConditionModel) -> list[AttentionBlock]:
    """Every transformer block's ``attn1`` in execution order (down, middle, up). There may be none."""
    levels = len(unet.down_blocks)
    stages = [(f"down_blocks.{i}", block, i) for i, block in enumerate(unet.down_blocks)]
    if unet.mid_block is not None:
        stages.append(("mid_block", unet.mid_block, levels - 1))
    stages += [(f"up_blocks.{i}", block, levels - 1 - i) for i, block in enumerate(unet.up_blocks)]
    return [
        AttentionBlock(name=f"{prefix}.{name}.attn1", attention=module.attn1, level=level)
        for prefix, stage, level in stages
        for name, module in stage.named_modules()
        if isinstance(module, BasicTransformerBlock)
    ]


def selected_blocks(config: TaskAttentionConfig, blocks: Sequence[AttentionBlock]) -> list[int]:
    """Indices of ``blocks`` that attend under ``config.blocks``, ascending.

    Raises:
        ValueError: the UNet has no such block, or one whose width the heads do not divide.
    """
    if config.blocks == "all":
        chosen = list(range(len(blocks)))
    elif config.blocks == "decoder":
        chosen = [i for i, block in enumerate(blocks) if block.name.startswith("up_blocks")]
    else:
        chosen = sorted(int(i) for i in config.blocks)
    if not chosen or chosen[-1] >= len(blocks):
        raise ValueError(
            f"task_attention blocks={config.blocks!r} does not fit this UNet, "
            f"which has {len(blocks)} self-attention blocks."
        )
    if uneven := [blocks[i].width for i in chosen if blocks[i].width % config.heads]:
        raise ValueError(
            f"task_attention heads must divide the width of every block, "
            f"got heads={config.heads} for width {uneven[0]}."
        )
    return chosen


def _mlp(width: int, hidden: int, hidden_layers: int) -> nn.Sequential:
    """LayerNorm, then Linear layers width -> hidden (-> hidden ...) -> width with exact GELU between them."""
    layers = [nn.LayerNorm(width), nn.Linear(width, hidden), nn.GELU()]
    for _ in range(hidden_layers):
        layers += [nn.Linear(hidden, hidden), nn.GELU()]
    return nn.Sequential(*layers, nn.Linear(hidden, width))


class TaskAttention(nn.Module):
    """Task attention of one block: MLPs per task, and one output projection that starts at zero.

    Args:
        width: channels C of the block.
        tasks: all tasks of the model; each gets its own projections unless ``config.shared_projections``.
        config: sizes and masking.
    """

    def __init__(self, width: int, tasks: Sequence[str], config: TaskAttentionConfig) -> None:
        super().__init__()
        self.config = config
        names = ["shared"] if config.shared_projections else list(tasks)
        hidden = width // 2 if isinstance(config.key_value_hidden, str) else config.key_value_hidden
        query = (config.query_hidden_dim, config.query_hidden_layers)
        self.query = nn.ModuleDict({name: _mlp(width, *query) for name in names})
        self.key = nn.ModuleDict({name: _mlp(width, hidden, 0) for name in names})
        self.value = nn.ModuleDict({name: _mlp(width, hidden, 0) for name in names})
        self.out = nn.Linear(width, width)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def keys_values(self, features: Tensor, tasks: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Keys and values (A, B, N, C) of the features (A, B, N, C) of the auxiliary ``tasks``."""
        return self._project(self.key, features, tasks), self._project(self.value, features, tasks)

    def forward(
        self,
        hidden: Tensor,
        keys: Tensor,
        values: Tensor,
        tasks: Sequence[str],
        own: Tensor,
        masked: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """The term that task attention adds to the self-attention output.

        Args:
            hidden: self-attention output of the main stream, shape (M*B, N, C), task-major.
            keys: keys of the auxiliary tasks, shape (A, B, N, C).
            values: values of the auxiliary tasks, shape (A, B, N, C).
            tasks: the M main tasks.
            own: True where the auxiliary task is the main task, to hide it from itself, shape (M, A), bool.
            masked: a mask drawn earlier, to be used again (recomputation under gradient checkpointing).
            generator: source of the masking's random numbers; used in training mode only.
        Returns:
            The term (M*B, N, C); the attention weights (B, N, H, M, A) that were used; the mask that was
            used, or None.
        """
        q, k, v = (
            x.unflatten(-1, (self.config.heads, -1))
            for x in (self._project(self.query, hidden.unflatten(0, (len(tasks), -1)), tasks), keys, values)
        )
        logits = torch.einsum("mbnhd,abnhd->bnhma", q * q.shape[-1] ** -0.5, k).masked_fill(own, -torch.inf)
        weights = logits.softmax(-1, dtype=torch.float32)
        if masked is None and self.training:
            masked = draw_mask(weights, own, self.config, generator)
        if masked is not None:
            if self.config.mask_granularity == "block":
                weights = logits.masked_fill(masked, -torch.inf).softmax(-1, dtype=torch.float32)
            else:
                weights = weights * ~masked
        mixed = torch.einsum("bnhma,abnhd->mbnhd", weights.to(v.dtype), v)
        return self.out(mixed.flatten(3).flatten(0, 1)), weights, masked

    def _project(self, projections: nn.ModuleDict, x: Tensor, tasks: Sequence[str]) -> Tensor:
        """Each task's projection on its slice of ``x`` (tasks, B, N, C)."""
        if self.config.shared_projections:
            return projections["shared"](x)
        return torch.stack([projections[task](x[i]) for i, task in enumerate(tasks)])


@torch.no_grad()
def draw_mask(
    weights: Tensor, own: Tensor, config: TaskAttentionConfig, generator: torch.Generator | None = None
) -> Tensor | None:
    """Which auxiliary tasks to hide in this pass (section 3.2 of the paper, "attention-guided task masking").

    Draws are independent for each main task (``block``), or for each main task and token (``location``);
    heads share them. One auxiliary task at least stays visible. Drawing k tasks without replacement is taking
    the k largest of log-probability plus Gumbel noise, which keeps the probabilities on their device.

    Args:
        weights: attention weights before masking, shape (B, N, H, M, A).
        own: True where the auxiliary task is the main task, shape (M, A), bool.
        config: strategy, probability and granularity.
        generator: source of the random numbers, on any device; None takes torch's own.
    Returns:
        True where the task is hidden, shape (M, A), or (B, N, 1, M, A) per location; None if nothing ever is.
    """
    if config.mask_probability == 0:
        return None
    averaged = (0, 1, 2) if config.mask_granularity == "block" else (2,)
    probability = weights.mean(averaged, keepdim=True)  # (1, 1, 1, M, A) or (B, N, 1, M, A)
    device = weights.device if generator is None else generator.device

    def uniform(like: Tensor) -> Tensor:
        return torch.rand(like.shape, generator=generator, device=device).to(weights.device)

    tiny = torch.finfo(torch.float32).tiny
    happens = uniform(probability[..., :1]) < config.mask_probability
    rating = probability.clamp_min(tiny).log()
    if config.masking == "uniform":
        rating = torch.zeros_like(rating)
    if config.masking != "highest":
        rating = rating - uniform(rating).clamp_min(tiny).log().neg().clamp_min(tiny).log()  # Gumbel noise
    rank = rating.masked_fill(own, -torch.inf).argsort(-1, descending=True).argsort(-1)
    spare = (~own).sum(-1, keepdim=True) - 1  # (M, 1): how many may be hidden
    count = torch.ones_like(spare)
    if config.masking == "random_k":
        count = 1 + (uniform(happens) * spare).long()
    hidden = (rank < count.minimum(spare)) & happens
    return hidden[0, 0, 0] if config.mask_granularity == "block" else hidden


class Stream(Protocol):
    """What runs along one pass of a UNet. It lives as long as the call: nothing stays in the modules."""

    def visit(self, block: int, hidden: Tensor) -> Tensor:
        """Sees the self-attention output (batch, N, C) of a block; returns what the block goes on with."""
        ...


class StreamProcessor(AttnProcessor2_0):
    """Stock attention that shows its output to the pass's :class:`Stream`, if it has one.

    The stream comes with the call (``cross_attention_kwargs={"task_stream": ...}``), not from the processor:
    two calls cannot meet.

    Args:
        block: index of a self-attention block; None for a cross-attention, whose output streams do not see.
    """

    def __init__(self, block: int | None) -> None:
        super().__init__()
        self.block = block

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        task_stream: Stream | None = None,
    ) -> Tensor:
        hidden_states = super().__call__(attn, hidden_states, encoder_hidden_states, attention_mask, temb)
        if task_stream is None or self.block is None:
            return hidden_states
        return task_stream.visit(self.block, hidden_states)


def install_processors(unet: UNet2DConditionModel) -> None:
    """Gives every attention of ``unet`` a :class:`StreamProcessor`. Outputs do not change."""
    for block, found in enumerate(self_attention_blocks(unet)):
        found.attention.set_processor(StreamProcessor(block))
    for module in unet.modules():
        if isinstance(module, BasicTransformerBlock) and module.attn2 is not None:
            module.attn2.set_processor(StreamProcessor(None))


class FeatureStream:
    """Keeps the self-attention outputs of the auxiliary passes.

    Args:
        blocks: indices of the blocks to keep.
    """

    def __init__(self, blocks: Collection[int]) -> None:
        self._pieces: dict[int, list[Tensor]] = {block: [] for block in blocks}

    def visit(self, block: int, hidden: Tensor) -> Tensor:
        if block in self._pieces:
            self._pieces[block].append(hidden)
        return hidden

    def features(self, count: int) -> dict[int, Tensor]:
        """Hands over the features of all passes so far, of ``count`` tasks: block -> (count, B, N, C)."""
        if missing := [block for block, pieces in self._pieces.items() if not pieces]:
            raise RuntimeError(
                f"no auxiliary features of blocks {missing}: the UNet's attention processors were replaced. "
                "Call stablemtl.models.task_attention.install_processors(unet) to put them back."
            )
        return {
            block: _joined(self._pieces.pop(block)).unflatten(0, (count, -1)) for block in list(self._pieces)
        }


def _joined(pieces: list[Tensor]) -> Tensor:
    return pieces[0] if len(pieces) == 1 else torch.cat(pieces)


class AuxiliaryFeatures:
    """The auxiliary streams as the main stream reads them: by block, with keys and values computed once.

    Args:
        tasks: the A auxiliary tasks.
        features: block index -> (A, B, N, C).
        differentiable: a backward pass follows. Keys and values are then part of each main pass's own graph
            and are not kept.
    """

    def __init__(self, tasks: Sequence[str], features: dict[int, Tensor], differentiable: bool) -> None:
        self.tasks = tuple(tasks)
        self._features = features
        self._kept: dict[int, tuple[Tensor, Tensor]] = {}
        self._differentiable = differentiable

    def keys_values(self, block: int, attention: TaskAttention, last: bool) -> tuple[Tensor, Tensor]:
        """Keys and values (A, B, N, C) of a block; after ``last``, no later pass asks for them again."""
        if block in self._kept:
            return self._kept.pop(block) if last else self._kept[block]
        keys_values = attention.keys_values(self._features[block], self.tasks)
        if not self._differentiable:
            del self._features[block]
            if not last:
                self._kept[block] = keys_values
        return keys_values


class MainStream:
    """Adds the task term to the self-attention outputs of one pass of the main UNet.

    Args:
        tasks: the M main tasks of the pass.
        auxiliary: the features of the auxiliary streams.
        attention: block index -> task attention of that block.
        device: where the pass runs.
        last: no later pass uses ``auxiliary``.
        generator: source of the masking's random numbers.
        keep_weights: keep the attention weights of each block in ``weights``, averaged over heads.

    Attributes:
        weights: block index -> (B, N, M, A).
    """

    def __init__(
        self,
        tasks: Sequence[str],
        auxiliary: AuxiliaryFeatures,
        attention: Mapping[int, TaskAttention],
        *,
        device: torch.device | str = "cpu",
        last: bool = True,
        generator: torch.Generator | None = None,
        keep_weights: bool = False,
    ) -> None:
        self.tasks = tuple(tasks)
        self.auxiliary_tasks = auxiliary.tasks
        self.weights: dict[int, Tensor] = {}
        self._auxiliary = auxiliary
        self._attention = attention
        self._last = last
        self._generator = generator
        self._keep_weights = keep_weights
        self._own = torch.tensor(
            [[main == other for other in auxiliary.tasks] for main in tasks], device=device
        )
        self._masks: dict[int, Tensor] = {}  # drawn once: gradient checkpointing visits a block twice

    def visit(self, block: int, hidden: Tensor) -> Tensor:
        if block not in self._attention:
            return hidden
        attention = self._attention[block]
        keys, values = self._auxiliary.keys_values(block, attention, self._last)
        term, weights, mask = attention(
            hidden,
            keys,
            values,
            self.tasks,
            self._own,
            masked=self._masks.get(block),
            generator=self._generator,
        )
        if mask is not None:
            self._masks[block] = mask
        if self._keep_weights:
            self.weights[block] = weights.detach().mean(2)
        return hidden + term
