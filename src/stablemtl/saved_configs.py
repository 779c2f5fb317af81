"""Configs that diffusers writes, made fit to be read again."""

from __future__ import annotations

import inspect
import json
from pathlib import Path


def drop_derived_entries(config_file: Path, module_class: type) -> None:
    """Remove what the class writes but does not take (AutoencoderTiny does): loading warns of it."""
    entries = json.loads(config_file.read_text(encoding="utf-8"))
    arguments = inspect.signature(module_class).parameters
    kept = {name: value for name, value in entries.items() if name in arguments or name.startswith("_")}
    config_file.write_text(json.dumps(kept, indent=2, sort_keys=True) + "\n", encoding="utf-8")
