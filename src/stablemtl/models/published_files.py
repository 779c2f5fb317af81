"""The files in which StableMTL's weights were published: bare state dicts, run folders, and tarballs of them.

A run folder holds ``checkpoint/<name>/unet/{config.json, diffusion_pytorch_model.bin}``, where ``<name>`` is
``latest`` or ``iter_000000``, and ``config.yaml`` with the training configuration.
"""

from __future__ import annotations

import json
import logging
import re
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from stablemtl.models.convert import read_state_dict

logger = logging.getLogger(__name__)

WEIGHTS = ("diffusion_pytorch_model.bin", "diffusion_pytorch_model.safetensors")
_ARCHIVES = (".tar", ".tar.gz", ".tgz")


@dataclass(frozen=True, kw_only=True)
class PublishedWeights:
    """What a file, a run folder or a tarball of one holds."""

    state: dict[str, Tensor]
    """Key to tensor."""
    unet_config: dict[str, Any] | None
    """The UNet's ``config.json``, where there is one."""
    heads: int | None
    """Heads of the task attention, where the training configuration names them."""


def read_published(path: str | Path) -> PublishedWeights:
    """Read published weights.

    Args:
        path: ``.pth``, ``.bin`` or ``.safetensors`` file with a flat dict of tensors; a run folder, its
            ``checkpoint`` folder or its ``unet`` folder; or a ``.tar`` or ``.tar.gz`` of a run folder. Of
            several checkpoints, ``latest`` is taken, or else the one with the highest iteration.
    Raises:
        FileNotFoundError: no such path, or no weights below it.
        ValueError: the file is damaged, or is no flat dict of tensors; pickles are read with
            ``weights_only=True``, so that nothing in them is run.
    """
    path = Path(path)
    if path.is_file() and path.name.endswith(_ARCHIVES):
        with _unpacked(path) as folder:
            return _read_folder(folder, path)
    if path.is_dir():
        return _read_folder(path, path)
    return _read_file(path)


def task_attention_sizes(state: Mapping[str, Tensor], heads: int | None) -> dict[str, Any]:
    """Options of the task attention as far as its tensors tell them, for ``TaskAttentionConfig.from_dict``.

    Args:
        state: multi-stream UNet in the published layout.
        heads: cannot be seen in the tensors; ``None`` takes the released model's 4.
    Raises:
        ValueError: there is no task attention among the keys.
    """
    first = next((key for key in state if re.search(r"\.task_to_q\.\w+\.net\.0\.weight$", key)), None)
    if first is None:
        raise ValueError(
            f"no task attention among the {len(state)} keys (no *.attn1.task_to_q.<task>.net.0.weight): this "
            "is not the multi-stream UNet. A single-stream file goes to --auxiliary."
        )
    prefix, task = re.fullmatch(r"(.*\.attn1)\.task_to_q\.(\w+)\.net\.0\.weight", first).groups()  # type: ignore[union-attr]
    linear = [key for key in state if re.fullmatch(rf"{prefix}\.task_to_q\.{task}\.net\.\d+\.weight", key)]
    sizes: dict[str, Any] = {
        "query_hidden_dim": state[first].shape[0],
        "query_hidden_layers": len(linear) - 2,
    }
    key_hidden = state.get(f"{prefix}.task_to_k.{task}.fc1.weight")
    if key_hidden is not None:
        hidden, width = key_hidden.shape
        sizes["key_value_hidden"] = "width//2" if hidden == width // 2 else int(hidden)
    return sizes | ({} if heads is None else {"heads": heads})


@contextmanager
def _unpacked(path: Path) -> Iterator[Path]:
    """The tarball's contents in a temporary folder, removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="stablemtl-") as folder:
        try:
            with tarfile.open(path) as archive:
                archive.extractall(folder, filter="data")
        except (tarfile.TarError, EOFError, OSError) as error:
            raise ValueError(f"{path} cannot be unpacked; download it again ({error}).") from error
        yield Path(folder)


def _read_folder(folder: Path, named: Path) -> PublishedWeights:
    """The newest checkpoint below a folder; errors speak of ``named``."""
    found = [path for name in WEIGHTS for path in folder.rglob(name)]
    if not found:
        raise FileNotFoundError(
            f"{named}: no {' or '.join(WEIGHTS)} below it. Give the run folder, its unet folder, or the file."
        )
    weights = max(found, key=_order)
    logger.info("%s: taking %s", named, weights.relative_to(folder))
    return _read_file(weights)


def _order(weights: Path) -> tuple[bool, bool, int, str]:
    """Checkpoints by age: ``latest`` last, then by iteration; UNets before anything else."""
    checkpoint = weights.parent.parent.name
    iteration = re.fullmatch(r"iter_(\d+)", checkpoint)
    number = int(iteration[1]) if iteration else -1
    return weights.parent.name == "unet", checkpoint == "latest", number, str(weights)


def _read_file(path: Path) -> PublishedWeights:
    config = path.parent / "config.json"
    unet_config = json.loads(config.read_text(encoding="utf-8")) if config.is_file() else None
    training = next((f for folder in path.parents[:4] if (f := folder / "config.yaml").is_file()), None)
    return PublishedWeights(
        state=read_state_dict(path),
        unet_config=unet_config,
        heads=None if training is None else _heads(training),
    )


def _heads(training: Path) -> int | None:
    """``n_attns`` of a training configuration: one number on a line, whatever surrounds it."""
    found = re.search(r"^\s*n_attns:\s*(\d+)\s*(#.*)?$", training.read_text(encoding="utf-8"), re.MULTILINE)
    return None if found is None else int(found[1])
