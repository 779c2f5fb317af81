"""Sizes of the task attention, and how its training hides tasks. Light to import, as recipes need it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

Masking = Literal["attention", "uniform", "highest", "random_k"]
MaskGranularity = Literal["block", "location"]


@dataclass(frozen=True, kw_only=True)
class TaskAttentionConfig:
    """Sizes of the task attention, and the task masking of its training. The defaults are as released."""

    heads: int = 4
    """Attention heads; must divide the width of every block."""
    query_hidden_dim: int = 640
    """Hidden width of the query MLP, the same for every block."""
    query_hidden_layers: int = 2
    """Hidden-to-hidden layers of the query MLP, between its first and its last layer."""
    key_value_hidden: Literal["width//2"] | int = "width//2"
    """Hidden width of the key and the value MLP: a number, or half of the block's width."""
    shared_projections: bool = False
    """Ablation: one set of query, key and value projections for all tasks."""
    blocks: Literal["all", "decoder"] | tuple[int, ...] = "all"
    """Which self-attention blocks of the UNet attend, counted in execution order (down, middle, up)."""
    masking: Masking = "attention"
    """Which auxiliary task training hides: one drawn in proportion to its attention, one drawn uniformly, the
    one with the highest attention, or a random number of them drawn in proportion to their attention."""
    mask_probability: float = 0.4
    """Probability that a draw hides anything, in [0, 1]."""
    mask_granularity: MaskGranularity = "block"
    """``block``: one draw for a main task's whole batch in each block, the attention renormalised over the
    tasks left (as released). ``location``: one draw per token, the attention multiplied by the mask and not
    renormalised (as the paper writes it)."""

    def __post_init__(self) -> None:
        problems = [
            f"{name} must be an integer >= {least}, got {value!r}"
            for name, value, least in (
                ("heads", self.heads, 1),
                ("query_hidden_dim", self.query_hidden_dim, 1),
                ("query_hidden_layers", self.query_hidden_layers, 0),
            )
            if not isinstance(value, int) or value < least
        ]
        hidden = self.key_value_hidden
        if hidden != "width//2" and not (isinstance(hidden, int) and hidden >= 1):
            problems.append(f"key_value_hidden must be 'width//2' or an integer >= 1, got {hidden!r}")
        if self.masking not in get_args(Masking):
            problems.append(f"masking must be one of {', '.join(get_args(Masking))}, got {self.masking!r}")
        if self.mask_granularity not in get_args(MaskGranularity):
            problems.append(
                f"mask_granularity must be one of {', '.join(get_args(MaskGranularity))}, "
                f"got {self.mask_granularity!r}"
            )
        if not 0 <= self.mask_probability <= 1:
            problems.append(f"mask_probability must be in [0, 1], got {self.mask_probability!r}")
        if isinstance(self.blocks, str):
            if self.blocks not in ("all", "decoder"):
                problems.append(f"blocks must be 'all', 'decoder' or a tuple of indices, got {self.blocks!r}")
        elif not self.blocks or len(set(self.blocks)) != len(self.blocks) or min(self.blocks) < 0:
            problems.append(
                f"blocks must name each index once, from 0, and at least one; got {self.blocks!r}"
            )
        if problems:
            raise ValueError("TaskAttentionConfig: " + "; ".join(problems))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TaskAttentionConfig:
        """The config from a plain dict, as it is stored in a model's ``config.json``.

        Raises:
            ValueError: a key is no field of this class, or a value is out of range.
        """
        fields = {field.name for field in dataclasses.fields(cls)}
        if unknown := sorted(set(values) - fields):
            raise ValueError(
                f"unknown task_attention option {', '.join(unknown)}; "
                f"choose from {', '.join(sorted(fields))}."
            )
        blocks = values.get("blocks", "all")
        return cls(**{**values, "blocks": blocks if isinstance(blocks, str) else tuple(blocks)})

    def to_dict(self) -> dict[str, Any]:
        """Plain values for ``config.json``."""
        values = dataclasses.asdict(self)
        return {**values, "blocks": self.blocks if isinstance(self.blocks, str) else list(self.blocks)}


def nano_task_attention_config() -> TaskAttentionConfig:
    """Task attention of the nano model: the released one with narrower MLPs."""
    return TaskAttentionConfig(heads=4, query_hidden_dim=64, query_hidden_layers=1, key_value_hidden=32)
