"""Any dataset is checked through its samples: a class of the user's own, a manifest, prepared samples."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from stablemtl.data.catalog import CATALOG, describe_class
from stablemtl.data.doctor import check_data
from stablemtl.data.sample import Sample, image_tensor, label_tensor, mask_tensor

FRAMES = 4


class Own:
    """A street with every label, from another camera than the public datasets'."""

    name = "own"
    tasks = ("semantic", "normal", "depth", "optical_flow", "scene_flow", "shading", "albedo")
    splits = ("train",)
    samples: dict  # task to samples, set by the fixture

    def __init__(self, root, split):
        pass

    def __len__(self):
        return FRAMES

    def indices(self, task):
        return range(FRAMES)

    def load(self, index, task):
        sample = self.samples[task][index]
        if isinstance(sample, Exception):
            raise sample
        return sample


@pytest.fixture
def own(good_data, monkeypatch, tmp_path):
    """The class; ``own.samples`` may be spoilt."""
    box = good_data.Box("own", room=False)
    samples = {task: [] for task in Own.tasks}
    for number in range(FRAMES):
        eye = np.array([0.2 * number, 0, 0])
        move = good_data.MOVE * [1, (-1) ** number, 1]
        view, after = box.view(eye), box.view(eye + move)
        labels = {
            "semantic": view.plane % 8,
            "normal": view.normal,
            "depth": view.points[..., 2],
            "optical_flow": box.flow(view, move),
            "scene_flow": np.broadcast_to(-move, view.points.shape),
            "shading": view.albedo[..., 0],
            "albedo": view.albedo,
        }
        for task, label in labels.items():
            samples[task].append(
                Sample(
                    image=image_tensor(view.image),
                    image_next=image_tensor(after.image) if "flow" in task else None,
                    target=label_tensor(label),
                    valid=mask_tensor(np.ones(good_data.SIZE, bool)),
                    task=task,
                    dataset="own",
                    key=f"frame {number}",
                )
            )
    monkeypatch.setattr(Own, "samples", samples, raising=False)
    monkeypatch.setitem(CATALOG, "own", describe_class(Own))
    (tmp_path / "own").mkdir()
    return Own


def check(tmp_path):
    return [(f.severity, f.check, f.about) for f in check_data(tmp_path).findings], check_data(tmp_path)


def change(own, task, **fields):
    """Change fields of all samples of a task by functions."""
    own.samples[task] = [
        replace(sample, **{name: function(getattr(sample, name)) for name, function in fields.items()})
        for sample in own.samples[task]
    ]


def patch(tensor, value):
    tensor = tensor.clone()
    tensor[:, 10:20, 10:20] = value
    return tensor


def test_good_samples_pass(own, tmp_path):
    found, report = check(tmp_path)
    assert found == []
    assert report.samples == 7 * FRAMES
    (split,) = report.splits
    assert (split.dataset, split.split, split.frames, split.official, split.looked_at) == (
        "own",
        "train",
        4,
        None,
        4,
    )


@pytest.mark.parametrize(
    ("task", "fields", "expected", "words"),
    [
        (
            "depth",
            {"target": lambda t: patch(t, np.nan)},
            ("error", "not-finite", "depth"),
            "depth holds NaN",
        ),
        ("depth", {"target": lambda t: patch(t, -1)}, ("error", "depth-range", "depth"), "must be positive"),
        ("depth", {"target": lambda t: 1000 * t}, ("error", "depth-unit", "depth"), "not in metres"),
        (
            "depth",
            {"target": lambda t: 5 * t % 65.536},
            ("error", "depth-overflow", "depth"),
            "of millimetres",
        ),
        ("albedo", {"valid": torch.zeros_like}, ("error", "all-invalid", "albedo"), "in 4 of 4 frames"),
        ("albedo", {"target": lambda t: 255 * t}, ("error", "albedo-range", "albedo"), "in [0, 1]"),
        ("shading", {"target": lambda t: t - 0.5}, ("error", "shading-range", "shading"), "in [0, 1]"),
        ("semantic", {"target": lambda t: t + 7}, ("error", "class-ids", "semantic"), "0 to 7"),
        ("semantic", {"target": lambda t: t.float()}, ("error", "class-ids", "semantic"), "integers"),
        ("normal", {"target": lambda t: -t}, ("error", "normal-convention", ""), "of the opposite sign"),
        ("normal", {"target": lambda t: t[[2, 1, 0]]}, ("error", "normal-convention", ""), "as (z, y, x)"),
        ("normal", {"target": lambda t: 0.95 * t}, ("warning", "normal-length", ""), "unit length"),
        ("normal", {"target": lambda t: 0.8 * t}, ("error", "normal-length", ""), "unit length"),
        ("optical_flow", {"target": lambda t: -t}, ("error", "flow-convention", ""), "looks negated"),
        ("scene_flow", {"target": lambda t: -t}, ("error", "scene-flow", ""), "of the opposite sign"),
        ("semantic", {"image": lambda t: 255 * t}, ("error", "image-range", "image"), "must be in [0, 1]"),
        ("semantic", {"image": lambda t: 0 * t}, ("warning", "blank-image", "image"), "of one colour"),
        ("semantic", {"image": lambda t: patch(t, np.inf)}, ("error", "not-finite", "image"), "image holds"),
    ],
)
def test_spoilt_samples(own, tmp_path, task, fields, expected, words):
    if "image" in fields:  # the images of a pair are looked at first
        own.tasks = ("semantic",)
    change(own, task, **fields)
    try:
        found, report = check(tmp_path)
    finally:
        own.tasks = tuple(own.samples)
    assert found == [expected]
    assert words in report.findings[0].message
    assert report.findings[0].count == FRAMES


def test_a_frame_that_fails(own, tmp_path):
    own.samples["albedo"][1] = KeyError("albedo_1")
    own.samples["depth"][2] = FileNotFoundError("no file depth_2.png")
    own.samples["shading"][3] = ValueError("target must be (C, 48, 64), got (1, 24, 32) float32.")
    found, report = check(tmp_path)
    assert set(found) == {
        ("error", "unreadable", "albedo"),
        ("error", "missing-file", "depth"),
        ("error", "size", "shading"),
    }
    examples = " ".join(example for finding in report.findings for example in finding.examples)
    assert "frame 1: KeyError: 'albedo_1'" in examples
    assert report.samples == 7 * FRAMES - 3


def test_a_class_that_fails(own, tmp_path, monkeypatch):
    monkeypatch.setattr(own, "indices", lambda self, task: {}[task])
    found, report = check(tmp_path)
    assert found == [("error", "index", "")]
    assert "frames cannot be listed" in report.findings[0].message

    monkeypatch.setattr(own, "__init__", lambda self, root, split: {}["x"])
    _, report = check(tmp_path)
    assert report.findings[0].check == "index"
    assert report.findings[0].examples == ("KeyError: 'x'",)
    assert report.samples == 0
    assert report.seconds_per_thousand == 0


def test_a_class_without_frames(own, tmp_path, monkeypatch):
    monkeypatch.setattr(own, "__len__", lambda self: 0)
    (tmp_path / "own" / "pictures").mkdir()
    _, report = check(tmp_path)
    assert (report.findings[0].severity, report.findings[0].check) == ("error", "empty-split")
    assert "no frame of any split in own; in it is pictures" in report.findings[0].message


def test_a_manifest(good_data, tmp_path):
    """A pair of pictures with flow; the second time negated."""
    from stablemtl.data.formats import write_flo, write_rgb, write_text

    box = good_data.Box("own", room=True)
    folder = tmp_path / "street"
    view = box.view(np.zeros(3))
    write_rgb(folder / "a.png", view.image)
    write_rgb(folder / "b.png", box.view(good_data.MOVE).image)
    write_flo(folder / "flow.flo", box.flow(view, good_data.MOVE))
    write_text(folder / "manifest.csv", "image,image_next,optical_flow\na.png,b.png,flow.flo\n")
    found, report = check(tmp_path)
    assert set(found) == {("note", "empty-split", "")}
    assert report.healthy
    assert report.samples == 1
    _, alone = check(folder)  # the dataset's own folder
    assert [split.dataset for split in alone.splits] == ["street"] * 3

    write_flo(folder / "flow.flo", -box.flow(view, good_data.MOVE))
    found, report = check(tmp_path)
    assert ("error", "flow-convention", "") in found

    (folder / "flow.flo").unlink()
    found, report = check(tmp_path)
    assert ("error", "index", "") in found
    assert "flow.flo" in report.findings[0].examples[0]
