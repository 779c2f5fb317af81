"""Which dataset trains which task, and how often: the published pairs, and those of own data."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from stablemtl.data.mixture import Entry
from stablemtl.data.sample import Dataset

STABLEMTL_PAIRS: tuple[tuple[str, str, float], ...] = (
    ("hypersim", "albedo", 1.0),
    ("hypersim", "shading", 1.0),
    ("hypersim", "depth", 0.9),
    ("vkitti2", "depth", 0.1),
    ("hypersim", "normal", 0.9),
    ("vkitti2", "normal", 0.1),
    ("vkitti2", "semantic", 1.0),
    ("vkitti2", "optical_flow", 0.5),
    ("flyingthings3d", "optical_flow", 0.5),
    ("vkitti2", "scene_flow", 0.5),
    ("flyingthings3d", "scene_flow", 0.5),
    ("flyingchairs", "optical_flow", 0.5),
)
"""(dataset, task, weight): StableMTL's eleven pairs in its order, then FlyingChairs, used where present."""


def mixture_entries(
    datasets: Mapping[str, Dataset],
    pairs: Iterable[tuple[str, str, float]] | None = None,
    *,
    tasks: Collection[str] | None = None,
) -> list[Entry]:
    """Entries of a ``Mixture``: the pairs whose dataset is present, for some or all tasks.

    Args:
        datasets: name to dataset, as from ``open_datasets``.
        pairs: (dataset name, task, weight). ``None`` takes ``STABLEMTL_PAIRS``, and every task of the
            datasets that they do not name, such as a user's own, with weight 1.
        tasks: to keep; ``None`` keeps those that any present dataset labels.
    Raises:
        ValueError: a task of ``tasks`` is labelled by none of the datasets.
    """
    if pairs is None:
        named = {name for name, _, _ in STABLEMTL_PAIRS}
        own = [
            (name, task, 1.0)
            for name, dataset in datasets.items()
            if name not in named
            for task in dataset.tasks
            if len(dataset.indices(task))
        ]
        pairs = [*STABLEMTL_PAIRS, *own]
    present = [(name, task, weight) for name, task, weight in pairs if name in datasets]
    labelled = {task for _, task, _ in present}
    missing = sorted(set(tasks or ()) - labelled)
    if missing:
        raise ValueError(
            f"no dataset among {', '.join(datasets) or 'none'} has labels for {', '.join(missing)}; "
            f"they have {', '.join(sorted(labelled)) or 'none'}."
        )
    return [
        Entry(datasets[name], task, weight)
        for name, task, weight in present
        if tasks is None or task in tasks
    ]
