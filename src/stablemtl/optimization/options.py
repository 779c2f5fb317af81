"""Optimizations: what is on, why, and in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import torch

Mode = Literal["exact", "fast"]
Int8 = Literal["off", "weights", "dynamic"]
CodecParts = Literal["both", "encoder", "decoder"]
CompiledSizes = Literal["each", "any"]

NETWORKS = ("auxiliary", "main", "task_attention")
"""Parts of the model whose linear layers int8 can take, by their names in the model."""


@dataclass(frozen=True, kw_only=True)
class Optimizations:
    """How a pipeline computes. The defaults are those of a pipeline as it was loaded."""

    mode: Literal["default", "exact", "fast"] = "default"
    """Who chose: ``exact`` and ``fast`` as in ``pipe.optimize``; ``default`` if nobody did."""
    device: str = "cpu"
    """Kind of device that it was chosen for."""
    dtype: torch.dtype = torch.float32
    """Number type of the networks and of the codec."""
    channels_last: bool = False
    """Weights and activations of the convolutions with channels as the fastest axis."""
    compile: bool = False
    """``torch.compile`` for networks and codec."""
    compile_buckets: int = 8
    """How many buckets are compiled at most; what fits in none of them runs uncompiled. A bucket is what one
    compiled graph serves: the same tasks and streams, the same number of frames and, with
    ``compile_sizes="each"``, one size."""
    compile_sizes: CompiledSizes = "each"
    """``each``: one graph for each processed size. ``any``: one for all sizes, which is a little slower."""
    int8: Int8 = "off"
    """``weights``: weights of linear layers as 8-bit integers, computed with in ``dtype``: less memory.
    ``dynamic``: their inputs too, quantised as they come, multiplied as integers."""
    int8_networks: tuple[str, ...] = NETWORKS
    """The parts of the model that ``int8`` concerns."""
    tiny_codec: str | None = None
    """Folder or hub id of the small autoencoder that stands in for the codec."""
    tiny_codec_parts: CodecParts = "both"
    """What it stands in for."""
    single_stream: bool = False
    """Calls take the auxiliary network's prediction, unless they say otherwise."""
    threads: int | None = None
    """CPU threads of the process; None leaves them."""
    reasons: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)
    """Field -> why it is as it is."""

    def __post_init__(self) -> None:
        problems = [
            f"{name} must be one of {', '.join(choices)}, got {value!r}"
            for name, value, choices in (
                ("mode", self.mode, ("default", "exact", "fast")),
                ("int8", self.int8, ("off", "weights", "dynamic")),
                ("tiny_codec_parts", self.tiny_codec_parts, ("both", "encoder", "decoder")),
                ("compile_sizes", self.compile_sizes, ("each", "any")),
            )
            if value not in choices
        ]
        for name in ("channels_last", "compile", "single_stream"):
            if not isinstance(value := getattr(self, name), bool):
                problems.append(f"{name} must be True or False, got {value!r}")
        for name, least_or_none in (("compile_buckets", False), ("threads", True)):
            value = getattr(self, name)
            if not (least_or_none and value is None) and (
                isinstance(value, bool) or not isinstance(value, int) or value < 1
            ):
                problems.append(f"{name} must be 1 or more, got {value!r}")
        if not isinstance(self.dtype, torch.dtype) or self.dtype not in DTYPES:
            problems.append(f"dtype must be one of {', '.join(map(str, DTYPES))}, got {self.dtype!r}")
        unknown = sorted(set(self.int8_networks) - set(NETWORKS))
        if isinstance(self.int8_networks, str) or unknown or not self.int8_networks:
            problems.append(
                f"int8_networks must name some of {', '.join(NETWORKS)}, got {self.int8_networks!r}"
            )
        if problems:
            raise ValueError("optimize: " + "; ".join(problems) + ".")

    @property
    def approximate(self) -> bool:
        """Whether something is on that changes results beyond the rounding of their number type."""
        return self.int8 != "off" or self.tiny_codec is not None or self.single_stream

    def to_dict(self) -> dict[str, Any]:
        """Plain values, without the reasons: for a file beside the results."""
        values = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "reasons"}
        values["dtype"] = str(self.dtype).removeprefix("torch.")
        values["int8_networks"] = list(self.int8_networks)
        return values

    def describe(self) -> str:
        """What is on and why, one line each, in columns."""
        rows = [(name.replace("_", " "), text, self.reasons.get(name, "")) for name, text in self._rows()]
        widths = [max(len(row[i]) for row in rows) for i in range(2)]
        lines = [f"optimizations: {self.mode}, for {self.device}"]
        for row in rows:
            lines.append(f"  {row[0]:<{widths[0]}}  {row[1]:<{widths[1]}}  {row[2]}".rstrip())
        if self.device != "cpu" and self.mode != "default":
            lines.append(f"Choices for {self.device} follow its documentation and were not measured.")
        return "\n".join(lines)

    def _rows(self) -> list[tuple[str, str]]:
        sizes = "one graph a size" if self.compile_sizes == "each" else "one graph for all sizes"
        codec = "off" if self.tiny_codec is None else f"{self.tiny_codec} ({self.tiny_codec_parts})"
        return [
            ("dtype", str(self.dtype).removeprefix("torch.")),
            ("channels_last", _on(self.channels_last)),
            ("compile", f"at most {self.compile_buckets} buckets, {sizes}" if self.compile else "off"),
            ("int8", self.int8 if self.int8 == "off" else f"{self.int8} of {', '.join(self.int8_networks)}"),
            ("tiny_codec", codec),
            ("single_stream", _on(self.single_stream)),
            ("threads", "as they are" if self.threads is None else str(self.threads)),
        ]


DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


def _on(value: bool) -> str:
    return "on" if value else "off"
