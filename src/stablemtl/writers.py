"""Files a prediction is written to, and the reader of the 16-bit PNG. Nothing is ever left half-written.

A file is written under another name in the same folder, then renamed; a folder of results likewise. A run
that fills a folder bit by bit locks it.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import struct
import uuid
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout
from PIL import Image

logger = logging.getLogger(__name__)

PathLike = str | os.PathLike[str]

LOCK = ".stablemtl.lock"
"""Name of the file that is locked in a folder that a run fills."""

_LOCK_PATIENCE_S = 0.5  # a run that ends at this moment deletes the file that another one has just opened

PNG16_KEY = "stablemtl"
"""Keyword of the PNG text that says what a 16-bit picture's integers mean."""

_PNG16_STEPS = 65534  # 1 to 65535; 0 is kept for pixels that are not valid
_AFTER_IHDR = 8 + 25  # PNG signature, then the IHDR chunk, whose length is fixed


@contextmanager
def staged_file(path: PathLike) -> Iterator[Path]:
    """A name beside ``path`` to write to; renamed to ``path`` on success, deleted on any failure."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.stem}-{uuid.uuid4().hex[:8]}{path.suffix}")
    try:
        yield beside
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


@contextmanager
def staged_folder(folder: PathLike) -> Iterator[Path]:
    """A folder beside ``folder`` to write to; renamed on success, deleted on any failure.

    If ``folder`` exists, its other files stay and files of the same name are replaced, one by one, once all
    are written.

    Raises:
        FileExistsError: ``folder`` is a file.
    """
    folder = Path(folder).absolute()
    _check_no_file(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = folder.with_name(f".{folder.name}-{uuid.uuid4().hex[:8]}")
    beside.mkdir()
    try:
        yield beside
        if folder.exists():
            for file in sorted(beside.iterdir()):
                file.replace(folder / file.name)
        else:
            beside.rename(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _check_no_file(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"cannot write into {folder}: it is a file. Name a folder.")


@contextmanager
def locked_folder(folder: PathLike) -> Iterator[Path]:
    """A folder of results, made if need be, that no other run locks meanwhile, whatever it writes there.

    The lock is the system's, on the file ``.stablemtl.lock``: it ends with the process in any case, and a
    file that a killed one leaves locks nothing. The file is deleted at the end, and so is a folder that was
    made here and is empty.

    Raises:
        FileExistsError: ``folder`` is a file.
        BlockingIOError: another run has locked it.
    """
    folder = Path(folder)
    _check_no_file(folder)
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=_LOCK_PATIENCE_S)
    except Timeout as error:
        raise BlockingIOError(
            f"another run writes into {folder} at this moment. Wait for it, or choose another --out."
        ) from error
    except OSError as error:  # some network file systems have no locks; others can be read only
        logger.warning("%s cannot be locked (%s): start no second run that writes there", folder, error)
    try:
        yield folder
    finally:
        if lock.is_locked:
            with suppress(OSError):  # Windows keeps files that are open; there the lock deletes its own
                (folder / LOCK).unlink()
            lock.release()
        if made:
            with suppress(OSError):  # there is something in it
                folder.rmdir()


def write_npz(path: PathLike, arrays: Mapping[str, np.ndarray], facts: Mapping[str, object]) -> None:
    """Arrays and facts in one compressed NPZ; facts are text or JSON text, so reading needs no pickle."""
    texts = {
        key: np.array(fact if isinstance(fact, str) else json.dumps(fact)) for key, fact in facts.items()
    }
    with staged_file(path) as beside:
        np.savez_compressed(beside, **arrays, **texts)  # type: ignore[arg-type]


def write_npy(path: PathLike, values: np.ndarray) -> None:
    """The values alone."""
    with staged_file(path) as beside:
        np.save(beside, values, allow_pickle=False)


def write_picture(path: PathLike, picture: Image.Image) -> None:
    """A PIL image; the suffix names the format."""
    with staged_file(path) as beside:
        picture.save(beside)


def write_png16(path: PathLike, values: np.ndarray, valid: np.ndarray, facts: Mapping[str, object]) -> None:
    r"""Values as 16-bit PNG of 1 or 3 channels, with what is needed to read them back.

    .. math:: n = \mathrm{round}((v - \mathrm{offset}) / \mathrm{scale}), \quad
        v \approx \mathrm{offset} + n \, \mathrm{scale}

    The stored n runs from 1 to 65535 over the range of the valid values, and is 0 where not valid. Integer
    maps get scale 1 and offset -1; a two-channel map gets a third channel of zeros. ``scale``, ``offset``,
    ``channels`` and ``facts`` are kept as JSON in the PNG text ``stablemtl``. A value read back is off by at
    most scale / 2.

    Args:
        values: (H, W), (H, W, 2) or (H, W, 3), float or integer.
        valid: (H, W), bool.
    Raises:
        ValueError: more than 3 channels, or integers that do not fit.
    """
    from stablemtl.data.formats import write_png16 as write_integers

    channels = 1 if values.ndim == 2 else values.shape[2]
    if values.ndim not in (2, 3) or channels > 3:
        raise ValueError(f"a 16-bit PNG holds 1 to 3 channels, got values of shape {values.shape}. Use .npz.")
    seen = values[valid].astype(np.float64)
    lowest, highest = (float(seen.min()), float(seen.max())) if seen.size else (0.0, 0.0)
    if values.dtype.kind in "iu":
        scale, offset = 1.0, -1.0
        if lowest < 0 or highest > _PNG16_STEPS:
            raise ValueError(
                f"integers must be 0 to {_PNG16_STEPS}, got {lowest:g} to {highest:g}. Use .npz."
            )
    else:
        scale = (highest - lowest) / (_PNG16_STEPS - 1) if highest > lowest else 1.0
        offset = lowest - scale
    mask = valid if values.ndim == 2 else valid[:, :, None]
    clean = np.where(mask, values, lowest).astype(np.float64)
    stored = np.where(mask, np.clip(np.rint((clean - offset) / scale), 1, 65535), 0).astype(np.uint16)
    if channels == 2:
        stored = np.concatenate([stored, np.zeros_like(stored[:, :, :1])], axis=2)
    text = json.dumps({**facts, "scale": scale, "offset": offset, "channels": channels, "invalid": 0})
    with staged_file(path) as beside:
        write_integers(beside, stored.reshape(*values.shape[:2]) if channels == 1 else stored)
        data = beside.read_bytes()
        beside.write_bytes(data[:_AFTER_IHDR] + _text_chunk(PNG16_KEY, text) + data[_AFTER_IHDR:])


def read_png16_values(path: PathLike) -> np.ndarray:
    """The values of a file of :func:`write_png16`: float32 (H, W) or (H, W, C), nan where not valid.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file does not say what its integers mean.
    """
    from stablemtl.data.formats import read_png16

    facts = read_png16_facts(path)
    stored = read_png16(path)
    channels = int(str(facts["channels"]))
    if stored.ndim == 3:
        stored = stored[:, :, :channels]
    values = float(str(facts["offset"])) + float(str(facts["scale"])) * stored.astype(np.float64)
    return np.where(stored == 0, np.nan, values).astype(np.float32)


def read_png16_facts(path: PathLike) -> dict[str, object]:
    """What a file of :func:`write_png16` says of itself: task, unit, convention, scale, offset, channels."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"no file {path}.")
    with Image.open(path, formats=["PNG"]) as picture:
        text = getattr(picture, "text", {}).get(PNG16_KEY)
    if text is None:
        raise ValueError(f"{path} has no {PNG16_KEY!r} text: it was not written by save(path, bits=16).")
    facts: dict[str, object] = json.loads(text)
    return facts


def _text_chunk(keyword: str, text: str) -> bytes:
    """A PNG ``iTXt`` chunk (UTF-8, not compressed). Source: PNG specification, section 11.3.3.4."""
    body = b"iTXt" + keyword.encode("latin-1") + b"\0\0\0\0\0" + text.encode("utf-8")
    return struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
