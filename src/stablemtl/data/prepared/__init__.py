"""Decoded samples of training size, kept in Arrow files: written by ``writing``, a dataset by ``reading``."""

from __future__ import annotations

from stablemtl.data.prepared.reading import (
    PreparedDataset,
    is_prepared,
    open_prepared,
    prepared_parts,
    verify_prepared,
)

__all__ = ["PreparedDataset", "is_prepared", "open_prepared", "prepared_parts", "verify_prepared"]
