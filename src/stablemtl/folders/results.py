"""The books of a run over many pictures: what became of each, in a journal and then in a Parquet file.

While a run goes on, each picture that is finished is a line of ``results.jsonl``, so that nothing but the
pictures at work is lost when the process is killed. When the run ends, in whatever way, ``results.parquet``
takes it over: a row for each picture that this folder has results of.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from stablemtl.writers import locked_folder, staged_file

logger = logging.getLogger(__name__)

RESULTS = "results.parquet"
"""Name of the table in the folder of results."""

JOURNAL = "results.jsonl"
"""Name of the journal, which is there while a run goes on and after one that was killed."""

Status = Literal["ok", "skipped", "failed"]


@dataclass(frozen=True, kw_only=True)
class FileRecord:
    """A file, as it was read or written."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class InputRecord(FileRecord):
    """A picture, as it was read; ``name`` is its path below the base of the run."""

    modified_ns: int
    """Time of its last change [ns since 1970]."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """What became of a picture: a row of the table."""

    name: str
    """Path of the picture below ``base``, with ``/`` between folders."""
    status: Status
    """``ok``; ``skipped`` if an earlier run had finished it; ``failed``."""
    error: str = ""
    """Why it failed."""
    base: str
    """Folder that ``name`` counts from."""
    output: str
    """Folder of the maps, below the folder of the results."""
    width: int = 0
    """Of the picture [px]; 0 if it could not be read."""
    height: int = 0
    """Of the picture [px]; 0 if it could not be read."""
    seconds: float = 0.0
    """Time for the picture: its share of the batch, and writing."""
    model: str
    """What the model was called."""
    weights: str
    """Fingerprint of its files."""
    options: str
    """What else the maps depend on, as JSON."""
    image: InputRecord | None = None
    """The picture; None if it could not be read."""
    image_next: InputRecord | None = None
    """The frame after it, if there is one."""
    files: tuple[FileRecord, ...] = ()
    """The files in ``output``."""

    @property
    def finished(self) -> bool:
        """Whether the maps are there."""
        return self.status != "failed"

    def to_dict(self) -> dict[str, Any]:
        """As plain numbers, text, lists and dicts."""
        return {**asdict(self), "files": [asdict(file) for file in self.files]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Result:
        """The inverse of :meth:`to_dict`.

        Raises:
            KeyError, TypeError: ``values`` are not those of a result.
        """
        frames = {
            key: None if values[key] is None else InputRecord(**values[key])
            for key in ("image", "image_next")
        }
        files = tuple(FileRecord(**file) for file in values["files"])
        return cls(**{**values, **frames, "files": files})


def describe_input(path: Path, name: str) -> InputRecord:
    """The record of a picture as it is now.

    Raises:
        OSError: it cannot be read.
    """
    state = path.stat()
    return InputRecord(name=name, bytes=state.st_size, sha256=checksum(path), modified_ns=state.st_mtime_ns)


def is_unchanged(path: Path | None, record: InputRecord | None) -> bool:
    """Whether the picture is still what it was: its size and time of change, or else its content."""
    if path is None or record is None:
        return path is None and record is None
    try:
        state = path.stat()
        same_size = state.st_size == record.bytes
        return same_size and (state.st_mtime_ns == record.modified_ns or checksum(path) == record.sha256)
    except OSError:
        return False


def are_there(folder: Path, files: Iterable[FileRecord]) -> bool:
    """Whether all files are there with their sizes."""
    try:
        return all((folder / file.name).stat().st_size == file.bytes for file in files)
    except OSError:
        return False


def checksum(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Books:
    """What earlier runs have finished, and what this one adds. Made by :func:`open_books`."""

    def __init__(self, folder: Path, earlier: Mapping[str, Result]) -> None:
        self.folder = folder
        self.results: dict[str, Result] = dict(earlier)
        """By ``output``: those of earlier runs first, in their order."""

    def record(self, result: Result) -> None:
        """Keep what became of a picture, safe from then on."""
        self.results.pop(result.output, None)
        self.results[result.output] = result
        with (self.folder / JOURNAL).open("a", encoding="utf-8") as file:
            file.write(json.dumps(result.to_dict()) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def save(self, order: Sequence[str] = ()) -> Path:
        """Write the table, those outputs first that are in ``order``; the journal has then done its work."""
        first = [self.results[output] for output in order if output in self.results]
        named = set(order)
        rest = [result for output, result in self.results.items() if output not in named]
        path = self.folder / RESULTS
        _write_table(path, [*first, *rest])
        (self.folder / JOURNAL).unlink(missing_ok=True)
        return path


@contextmanager
def open_books(folder: Path) -> Iterator[Books]:
    """The books of a folder of results, which is made if need be; no second run can open them meanwhile.

    Raises:
        FileExistsError: ``folder`` is a file.
        BlockingIOError: another process has them open.
        ValueError: the table is damaged or of another kind.
    """
    with locked_folder(folder):
        books = Books(folder, {result.output: result for result in read_results(folder)})
        if (folder / JOURNAL).exists():  # of a run that was killed; its last line may be cut off
            books.save()
        yield books


def read_results(folder: str | os.PathLike[str]) -> list[Result]:
    """The rows of a folder of results: those of the table, and of the journal if a run was killed.

    Raises:
        ValueError: the table is damaged or of another kind.
    """
    folder = Path(folder)
    results = {result.output: result for result in _read_table(folder / RESULTS)}
    for result in _read_journal(folder / JOURNAL):
        results.pop(result.output, None)
        results[result.output] = result
    return list(results.values())


def _read_journal(path: Path) -> Iterator[Result]:
    """Its results; a line that was cut off by the end of the process is left out."""
    if not path.is_file():
        return
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            yield Result.from_dict(json.loads(line))
        except (ValueError, KeyError, TypeError):
            logger.info("%s: a line is cut off; its picture is predicted again", path)


def _read_table(path: Path) -> list[Result]:
    if not path.is_file():
        return []
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return [Result.from_dict(row) for row in pq.read_table(path).to_pylist()]
    except (pa.ArrowException, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is not a table of results that this version can read ({' '.join(str(error).split())}). "
            "Choose another --out, or delete the file to predict everything again."
        ) from error


def _write_table(path: Path, results: Sequence[Result]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = [("name", pa.string()), ("bytes", pa.int64()), ("sha256", pa.string())]
    picture = pa.struct([*file, ("modified_ns", pa.int64())])
    texts = {name: pa.string() for name in ("name", "status", "error", "base", "output")}
    schema = pa.schema(
        {
            **texts,
            "width": pa.int32(),
            "height": pa.int32(),
            "seconds": pa.float64(),
            "model": pa.string(),
            "weights": pa.string(),
            "options": pa.string(),
            "image": picture,
            "image_next": picture,
            "files": pa.list_(pa.struct(file)),
        }
    )
    table = pa.Table.from_pylist([result.to_dict() for result in results], schema=schema)
    with staged_file(path) as beside:
        pq.write_table(table, beside)
