"""The doctor's report: what is there, what is wrong, how long it took."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from stablemtl.data.doctor.findings import Finding, Severity
from stablemtl.data.formats import write_text


@dataclass(frozen=True, kw_only=True)
class SplitReport:
    """One split of a dataset."""

    dataset: str
    folder: str
    split: str
    """The dataset's own name."""
    parts: tuple[str, ...]
    """What it is used as: train, val, test."""
    frames: int
    """0 if there is none, or if it cannot be opened."""
    official: int | None
    """Frames in the official release; ``None`` for datasets without one."""
    labelled: Mapping[str, int]
    """Task to frames that have its label."""
    looked_at: int
    """Frames whose files were read."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """What ``check_data`` found."""

    root: str
    deep: bool
    """Whether every file was read, and not a sample."""
    splits: tuple[SplitReport, ...]
    findings: tuple[Finding, ...]
    """Errors first, then warnings and notes."""
    samples: int
    """Samples loaded; a sample is a frame, or pair of frames, with the label of one task."""
    seconds: float
    """Wall time of everything [s]."""
    workers: int

    @property
    def seconds_per_thousand(self) -> float:
        """Wall time per 1,000 samples [s]; 0 without a sample."""
        return 1000 * self.seconds / self.samples if self.samples else 0.0

    def count(self, severity: Severity) -> int:
        """Findings of a severity."""
        return sum(finding.severity == severity for finding in self.findings)

    @property
    def healthy(self) -> bool:
        """Whether there is no error."""
        return self.count("error") == 0

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self) | {
            "healthy": self.healthy,
            "seconds_per_thousand_samples": self.seconds_per_thousand,
        }

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write JSON, beside and renamed; folders are made.

        Returns:
            The path.
        """
        write_text(path, json.dumps(self.to_dict(), indent=2, allow_nan=False) + "\n")
        return Path(path)
