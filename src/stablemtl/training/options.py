"""A run's options as JSON, and which of them may differ when it is continued."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from typing import Any

logger = logging.getLogger(__name__)

_FREE = frozenset(
    {"resume", "out", "root", "codec", "init", "save_dtype", "checkpoint_every", "preview_every", "log_every"}
    | {"keep_last", "keep_best", "trackers", "gradient_checkpointing", "workers", "cache_folder", "dry_run"}
    | {"json"}
)
"""Options that a resumed run may change: where things lie, and what does not change the result."""
_SPLIT = ("batch_size", "accumulation", "processes")
"""Ways to split a step's samples: these may change together, as long as their product stays."""


def plain(config: Any) -> Any:
    """Dataclasses, paths and tuples as JSON values."""
    values = asdict(config) if is_dataclass(config) and not isinstance(config, type) else config
    return json.loads(json.dumps(values, default=str))


def differences(old: Mapping[str, Any], new: Mapping[str, Any], name: str = "") -> list[str]:
    """Names of the options that differ, apart from those that may."""
    differing = _differing(old, new, name)
    split = {path for path in differing if path.split(".")[-1] in _SPLIT}
    if split and _step_size(old) == _step_size(new):
        logger.warning(
            "the samples of a step are split in another way than before (%s): from here on, the run equals "
            "an uninterrupted one up to rounding, as far as nothing random is drawn for each micro-batch",
            ", ".join(sorted(split)),
        )
        return [path for path in differing if path not in split]
    return differing


def _differing(old: Any, new: Any, name: str) -> list[str]:
    if name.split(".")[-1] in _FREE:
        return []
    if isinstance(old, dict) and isinstance(new, dict):
        return [
            d
            for key in sorted(old.keys() | new.keys())
            for d in _differing(old.get(key), new.get(key), f"{name}.{key}".lstrip("."))
        ]
    return [] if old == new else [name]


def _step_size(options: Mapping[str, Any]) -> int:
    """Samples of an optimizer step."""
    loop = options.get("loop", {})
    size: int = loop.get("batch_size", 1) * loop.get("accumulation", 1) * options.get("processes", 1)
    return size
