from __future__ import annotations

import pytest

from stablemtl.data import Entry, mixture_entries, task_graph


class Labels:
    """A dataset with some labelled frames of each task, and no files."""

    def __init__(self, name: str, **frames: int) -> None:
        self.name, self.tasks, self.frames = name, tuple(frames), frames

    def __len__(self) -> int:
        return max(self.frames.values())

    def indices(self, task: str) -> range:
        return range(self.frames[task])


HYPERSIM = Labels("hypersim", albedo=40, shading=40, depth=40, normal=60)
VKITTI = Labels("vkitti2", semantic=20, depth=20, normal=20, optical_flow=18, scene_flow=18)
THINGS = Labels("flyingthings3d", optical_flow=30, scene_flow=30)


def named(*datasets: Labels) -> dict[str, Labels]:
    return {dataset.name: dataset for dataset in datasets}


def test_own_datasets_join_the_published_pairs_with_weight_one():
    own = Labels("photos", depth=5, albedo=2, shading=0)
    entries = mixture_entries(named(HYPERSIM, own))
    assert [(e.dataset.name, e.task, e.weight) for e in entries] == [
        ("hypersim", "albedo", 1.0),
        ("hypersim", "shading", 1.0),
        ("hypersim", "depth", 0.9),
        ("hypersim", "normal", 0.9),
        ("photos", "depth", 1.0),
        ("photos", "albedo", 1.0),  # and not shading, of which it has no frame
    ]
    only = mixture_entries(named(HYPERSIM, own), [("photos", "depth", 2.0)])
    assert [(e.dataset.name, e.task, e.weight) for e in only] == [("photos", "depth", 2.0)]


def test_the_graph_of_the_paper_is_connected():
    graph = task_graph(mixture_entries(named(HYPERSIM, VKITTI, THINGS)))
    assert graph.components == (
        (
            ("hypersim", "vkitti2", "flyingthings3d"),
            ("albedo", "shading", "depth", "normal", "semantic", "optical_flow", "scene_flow"),
        ),
    )
    assert graph.samples["vkitti2", "optical_flow"] == 18
    assert graph.samples_of("depth") == 60
    assert graph.shares["hypersim", "depth"] == pytest.approx(0.9)
    assert graph.shares["flyingthings3d", "scene_flow"] == pytest.approx(0.5)


def test_a_subset_has_weights_of_its_own_and_may_fall_apart():
    graph = task_graph(
        mixture_entries(named(VKITTI, HYPERSIM, THINGS), tasks=["albedo", "scene_flow", "depth"])
    )
    assert graph.components == (
        (("hypersim", "vkitti2", "flyingthings3d"), ("albedo", "depth", "scene_flow")),
    )
    apart = task_graph(mixture_entries(named(HYPERSIM, THINGS)))
    assert apart.components == (
        (("hypersim",), ("albedo", "shading", "depth", "normal")),
        (("flyingthings3d",), ("optical_flow", "scene_flow")),
    )
    assert apart.shares["flyingthings3d", "optical_flow"] == 1.0


def test_two_parts_are_joined_by_a_later_pair():
    first, second, both = Labels("a", depth=1), Labels("b", normal=1), Labels("c", depth=1, normal=1)
    entries = [Entry(first, "depth", 1), Entry(second, "normal", 1)]
    assert len(task_graph(entries).components) == 2
    joined = task_graph([*entries, Entry(both, "depth", 3), Entry(both, "normal", 1)])
    assert joined.components == ((("a", "c", "b"), ("depth", "normal")),)
    assert joined.shares["c", "depth"] == 0.75


def test_entries_of_the_same_pair_are_added_up():
    graph = task_graph([Entry(HYPERSIM, "depth", 1), Entry(HYPERSIM, "depth", 2), Entry(VKITTI, "depth", 1)])
    assert graph.shares == {("hypersim", "depth"): 0.75, ("vkitti2", "depth"): 0.25}
    assert graph.samples_of("depth") == 60


def test_the_graph_as_text():
    text = str(task_graph(mixture_entries(named(HYPERSIM, THINGS), tasks=["depth", "optical_flow"])))
    assert text.splitlines() == [
        "task            hypersim  flyingthings3d  samples",
        "depth         40 (100 %)               -       40",
        "optical_flow           -      30 (100 %)       30",
        "component 1: hypersim label depth",
        "component 2: flyingthings3d label optical_flow",
    ]
