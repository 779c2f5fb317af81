"""Figures of trained models on labelled data.

What computes is loaded when it is first used, so that ``delta_m`` costs no more than its own arithmetic.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from stablemtl.evaluation.delta_m import delta_m

if TYPE_CHECKING:
    from stablemtl.evaluation.reading import read_report
    from stablemtl.evaluation.runner import evaluate
    from stablemtl.evaluation.scoring import score
    from stablemtl.evaluation.summary import summarize

__all__ = ["delta_m", "evaluate", "read_report", "score", "summarize"]

_HOMES = {"evaluate": "runner", "read_report": "reading", "score": "scoring", "summarize": "summary"}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
