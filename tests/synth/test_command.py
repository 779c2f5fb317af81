"""``stablemtl synth``."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stablemtl import __version__, cli
from stablemtl.data import open_datasets

SOURCE = Path(__file__).resolve().parents[2] / "src"
TINY = ("--size", "24", "32", "--samples", "2")


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["synth", "--help"]) == 0
    shown = capsys.readouterr().out
    for word in (
        "--out",
        "--worlds",
        "--bench",
        "--textures",
        "--size",
        "--seed",
        "Virtual KITTI 2",
        "DIODE",
    ):
        assert word in shown


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--count", "0"], "count must be at least 1, got 0"),
        (["--size", "8", "8"], "size must be at least 16 x 16 px"),
        (["--worlds", "rooms", "rooms"], "worlds must be some of"),
        (["--textures", "missing"], "textures: no folder missing"),
        (["--bench", "--split", "test"], "leave worlds and split out"),
    ],
)
def test_wrong_options_give_one_line_and_no_files(
    options: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["synth", "--out", "data", *options]) == 2
    captured = capsys.readouterr()
    assert message in captured.out + captured.err
    assert "Traceback" not in captured.err
    assert list(tmp_path.iterdir()) == []


def test_unknown_world(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["synth", "--out", "data", "--worlds", "cities"]) == 2
    captured = capsys.readouterr()
    assert "cities" in captured.out + captured.err


def test_another_recipe_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["synth", "--out", str(tmp_path), "--worlds", "cutouts", "--count", "1", "--size", "24", "32"]
    (tmp_path / "synth-train-cutouts.json").write_text('{"seed": 3}')
    assert cli.main(command) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.strip().splitlines()) == 1
    assert "seed 3 there, 0 now" in captured.err


def test_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "[mini]"
    command = ["synth", "--out", str(out), *TINY, "--worlds", "cutouts", "--processes", "1", "--json"]
    for new in (2, 0):
        assert cli.main([*command, "--count", "2"]) == 0
        captured = capsys.readouterr()
        assert captured.err == ""
        found = json.loads(captured.out)
        assert found.pop("seconds") > 0
        folder = out / "FlyingChairs_release"
        assert found == {
            "stablemtl": __version__,
            "out": str(out),
            "part": "train",
            "minibench": None,
            "size": [24, 32],
            "seed": 0,
            "worlds": {"cutouts": {"scenes": 2, "new": new, "recipe": str(out / "synth-train-cutouts.json")}},
            "datasets": {
                "flyingchairs": {
                    "folder": str(folder),
                    "bytes": sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()),
                }
            },
            "new": new,
        }
        assert len(open_datasets(out)["flyingchairs"]) == 2
    assert cli.main([*command, "--textures", "missing"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "textures: no folder missing" in captured.err


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
def test_ctrl_c_and_once_more(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A terminal sends the signal to all processes. One line is shown, what is done stays and counts."""
    arguments = ["synth", "--out", str(tmp_path), *TINY, "--processes", "1"]
    command = [
        sys.executable,
        "-m",
        "stablemtl",
        *arguments,
        "--worlds",
        "things",
        "cutouts",
        "--count",
        "200",
    ]
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    with subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            deadline = time.monotonic() + 90
            while not list(tmp_path.glob("FlyingChairs_release/data/*.flo")) and process.poll() is None:
                assert time.monotonic() < deadline
                time.sleep(0.02)
            os.killpg(process.pid, signal.SIGINT)
            _, stderr = process.communicate(timeout=90)
        finally:
            process.kill()
    assert process.returncode == 130, stderr
    assert stderr.strip().splitlines() == ["stablemtl synth: interrupted; no file was left half-written"]
    assert not [name for name in tmp_path.rglob("*") if name.name.startswith(".")]

    done = len(list(tmp_path.glob("FlyingThings3D_subset/train/flow/left/into_future/*.flo")))
    assert 1 <= done < 100
    capsys.readouterr()
    assert cli.main([*arguments, "--worlds", "things", "--count", str(done)]) == 0
    shown = capsys.readouterr().out
    assert f"0 new scenes in 0 s; {done} in" in " ".join(shown.split())
    things = open_datasets(tmp_path)["flyingthings3d"]
    assert len(things) == done
    assert things.load(done - 1, "scene_flow").valid.any()
