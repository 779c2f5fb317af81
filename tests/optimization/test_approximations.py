"""``benchmarks/approximations.py``: what it measures is right, and it runs on a tiny network."""

from __future__ import annotations

import copy
import importlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from stablemtl import StableMTLPipeline
from stablemtl.data.sample import Sample

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, tiny_pipeline: StableMTLPipeline) -> Any:
    """The script; each network it loads is a tiny one of its own, and its pictures are small."""
    monkeypatch.syspath_prepend(str(FOLDER))
    module = importlib.import_module("approximations")

    def load(size, device, dtype) -> StableMTLPipeline:
        model, vae = copy.deepcopy(tiny_pipeline.model), copy.deepcopy(tiny_pipeline.vae)
        return StableMTLPipeline(model, vae, tiny_pipeline.config["task_options"])

    def frames(options) -> list[Sample]:
        image, image_next = torch.rand(2, 3, 10, 14, generator=torch.Generator().manual_seed(0))
        label = {"target": torch.zeros(2, 10, 14), "valid": torch.ones(1, 10, 14, dtype=torch.bool)}
        return [
            Sample(image=image, image_next=image_next, task="optical_flow", dataset="x", key="x", **label)
        ]

    monkeypatch.setattr(module, "load", load)
    monkeypatch.setattr(module, "frames", frames)
    return module


def test_it_runs(script, tmp_path, capsys) -> None:
    only = ("as loaded", "bfloat16", "float16", "single_stream")
    costs, maps, scores = script.main(
        script.ApproximationOptions(height=12, width=20, repeats=1, out=tmp_path, only=only)
    )
    assert [row["option"] for row in costs.rows] == ["exact", "as loaded", "bfloat16", "single_stream"]
    assert any(note.startswith("float16: left out.") and "needs a GPU" in note for note in costs.notes)
    by_name = {row["option"]: row for row in costs.rows}
    assert by_name["bfloat16"]["weights_MB"] == pytest.approx(by_name["exact"]["weights_MB"] / 2)
    assert by_name["bfloat16"]["ratio"] == pytest.approx(
        by_name["bfloat16"]["exact_seconds"] / by_name["bfloat16"]["seconds"]
    )
    found = {(row["option"], row["task"]): row for row in maps.rows}
    assert found["bfloat16", "depth"]["mean"] > found["as loaded", "depth"]["mean"]
    assert found["as loaded", "depth"]["unit"] == "m"
    assert found["as loaded", "semantic"]["unit"] == "changed"
    assert scores.rows == []
    written = sorted(path.name for path in tmp_path.iterdir())
    assert written == [f"approximations_nano_cpu_float32_{kind}.json" for kind in ("costs", "maps")]
    assert json.loads((tmp_path / written[0]).read_text())["rows"][0]["option"] == "exact"
    assert "times as fast" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="unknown fp8; choose from as loaded, fast"):
        script.variants(script.ApproximationOptions(only=("fp8",)))


def test_one_thing_changes_at_a_time(script) -> None:
    options = script.ApproximationOptions(compile=True, tiny_codec="a/b", dtype="bfloat16")
    found = script.variants(options)
    assert found["single_stream"] == {
        "mode": "fast",
        "dtype": torch.bfloat16,
        "single_stream": True,
        "compile": False,
    }
    assert found["compile"] == {"mode": "exact", "compile": True}
    assert found["tiny_codec, decoder"]["tiny_codec_parts"] == "decoder"
    assert "compile" not in script.variants(script.ApproximationOptions())


def test_differences(script) -> None:
    expected = {"depth": [np.zeros((2, 2)), np.zeros((1, 4))], "semantic": [np.array([[1, 2], [3, 4]])]}
    found = {
        "depth": [np.array([[1.0, 0.0], [0.0, -3.0]]), np.zeros((1, 4))],
        "semantic": [np.array([[1, 7], [3, 4]])],
    }
    depth, semantic = script.differences("x", {"depth": "m", "semantic": ""}, expected, found)
    assert (depth["mean"], depth["largest"], depth["unit"]) == (0.5, 3.0, "m")
    assert (semantic["mean"], semantic["largest"], semantic["unit"]) == (0.25, 1.0, "changed")


def test_figures(script) -> None:
    def one(value: float) -> Any:
        return SimpleNamespace(
            headline="epe",
            model={"epe": value},
            ceiling={"epe": 0.5},
            n=3,
            benchmark=SimpleNamespace(name="kitti optical_flow"),
        )

    row = script.figures("x", one(2.5), one(2.0))
    assert (row["score"], row["exact"], row["change_%"], row["ceiling"]) == (2.5, 2.0, 25.0, 0.5)


def test_ratio_is_taken_of_runs_side_by_side(script, tiny_pipeline) -> None:
    row = script.cost("x", tiny_pipeline, 2_000_000, ([2.0, 4.0, 9.0], [1.0, 4.0, 3.0]))
    assert (row["ratio"], row["lowest"], row["highest"]) == (2.0, 1.0, 3.0)
    assert (row["seconds"], row["exact_seconds"], row["added_MB"]) == (3.0, 4.0, 2.0)
