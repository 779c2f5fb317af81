"""`stablemtl data describe` and `stablemtl data index`; the other subcommands have files of their own."""

from __future__ import annotations

import json

import pytest

from stablemtl.cli import main
from stablemtl.data import Hypersim


def test_describe_prints_the_graph(data_root, capsys):
    assert main(["data", "describe", str(data_root)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["task", "hypersim", "vkitti2", "flyingthings3d", "flyingchairs", "samples"]
    depth = next(line for line in lines if line.startswith("depth"))
    assert depth.split() == ["depth", "2", "(90", "%)", "6", "(10", "%)", "-", "-", "8"]
    assert lines[-1].startswith("component 1: hypersim, vkitti2, flyingthings3d, flyingchairs label albedo, ")


def test_describe_some_tasks_of_a_held_out_part(data_root, capsys):
    arguments = ["data", "describe", str(data_root), "--split", "val", "--tasks", "albedo", "optical_flow"]
    assert main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2:] == [
        "component 1: hypersim label albedo",
        "component 2: vkitti2, flyingthings3d, flyingchairs label optical_flow",
    ]


def test_describe_as_json(data_root, capsys):
    arguments = ["data", "describe", str(data_root), "--split", "val", "--tasks", "albedo", "optical_flow"]
    assert main([*arguments, "--json"]) == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert captured.err == ""
    assert (found["root"], found["split"]) == (str(data_root), "val")
    assert found["tasks"] == ["albedo", "optical_flow"]
    assert found["datasets"] == ["hypersim", "vkitti2", "flyingthings3d", "flyingchairs"]
    flow = [label for label in found["labels"] if label["task"] == "optical_flow"]
    assert sum(label["share"] for label in flow) == pytest.approx(1)
    assert all(label["samples"] > 0 for label in flow)
    assert found["components"] == [
        {"datasets": ["hypersim"], "tasks": ["albedo"]},
        {"datasets": ["vkitti2", "flyingthings3d", "flyingchairs"], "tasks": ["optical_flow"]},
    ]


def test_describe_errors(tmp_path, data_root, capsys):
    assert main(["data", "describe", str(tmp_path / "none")]) == 2
    assert "no data folder" in capsys.readouterr().err
    assert main(["data", "describe", str(data_root), "--tasks", "colour"]) == 2
    assert "unknown task 'colour'; choose from albedo" in capsys.readouterr().err


def test_index_lists_complete_frames(fakes, tmp_path, capsys):
    fakes.write_hypersim(tmp_path / "hypersim")
    assert main(["data", "index", str(tmp_path), "--workers", "1"]) == 0
    assert capsys.readouterr().out.startswith("0 of 2 frames are complete: ")  # every fake frame has a hole
    assert list(Hypersim(tmp_path / "hypersim").indices("albedo")) == []
    assert main(["data", "index", str(tmp_path), "--workers", "0"]) == 2
    assert "--workers must be 1 or more, got 0" in capsys.readouterr().err
    assert main(["data", "index", str(tmp_path / "none")]) == 2
    assert "hypersim: no folder" in capsys.readouterr().err
