"""Optional packages, imported where they are used."""

from __future__ import annotations

import importlib
from types import ModuleType


def require(extra: str, *names: str) -> ModuleType:
    """The first of the packages, once all of them are found to be there.

    Args:
        extra: extra of ours that installs them.
        names: names to import.
    Raises:
        ImportError: one is missing.
    """
    modules = []
    for name in names:
        try:
            modules.append(importlib.import_module(name))
        except ModuleNotFoundError as error:
            raise ImportError(
                f"{name} is not installed ({error}). Install it with: pip install 'stablemtl[{extra}]'"
            ) from error
    return modules[0]
