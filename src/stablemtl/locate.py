"""Where a model lies: in the package, in a folder, or on the Hugging Face hub."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

EMBEDDED = ("nano",)
"""Models that come with the package."""

HUB_OPTIONS = ("revision", "token", "cache_dir", "local_files_only")
"""What :func:`find_model` passes on to the hub."""

_INDEX = "model_index.json"
_PIPELINE = "StableMTLPipeline"
_HUB_FILES = ("*.json", "*.safetensors", "*.md")  # no pickles


def find_model(name: str | os.PathLike[str], hub: Mapping[str, Any] | None = None) -> Path:
    """The local folder of a model, fetched from the hub if need be.

    Args:
        name: an embedded model (``"nano"``), a folder, or a hub id (``"owner/name"``). A ``Path`` is always a
            folder, and so is text that names an existing one; ``"./nano"`` is a folder called ``nano``.
        hub: any of ``HUB_OPTIONS``, as for ``huggingface_hub.snapshot_download``.
    Raises:
        ValueError: neither an embedded name nor anything like a folder or hub id, or not a StableMTL model.
        FileNotFoundError: no such folder, or the embedded model is missing from the installation.
        OSError: the hub cannot be reached or does not have the model.
    """
    text = os.fspath(name)
    if isinstance(name, str) and text in EMBEDDED:
        folder = Path(str(resources.files("stablemtl"))) / "assets" / text
        if not (folder / _INDEX).is_file():
            raise FileNotFoundError(
                f"the embedded model {text!r} is not in this installation (expected in {folder}). "
                "Install the package again, or give a folder or a hub id."
            )
        return _checked(folder, text)
    folder = Path(text).expanduser()
    if text and folder.is_dir():
        return _checked(folder, str(folder))
    if folder.is_file():
        raise ValueError(f"{folder} is a file; a model is a folder written by save_pretrained.")
    parts = text.split("/")
    if isinstance(name, str) and len(parts) == 1:
        raise ValueError(
            f"unknown model {text!r}; choose an embedded one ({', '.join(EMBEDDED)}), a folder, "
            "or a hub id 'owner/name'."
        )
    if not isinstance(name, str) or len(parts) != 2 or not all(parts) or parts[0] in (".", "..", "~"):
        raise FileNotFoundError(f"there is no model folder {text}. Check the path.")
    return _checked(_download(text, hub or {}), f"{text} on the hub")


def _checked(folder: Path, called: str) -> Path:
    index = folder / _INDEX
    if not index.is_file():
        raise ValueError(
            f"{called} is not a StableMTL model: it has no {_INDEX}. "
            f"Give a folder written by save_pretrained, with {_INDEX}, model/ and vae/ in it."
        )
    try:
        kind = json.loads(index.read_text(encoding="utf-8"))["_class_name"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{index} is damaged ({error}). Save or fetch the model again.") from error
    if kind != _PIPELINE:
        raise ValueError(
            f"{called} is a {kind}, not a {_PIPELINE}. Give a folder written by its save_pretrained."
        )
    return folder


def _download(repo_id: str, hub: Mapping[str, Any]) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(repo_id, allow_patterns=list(_HUB_FILES), **hub))
    except Exception as error:  # of the hub, of HTTP libraries that changed over time, of the file system
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise OSError(
            f"{repo_id!r} is not a folder here, and it could not be fetched from the Hugging Face hub "
            f"({reason}). Check the spelling and the connection."
        ) from error
