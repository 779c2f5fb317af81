"""Which pictures a run takes: files, folders, patterns, lists; in an order that is always the same.

Pictures of a folder, or that a pattern fits, are told by their suffix; a file that is named is told by its
content. Hidden files and folders are left out, and folders that are links are not entered.
"""

from __future__ import annotations

import glob
import os
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

IMAGE_SUFFIXES = (
    *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".webp", ".avif", ".avifs"),
    *(".jp2", ".j2k", ".jpc", ".jpf", ".jpx", ".j2c", ".tif", ".tiff", ".bmp", ".gif"),
    *(".ppm", ".pgm", ".pbm", ".pnm"),
)
"""Suffixes, in small letters, of what counts as a picture in a folder."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """A picture of a run."""

    path: Path
    """As it can be opened."""
    name: str = ""
    """Where it lies below the run's base, with ``/`` between folders."""
    next: Path | None = None
    """The frame after it, where a list says so."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """The pictures of a run."""

    sources: tuple[Source, ...]
    """In natural order, a list's in its own; none twice."""
    base: Path
    """The folder that names count from: the lowest that holds all that was named."""
    left_out: int = 0
    """Files of folders and patterns that are no pictures."""


def find_sources(
    inputs: Iterable[str | os.PathLike[str]],
    *,
    list_file: str | os.PathLike[str] | None = None,
    recursive: bool = False,
    exclude: str | os.PathLike[str] | None = None,
) -> Found:
    """The pictures that are meant.

    Args:
        inputs: files, folders, and patterns with ``*``, ``?``, ``[...]`` or ``**`` in them.
        list_file: text file with a picture on each line, or two that belong together, between them a tab or a
            comma; ``-`` for the standard input. Empty lines and those that begin with ``#`` do not count.
            Paths count from the current folder, or else from the folder of the list.
        recursive: take the folders in folders as well.
        exclude: a folder to stay out of: where the results go.
    Raises:
        FileNotFoundError: there is nothing at a path, or nothing that a pattern fits; or no picture of the
            list is there.
        ValueError: a file that is named is no picture, a line of the list cannot be understood, or there is
            no picture at all.
    """
    search = _Search(recursive=recursive, exclude=None if exclude is None else _absolute(exclude))
    for given in inputs:
        search.add(os.fspath(given))
    sources = sorted(search.sources.values(), key=lambda source: natural_key(source.path))
    if list_file is not None:
        sources += search.add_list(os.fspath(list_file), taken=search.sources)
    if not sources:
        raise ValueError(_nothing_found(search, recursive=recursive))
    base = common_folder(search.roots)
    named = tuple(replace(source, name=_name_below(source.path, base)) for source in sources)
    return Found(sources=named, base=base, left_out=search.left_out)


def natural_key(path: str | os.PathLike[str]) -> tuple[object, ...]:
    """Sorts as people count: ``a2`` before ``a10``, and each folder's files together.

    >>> sorted(["b/a10.png", "b/A2.png", "a/z.png"], key=natural_key)
    ['a/z.png', 'b/A2.png', 'b/a10.png']
    """
    place = Path(path)
    folders = tuple(_pieces(part) for part in place.parts[:-1])
    return (folders, _pieces(place.stem), _pieces(place.suffix), place.as_posix())


def common_folder(folders: Iterable[Path]) -> Path:
    """The lowest folder that holds them all, absolute.

    Raises:
        ValueError: there is none, as on two drives.
    """
    texts = sorted({os.path.abspath(folder) for folder in folders})
    try:
        return Path(os.path.commonpath(texts))
    except ValueError as error:
        raise ValueError(
            f"{texts[0]} and {texts[-1]} have no folder in common ({error}). Predict one after the other."
        ) from error


def has_wildcards(text: str) -> bool:
    """Whether the text is a pattern, and not the name of something that is there."""
    return glob.has_magic(text) and not os.path.lexists(os.path.expanduser(text))


class _Search:
    """Gathers pictures, by absolute path, with the folders that they were looked for in."""

    def __init__(self, *, recursive: bool, exclude: Path | None) -> None:
        self.sources: dict[Path, Source] = {}
        self.roots: list[Path] = []
        self.left_out = 0
        self._recursive, self._exclude = recursive, exclude

    def add(self, text: str) -> None:
        path = Path(text).expanduser()
        if path.is_dir():
            self.roots.append(path)
            self._add_pictures(self._files_of(path))
        elif has_wildcards(text):
            self._add_pattern(os.path.expanduser(text))
        elif path.exists():
            if not is_picture(path):
                raise ValueError(
                    f"{path} is not a picture that can be read. Leave it out; in a folder that is named, "
                    "what is no picture is left out by itself."
                )
            self.roots.append(path.parent)
            self._take(path)
        else:
            raise FileNotFoundError(f"there is no file or folder {path}. Check the name and the folder.")

    def add_list(self, file: str, *, taken: dict[Path, Source]) -> list[Source]:
        """The pictures of a list, in its order; those in ``taken`` not again."""
        entries = list(_read_list(file))
        if not any(first.exists() for first, _ in entries):
            which = f": {entries[0][0]}" if entries else ""
            raise FileNotFoundError(
                f"--list {file} names {len(entries)} pictures, of which none is there{which}. Paths "
                "count from the current folder, or else from the folder of the list."
            )
        added: dict[tuple[Path, Path | None], Source] = {}
        for first, second in entries:
            key = (_absolute(first), None if second is None else _absolute(second))
            if second is None and key[0] in taken:
                continue
            self.roots.append(first.parent)
            added.setdefault(key, Source(path=first, next=second))
        return list(added.values())

    def _add_pattern(self, pattern: str) -> None:
        fixed = Path()
        for part in Path(pattern).parts[:-1]:
            if glob.has_magic(part):
                break
            fixed = fixed / part
        self.roots.append(fixed)
        matches = [Path(match) for match in glob.glob(pattern, recursive=True)]
        files = [match for match in matches if match.is_file() and not self._is_result(match, fixed)]
        if not files:
            raise FileNotFoundError(f"no file fits the pattern {pattern}. Check the pattern and the folder.")
        self._add_pictures(files)

    def _files_of(self, folder: Path) -> Iterator[Path]:
        if self._recursive and _absolute(folder) == self._exclude:
            raise ValueError(
                f"{folder} is where the results go: with --recursive they would be taken for pictures. "
                "Choose another --out."
            )
        for place, folders, files in os.walk(folder):
            folders[:] = [name for name in folders if self._enters(Path(place, name))]
            yield from (Path(place, name) for name in files if not name.startswith("."))

    def _enters(self, folder: Path) -> bool:
        return self._recursive and not folder.name.startswith(".") and _absolute(folder) != self._exclude

    def _add_pictures(self, files: Iterable[Path]) -> None:
        for file in files:
            if file.suffix.lower() in IMAGE_SUFFIXES:
                self._take(file)
            else:
                self.left_out += 1

    def _take(self, path: Path) -> None:
        self.sources.setdefault(_absolute(path), Source(path=path))

    def _is_result(self, path: Path, root: Path) -> bool:
        """Whether the path lies where the results go, and that is below where the search began."""
        out = self._exclude
        if out is None or not out.is_relative_to(_absolute(root)):
            return False
        return out != _absolute(root) and _absolute(path).is_relative_to(out)


def is_picture(path: Path) -> bool:
    """Whether a file that is named counts as a picture: by its suffix, or else by the head of its content."""
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return True
    from PIL import Image, UnidentifiedImageError

    from stablemtl.images import FORMATS

    Image.init()
    try:
        with Image.open(path, formats=[name for name in FORMATS if name in Image.OPEN]):
            return True
    except (UnidentifiedImageError, SyntaxError, ValueError):
        return False


def _read_list(file: str) -> Iterator[tuple[Path, Path | None]]:
    if file == "-":
        text, folder = sys.stdin.read(), Path()
    else:
        try:
            text, folder = Path(file).read_text(encoding="utf-8-sig"), Path(file).parent
        except UnicodeDecodeError as error:
            raise ValueError(f"--list {file} is not a text file in UTF-8 ({error.reason}).") from error
        except IsADirectoryError as error:
            raise ValueError(f"--list {file} is a folder. Give it as INPUT, without --list.") from error
    for number, line in enumerate(text.splitlines(), start=1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        names = _names(line, folder)
        if len(names) > 2 or not all(names):
            raise ValueError(
                f"--list {file}, line {number}: expected one picture, or two with a tab or a comma between "
                f"them, got {line!r}."
            )
        paths = [_from_list(name, folder) for name in names]
        yield paths[0], paths[1] if len(paths) == 2 else None


def _names(line: str, folder: Path) -> list[str]:
    """The one or two names of a line; a name may have a comma in it."""
    if "\t" in line:
        return [name.strip() for name in line.split("\t")]
    if "," not in line or _from_list(line, folder).exists():
        return [line]
    return [name.strip() for name in line.split(",")]


def _from_list(name: str, folder: Path) -> Path:
    path = Path(name).expanduser()
    beside = folder / path
    return beside if not path.exists() and beside.exists() else path


def _nothing_found(search: _Search, *, recursive: bool) -> str:
    where = ", ".join(str(root) for root in search.roots[:3]) or "what was named"
    others = f" ({search.left_out} other files)" if search.left_out else ""
    deeper = "" if recursive else " --recursive looks into the folders in it as well."
    return f"there is no picture in {where}{others}.{deeper}"


def _pieces(text: str) -> tuple[tuple[int, int, str], ...]:
    """Numbers, which come first, and what is between them; capitals count as small letters."""
    pieces = [piece for piece in re.split(r"([0-9]+)", text.casefold()) if piece]
    return tuple((0, int(piece), "") if piece.isdecimal() else (1, 0, piece) for piece in pieces)


def _name_below(path: Path, base: Path) -> str:
    return Path(os.path.relpath(_absolute(path), base)).as_posix()


def _absolute(path: str | os.PathLike[str]) -> Path:
    """Absolute, without ``..``; links stay as they are."""
    return Path(os.path.abspath(path))
