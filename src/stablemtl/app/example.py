"""The example pair: two views of a motorcycle, which come with scikit-image."""

from __future__ import annotations

import threading
from pathlib import Path

EXAMPLE_LABEL = "Example: two views of a motorcycle"

_lock = threading.Lock()


def example_views(folder: Path) -> tuple[Path, Path]:
    """Paths of the two views, 741x500 px; written when first asked for.

    Source: see :func:`stablemtl.commands.demo.write_views`.
    """
    from stablemtl.commands.demo import write_views

    paths = folder / "left.png", folder / "right.png"
    with _lock:
        return paths if all(path.is_file() for path in paths) else write_views(folder)
