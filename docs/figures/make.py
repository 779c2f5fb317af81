"""Draws the figures of the pages: ``python docs/figures/make.py [FOLDER]``, beside this file by default."""

from __future__ import annotations

import sys
from pathlib import Path

import concepts
import conventions
from drawing import save


def main(folder: Path) -> list[Path]:
    """Every figure, for light pages and for dark ones."""
    folder.mkdir(parents=True, exist_ok=True)
    figures = {**concepts.FIGURES, **conventions.FIGURES}
    return [path for name, draw in figures.items() for path in save(name, draw, folder)]


if __name__ == "__main__":
    for path in main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent):
        print(path)
