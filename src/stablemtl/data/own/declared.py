"""``dataset.toml``: what people say about their label files, checked key by key before anything is read."""

from __future__ import annotations

import difflib
import math
import tomllib
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

UNITS_FILE = "dataset.toml"


class Check(NamedTuple):
    """What the value of a key may be."""

    says: str
    """The permitted values in words, as they would be written."""
    read: Callable[[Any], Any]
    """The value in the form that readers use; a ValueError, with what came if that is not all of it."""


def read_tables(path: Path) -> tuple[dict[str, Any], list[str]]:
    """The tables of a TOML file, none where there is no file, and what is wrong with it."""
    if not path.is_file():
        return {}, []
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig")), []
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        return {}, [f"it is not a TOML file: {error}."]


def check_table(table: Mapping[str, Any], keys: Mapping[str, Check]) -> tuple[dict[str, Any], list[str]]:
    """The values in the form that readers use, and everything that is wrong with them."""
    values, problems = {}, []
    for key, value in table.items():
        if key not in keys:
            problems.append(f"unknown key {key!r}: {nearest(key, keys)}")
            continue
        try:
            values[key] = keys[key].read(value)
        except ValueError as error:
            problems.append(f"{key} must be {keys[key].says}, got {str(error) or repr(value)}.")
    return values, problems


def nearest(word: str, known: Iterable[str]) -> str:
    """A question with the known word most like ``word``, or the list of all as a sentence."""
    names = list(known)
    near = difflib.get_close_matches(word.lower(), names, n=1)
    return f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(names)}."


def one_of(*choices: str) -> Check:
    """One of some words."""
    quoted = [f'"{choice}"' for choice in choices]
    says = " or ".join([", ".join(quoted[:-1]), quoted[-1]] if len(quoted) > 1 else quoted)

    def read(value: Any) -> str:
        if value not in choices:
            raise ValueError
        return str(value)

    return Check(says, read)


def number(says: str = "a number", *, above: float = -math.inf) -> Check:
    """A finite number."""

    def read(value: Any) -> float:
        if not _is_number(value) or not value > above:
            raise ValueError
        return float(value)

    return Check(says if above == -math.inf else f"{says} above {above:g}", read)


def numbers(says: str, *, count: int | None = None) -> Check:
    """A number or a list of them, as a tuple; of ``count`` numbers if that is given."""

    def read(value: Any) -> tuple[float, ...]:
        values = value if isinstance(value, list) else [value]
        if not all(map(_is_number, values)) or (count is not None and len(values) != count):
            raise ValueError
        return tuple(float(one) for one in values)

    return Check(says, read)


def text(says: str) -> Check:
    """Some text."""

    def read(value: Any) -> str:
        if not isinstance(value, str) or not value:
            raise ValueError
        return value

    return Check(says, read)


def table_of(says: str, read_key: Callable[[str], int], choices: Collection[str]) -> Check:
    """A table from integers, in any notation, to some words."""

    def read(value: Any) -> dict[int, str]:
        if not isinstance(value, dict) or not value:
            raise ValueError
        for word in value.values():
            if word not in choices:
                raise ValueError(f"{word!r}: {nearest(str(word), choices)[:-1]}")
        return {read_key(key): word for key, word in value.items()}

    return Check(says, read)


def class_id(written: str) -> int:
    """A key such as ``7``."""
    if not written.isdecimal():
        raise ValueError(f"the id {written!r}")
    return int(written)


def colour(written: str) -> int:
    """A key such as ``"#804080"``: 65536 R + 256 G + B."""
    if len(written) != 7 or written[0] != "#" or not set(written[1:].lower()) <= set("0123456789abcdef"):
        raise ValueError(f"the colour {written!r}")
    return int(written[1:], 16)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
