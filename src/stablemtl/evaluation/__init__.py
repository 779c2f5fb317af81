"""Figures of trained models on labelled data.

``evaluate`` is loaded when it is first used, so that ``delta_m`` costs no more than its own arithmetic.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stablemtl.evaluation.delta_m import delta_m

if TYPE_CHECKING:
    from stablemtl.evaluation.runner import evaluate

__all__ = ["delta_m", "evaluate"]


def __getattr__(name: str) -> object:
    if name != "evaluate":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from stablemtl.evaluation.runner import evaluate

    globals()[name] = evaluate
    return evaluate


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
