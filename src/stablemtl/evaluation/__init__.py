"""Figures of trained models on labelled data.

What computes is loaded when it is first used, so that ``delta_m`` costs no more than its own arithmetic.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stablemtl.evaluation.delta_m import delta_m
from stablemtl.lazy_names import lazy_names

if TYPE_CHECKING:
    from stablemtl.evaluation.reading import read_report
    from stablemtl.evaluation.runner import evaluate
    from stablemtl.evaluation.scoring import score
    from stablemtl.evaluation.summary import summarize

__all__ = ["delta_m", "evaluate", "read_report", "score", "summarize"]

_HOMES = {"evaluate": ".runner", "read_report": ".reading", "score": ".scoring", "summarize": ".summary"}

__getattr__, __dir__ = lazy_names(__name__, __all__, _HOMES)
