"""Which picture is the frame after which, by a rule that can be read.

``none``
    Each picture is alone.
``sequence``
    The pictures of a folder follow each other in natural order; the last one is alone.
``FIRST SECOND``
    Two patterns. A picture that FIRST fits is a first frame; its second frame is called like SECOND, each
    ``*`` in it standing for what the ``*`` at its place in FIRST stood for: ``"*_10.png *_11.png"``. Patterns
    without ``*`` are a part of the name that is replaced, at its last place: ``"_10 _11"``. Patterns with
    ``/`` are compared with the end of the path, others with the file name: ``"left/* right/*"``.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise
from pathlib import Path

from stablemtl.folders.inputs import Source, natural_key


@dataclass(frozen=True)
class NamePattern:
    """The two patterns of a rule."""

    first: str
    second: str

    def second_of(self, path: Path) -> Path | None:
        """The second frame's path, whether it is there or not; None if ``path`` is no first frame."""
        text = path.as_posix() if "/" in self.first else path.name
        expression = "(.*)".join(re.escape(part) for part in self.first.split("*"))
        match = re.fullmatch(f"((?:.*/)?){expression}", text)
        if match is None:
            return None
        before, *stars = match.groups()
        pieces = self.second.split("*")
        name = (
            before + pieces[0] + "".join(star + piece for star, piece in zip(stars, pieces[1:], strict=True))
        )
        return Path(name) if "/" in self.first else path.with_name(name)


def parse_pairing(text: str) -> str | NamePattern:
    """``none``, ``sequence``, or the two patterns of a rule.

    >>> parse_pairing("_10 _11").second_of(Path("training/000003_10.png")).as_posix()
    'training/000003_11.png'

    Raises:
        ValueError: the rule cannot be understood.
    """
    if text in ("none", "sequence"):
        return text
    try:
        words = shlex.split(text, posix=os.name == "posix")
    except ValueError as error:
        raise ValueError(f"--pair {text!r} cannot be understood: {error}.") from error
    if len(words) != 2:
        raise ValueError(
            "--pair must be none, sequence, or two patterns in one pair of quotes, such as '_10 _11' or "
            f"'left/* right/*'; got {text!r}."
        )
    first, second = words
    if first == second:
        raise ValueError(f"--pair {text!r}: both patterns are the same. The second names the frame after it.")
    if first.count("*") != second.count("*"):
        raise ValueError(f"--pair {text!r}: both patterns must have the same number of *.")
    if ("/" in first) != ("/" in second):
        raise ValueError(f"--pair {text!r}: both patterns must have a /, or neither.")
    if "*" not in first:
        first, second = f"*{first}*", f"*{second}*"
    return NamePattern(first, second)


def pair(sources: Sequence[Source], rule: str) -> tuple[tuple[Source, ...], int]:
    """The sources with their second frames, and how many were left out because FIRST does not fit them.

    A second frame that a list has named stays. One that a rule names need not be there: reading it then
    fails, with its name. Pictures that are second frames of a rule are no inputs of their own.

    Raises:
        ValueError: the rule cannot be understood, or fits no picture.
    """
    rule_or_pattern = parse_pairing(rule)
    if rule_or_pattern == "none":
        return tuple(sources), 0
    if isinstance(rule_or_pattern, NamePattern):
        return _by_pattern(sources, rule_or_pattern, rule)
    return _by_sequence(sources), 0


def _by_sequence(sources: Sequence[Source]) -> tuple[Source, ...]:
    following: dict[Path, Path] = {}
    ordered = sorted((source.path for source in sources), key=natural_key)
    for _, group in groupby(ordered, key=lambda path: path.parent):
        following.update(pairwise(group))
    return tuple(
        source if source.next is not None else replace(source, next=following.get(source.path))
        for source in sources
    )


def _by_pattern(sources: Sequence[Source], pattern: NamePattern, rule: str) -> tuple[tuple[Source, ...], int]:
    seconds = {source.path: pattern.second_of(source.path) for source in sources if source.next is None}
    taken = {second for second in seconds.values() if second is not None}
    paired = tuple(
        source if source.next is not None else replace(source, next=seconds[source.path])
        for source in sources
        if source.next is not None or (seconds[source.path] is not None and source.path not in taken)
    )
    if not paired:
        raise ValueError(
            f"--pair {rule!r} fits none of {len(sources)} pictures, such as {sources[0].path}. Its first "
            "pattern must fit the name of a first frame."
        )
    firsts = {source.path for source in paired}
    return paired, sum(source.path not in firsts | taken for source in sources)
