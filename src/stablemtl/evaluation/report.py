"""What an evaluation found: figures of each (dataset, task) pair, as JSON and as a table."""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stablemtl.writers import staged_file

if TYPE_CHECKING:
    from rich.table import Table

_LIBRARIES = ("torch", "diffusers", "numpy", "torchmetrics", "scikit-image")
_COLUMNS = ("dataset", "task", "figure", "n", "model", "constant", "ceiling", "gain", "not aligned")
Figures = Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Unreadable:
    """A sample that was left out."""

    index: int
    """Number of the sample in its dataset."""
    error: str
    """What the dataset's reader said."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """Figures of one (dataset, task) pair. The rows were computed by the same metric on the same samples."""

    dataset: str
    task: str
    headline: str
    """The figure that is compared."""
    higher_is_better: bool
    """Direction of the headline figure."""
    metric_options: Mapping[str, float]
    """Arguments of the metric."""
    n: int
    """Samples scored."""
    model: Figures
    """The model's figures."""
    constant: Figures
    """Figures of the best constant prediction."""
    constant_value: list[float]
    """That constant, one number for each channel, before alignment."""
    ceiling: Figures
    """Figures of the ground truth after the task's encoding and the latent codec, there and back."""
    unaligned: Mapping[str, Figures] = field(default_factory=dict)
    """``model`` and ``ceiling`` in their own unit, where the scale is known and the metric would align."""
    unlabelled: int = 0
    """Samples left out because no pixel is valid."""
    unreadable: tuple[Unreadable, ...] = ()
    """Samples left out because they could not be read."""
    seconds: float = 0.0
    """Wall time [s]."""

    @property
    def improvement(self) -> float:
        """Of the model's headline over the constant's; nan where that has no meaning (constant at 0).

        Where lower is better (constant - model) / constant [%], 100 being perfect; where higher is better the
        ratio model / constant, because a constant's mIoU is close to 0 and per cents of it would mislead.
        """
        model, constant = (row.get(self.headline, math.nan) for row in (self.model, self.constant))
        if constant == 0:
            return math.nan
        return model / constant if self.higher_is_better else 100 * (constant - model) / constant

    @property
    def improvement_unit(self) -> str:
        """``%`` or ``ratio``."""
        return "ratio" if self.higher_is_better else "%"

    @property
    def complete(self) -> bool:
        """Whether every sample asked for was read, and at least one was scored."""
        return self.n > 0 and not self.unreadable


@dataclass(frozen=True, kw_only=True)
class Report:
    """All pairs, and what is needed to get the same figures again."""

    model: str
    """Name, folder or hub id the model was loaded from."""
    single_stream: bool
    """Whether the auxiliary network alone was scored."""
    split: str
    limit: int
    """Samples of each pair at most; 0 for all."""
    device: str
    dtype: str
    scores: tuple[Score, ...]
    seeds: Mapping[str, Any] = field(default_factory=dict)
    """Seeds of rendered data, by name of their recipe. The evaluation itself draws no random number."""
    versions: Mapping[str, str] = field(default_factory=lambda: versions())
    """Versions of Python, of this package and of the libraries it computes with."""
    seconds: float = 0.0
    """Wall time of everything [s]."""

    @property
    def complete(self) -> bool:
        """Whether every sample asked for was scored."""
        return all(score.complete for score in self.scores)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; figures that are not finite become None."""
        content = asdict(self)
        for entry, score in zip(content["scores"], self.scores, strict=True):
            entry["improvement"] = score.improvement
            entry["improvement_unit"] = score.improvement_unit
        plain: dict[str, Any] = _plain(content)
        return plain

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write JSON, beside and renamed; folders are made.

        Returns:
            The path.
        """
        text = json.dumps(self.to_dict(), indent=2, allow_nan=False) + "\n"
        with staged_file(path) as beside:
            beside.write_text(text, encoding="utf-8")
        return Path(path)

    def table(self) -> Table:
        """The headline figures for a console."""
        from rich.table import Table
        from rich.text import Text

        table = Table(*_COLUMNS[:3])
        for column in _COLUMNS[3:]:
            table.add_column(column, justify="right")
        for cells in self._rows():
            table.add_row(*(Text(cell) for cell in cells))
        return table

    def markdown(self) -> str:
        """The same table in Markdown, for a model card."""
        lines = [" | ".join(_COLUMNS), " | ".join(["---"] * 3 + ["---:"] * (len(_COLUMNS) - 3))]
        lines += [" | ".join(cells) for cells in self._rows()]
        return "".join(f"| {line} |\n" for line in lines)

    def _rows(self) -> Iterator[tuple[str, ...]]:
        for score in self.scores:
            rows = (score.model, score.constant, score.ceiling)
            figures = [_number(row.get(score.headline, math.nan)) for row in rows]
            unaligned = score.unaligned.get("model", {}).get(score.headline)
            cells = (score.dataset, score.task, score.headline, str(score.n), *figures, _gain(score))
            yield (*cells, "" if unaligned is None else _number(unaligned))


def versions() -> dict[str, str]:
    """Versions of Python, of this package and of the libraries that figures depend on."""
    from stablemtl import __version__  # not from metadata: a checkout need not be installed

    libraries = {name: metadata.version(name) for name in _LIBRARIES}
    return {"python": platform.python_version(), "stablemtl": __version__, **libraries}


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return value


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4g}"


def _gain(score: Score) -> str:
    if math.isnan(score.improvement):
        return "-"
    return f"x {score.improvement:.2f}" if score.higher_is_better else f"{score.improvement:+.1f} %"
