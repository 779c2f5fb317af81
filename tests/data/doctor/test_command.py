"""``stablemtl data check``."""

from __future__ import annotations

import json

import pytest

from stablemtl.cli import main


def test_healthy_data(good_root, tmp_path, capsys):
    out = tmp_path / "report.json"
    arguments = ["--datasets", "flyingchairs", "--json", str(out), "--samples", "2"]
    assert main(["data", "check", str(good_root), *arguments]) == 0
    shown = capsys.readouterr().out
    assert "flyingchairs" in shown
    assert "22,232" in shown
    assert "0 errors, 0 warnings, 2 notes" in shown
    assert "s per 1,000 samples (1 process)" in shown
    assert "read 4 of 6 frames; --deep reads them all" in shown
    assert json.loads(out.read_text())["samples"] == 4


def test_json_on_stdout(copy_of_good, capsys):
    root = copy_of_good("FlyingChairs_release")
    (root / "FlyingChairs_release" / "data" / "00001_img2.ppm").unlink()
    assert main(["data", "check", str(root), "--json", "-"]) == 1
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert captured.err == ""
    assert (found["root"], found["healthy"]) == (str(root), False)
    (error,) = (finding for finding in found["findings"] if finding["severity"] == "error")
    assert (error["check"], error["examples"]) == ("missing-file", ["data/00001_img2.ppm"])
    assert not (root / "-").exists()


def test_errors_give_status_1(copy_of_good, capsys):
    root = copy_of_good("FlyingChairs_release")
    (root / "FlyingChairs_release" / "data" / "00001_img2.ppm").unlink()
    assert main(["data", "check", str(root)]) == 1
    shown = " ".join(capsys.readouterr().out.split())
    assert "error missing-file flyingchairs train: img2 files are missing data/00001_img2.ppm" in shown
    assert "1 error, 0 warnings" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--samples", "0"], "--samples must be 1 or more, got 0"),
        (["--workers", "-1"], "--workers must be 0 or more, got -1"),
        (["--json", "."], "--json . is a folder"),
        (["--datasets", "sintel"], "no dataset sintel in"),
    ],
)
def test_wrong_options_give_one_line(arguments, message, good_root, capsys):
    assert main(["data", "check", str(good_root), *arguments]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert "Traceback" not in captured.err


def test_no_data(tmp_path, capsys):
    assert main(["data", "check", str(tmp_path / "none")]) == 2
    assert "no data folder" in capsys.readouterr().err
