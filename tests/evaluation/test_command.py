"""``stablemtl evaluate``: what it prints and writes, and what it refuses."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stablemtl import cli
from stablemtl.evaluation import read_report


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def call(*arguments: object) -> tuple[int, str, str]:
        status = cli.main(["evaluate", *map(str, arguments)])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


def test_prints_and_writes(run: Any, data_root: Path, tiny_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "report.json"
    arguments = ("--data", data_root, "--model", tiny_folder, "--split", "val", "--no-motorcycle")
    options = ("--tasks", "albedo", "depth", "--single-stream", "--limit", 2, "--device", "cpu")
    status, stdout, stderr = run(*arguments, *options, "--out", out)
    assert (status, stderr) == (0, "")
    for word in ("hypersim", "vkitti2", "abs_rel", "rmse", "constant", "ceiling", "report.json"):
        assert word in stdout
    assert "Delta_m" not in stdout
    report = json.loads(out.read_text())
    assert report["model"] == str(tiny_folder)
    assert report["single_stream"] is True
    assert [s["task"] for s in report["scores"]] == ["albedo", "depth", "depth"]
    assert sorted(path.name for path in out.parent.iterdir()) == [
        "report.html", "report.json", "report.md", "report.parquet",
    ]  # fmt: skip


def test_table_2_and_pictures(run: Any, bench_root: Path, tiny_folder: Path, tmp_path: Path) -> None:
    """Then once more with that report as the baseline: no change at all."""
    arguments = ("--data", bench_root, "--model", tiny_folder, "--protocol", "paper", "--cases", 1)
    tasks = ("--tasks", "semantic", "optical_flow")
    status, stdout, stderr = run(*arguments, *tasks, "--out", tmp_path / "a")
    assert (status, stderr) == (0, "")
    for word in ("mIoU %", "EPE-2D px", "Delta_m %", "StableMTL (paper)", "(2 of 8)", "cityscapes 2 of 500"):
        assert word in stdout
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [
        "cases", "report.html", "report.json", "report.md", "report.parquet",
    ]  # fmt: skip
    assert sorted(path.name for path in (tmp_path / "a" / "cases").iterdir()) == [
        f"{name}-{kind}.png"
        for name in ("cityscapes-semantic", "kitti_flow-optical_flow")
        for kind in ("best", "worst")
    ]
    assert "| StableMTL (paper) |" in (tmp_path / "a" / "report.md").read_text()
    report = read_report(tmp_path / "a" / "report.json", records=True)
    assert [len(score.records) for score in report.scores] == [2, 2]
    baseline = ("--baseline", tmp_path / "a" / "report.json", "--out", tmp_path / "b.json")
    status, stdout, stderr = run(*arguments, *tasks, *baseline)
    assert (status, stderr) == (0, "")
    assert "+0.00 (2 of 8)" in stdout
    assert "(paper)" not in stdout


def test_json_is_all_that_is_printed(run: Any, bench_root: Path, tiny_folder: Path, tmp_path: Path) -> None:
    """Also where something is left out, which stderr says."""
    root = tmp_path / "bench"
    shutil.copytree(bench_root / "diode", root / "diode")
    next((root / "diode").rglob("*_normal.npy")).write_bytes(b"")
    arguments = ("--data", root, "--model", tiny_folder, "--protocol", "paper", "--out", tmp_path / "r.json")
    status, stdout, stderr = run(*arguments, "--json")
    assert status == 1
    assert "left out: diode normal, sample 0:" in " ".join(stderr.split())
    document = json.loads(stdout)
    summary, out = document.pop("summary"), document.pop("out")
    assert document == json.loads((tmp_path / "r.json").read_text())
    assert out == str(tmp_path / "r.json")
    normal, depth = document["scores"]
    assert (normal["task"], normal["headline"], depth["n"]) == ("normal", "mean_angular_error", 2)
    mine = summary["rows"][0]
    assert mine["cells"][1] == normal["model"]["mean_angular_error"]
    assert mine["cells"][0] is None
    assert mine["columns"] == 2
    status, stdout, _ = run(*arguments, "--protocol", "native", "--json", "--no-motorcycle")
    assert json.loads(stdout)["summary"] is None


def test_missing_files(run: Any, bench_root: Path, tiny_folder: Path, tmp_path: Path) -> None:
    root = tmp_path / "bench"
    for name in ("cityscapes", "diode"):
        shutil.copytree(bench_root / name, root / name)
    shutil.rmtree(root / "cityscapes" / "gtFine")
    next((root / "diode").rglob("*_normal.npy")).write_bytes(b"")
    options = ("--model", tiny_folder, "--no-motorcycle", "--tasks", "normal", "semantic", "depth")
    status, stdout, stderr = run("--data", root, *options, "--out", tmp_path / "report.json")
    assert status == 1
    assert "abs_rel" in stdout
    text = " ".join(stderr.split())
    assert "left out: cityscapes: cityscapes (val split): there are pictures, but no folder gtFine" in text
    assert "left out: diode normal, sample 0:" in text
    assert "1 sample could not be read" in text
    counts = {
        s["task"]: (s["n"], len(s["unreadable"]))
        for s in json.loads((tmp_path / "report.json").read_text())["scores"]
    }
    assert counts == {"normal": (1, 1), "depth": (2, 0)}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--data", "none"], "--data: there is no folder none."),
        (["--data", ".", "--out", "table.txt"], "--out must be a JSON file or a folder, got table.txt"),
        (["--data", ".", "--out", "file"], "--out file is a file without the ending .json"),
        (["--data", ".", "--baseline", "none.json"], "--baseline: there is no file none.json."),
        (["--data", ".", "--limit", "-1"], "--limit must be 0 or more, got -1."),
        (["--data", ".", "--cases", "-1"], "--cases must be 0 or more, got -1."),
        (["--data", ".", "--device", "cpu", "--dtype", "float16"], "float16 needs a GPU"),
    ],
)
def test_refuses(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    status, stdout, stderr = run(*options)
    assert (status, stdout) == (2, "")
    assert message in stderr
    assert len(stderr.strip().splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
