"""Which frames of a split are looked at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence


def spread(items: Sequence[int], limit: int) -> list[int]:
    """At most ``limit`` of the items, evenly spread, the first and the last among them."""
    if limit >= len(items):
        return list(items)
    if limit == 1:
        return [items[len(items) // 2]]
    return [items[round(place * (len(items) - 1) / (limit - 1))] for place in range(limit)]


def choose_frames(
    labelled: Mapping[str, Sequence[int]], limit: int | None, extra: Iterable[int] = ()
) -> list[int]:
    """Frames to look at, in order: some of every task, as few as cover them all.

    Args:
        labelled: task to the frames that have its label.
        limit: of frames for each task; ``None`` takes all.
        extra: frames to look at in any case.
    """
    chosen: set[int] = set()
    # Rarest label first: its frames usually have the other labels too.
    for indices in sorted(labelled.values(), key=len):
        if limit is None:
            chosen.update(indices)
        elif len(chosen.intersection(indices)) < min(limit, len(indices)):
            chosen.update(spread(indices, limit))
    return sorted(chosen.union(extra))
