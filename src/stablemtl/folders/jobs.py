"""What is to be predicted, and in which folder the result goes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from stablemtl.folders.inputs import Source
from stablemtl.folders.results import JOURNAL, RESULTS


@dataclass(frozen=True, kw_only=True)
class Job:
    """A picture, or two frames, and where the maps go."""

    name: str
    """Path of the picture below the base, with ``/`` between folders."""
    image: Path
    image_next: Path | None
    output: str
    """Path of the maps' folder below the folder of all results, with ``/`` between folders."""


def make_jobs(sources: Sequence[Source]) -> tuple[Job, ...]:
    """A job for each source. The folders of the results mirror those of the pictures.

    ``a/x.png`` goes to ``a/x``. Where that is not one folder for each, as for ``x.png`` and ``x.jpg``, all of
    these keep their suffix: ``a/x.png``, ``a/x.jpg``. Capital and small letters count as the same, since on
    many disks they are.

    Raises:
        ValueError: a picture comes twice, with different second frames.
    """
    times = Counter(source.name for source in sources)
    twice = next((name for name, count in times.items() if count > 1), None)
    if twice is not None:
        raise ValueError(
            f"{twice} comes twice, with different second frames. Predict them one after the other."
        )
    short = {source.name: PurePosixPath(source.name).with_suffix("").as_posix() for source in sources}
    uses = Counter(output.casefold() for output in short.values())
    wanted = {name: name if uses[output.casefold()] > 1 else output for name, output in short.items()}
    # Still not always one for each: `x.png.jpg` goes to `x.png`, where `x.png` goes if there is an `x.jpg`.
    outputs: dict[str, str] = {}
    taken = {RESULTS, JOURNAL}
    for name in sorted(wanted, key=lambda name: (wanted[name] != name, name)):
        output, number = wanted[name], 1
        while output.casefold() in taken:
            number += 1
            output = f"{wanted[name]}-{number}"
        taken.add(output.casefold())
        outputs[name] = output
    return tuple(
        Job(name=source.name, image=source.path, image_next=source.next, output=outputs[source.name])
        for source in sources
    )
