"""``stablemtl predict`` of many images, of one with further options, and what it refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diffusers import AutoencoderTiny
from PIL import Image

from stablemtl.commands import predict_checks
from stablemtl.commands.predict import PredictConfig
from stablemtl.folders import JOURNAL, RESULTS, Predictor, read_results, work
from stablemtl.outputs import read_prediction

Run = Callable[..., tuple[int, str, str]]
SOURCE = Path(__file__).resolve().parents[2] / "src"


@pytest.fixture
def options(tiny_folder: Path) -> Sequence[object]:
    return ("--model", tiny_folder, "--tasks", "depth", "--formats", "npz", "--out", "maps")


# many images ------------------------------------------------------------------------------------------------


def test_a_folder(run: Run, photos: Path, options: Sequence[object]) -> None:
    (photos / "notes.txt").touch()
    status, stdout, stderr = run("predict", photos, "--recursive", *options)
    assert status == 0
    assert "4 of 4 images predicted; " in stdout
    assert f"a row for each image in maps/{RESULTS}" in stdout
    assert stderr.splitlines()[0] == "left out: 1 other files, which are no images by their suffix"
    assert [line.partition(":")[0] for line in stderr.splitlines()[1:]] == [
        "1/4 f0.png",
        "2/4 f1.png",
        "3/4 f2.png",
        "4/4 sub/f0.png",
    ]
    assert read_prediction("maps/sub/f0/depth.npz").size == (18, 27)
    sidecar = json.loads(Path("maps/sub/f0/maps.json").read_text())
    assert sidecar["source"]["inputs"] == ["sub/f0.png"]
    status, stdout, stderr = run("predict", photos, "--recursive", *options)
    assert (status, stderr) == (0, "left out: 1 other files, which are no images by their suffix\n")
    assert "0 of 4 images predicted, 4 were finished already; " in stdout


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        (["photos/f0.png", "photos/f1.png"], ["f0", "f1"]),
        (["photos/f*.png"], ["f0", "f1", "f2"]),
        (["photos", "--pair", "f0 f2"], ["f0"]),
        (["--list", "list.txt"], ["f2", "sub/f0"]),
        (["photos/f1.png", "--pair", "sequence"], ["f1"]),
    ],
)
def test_what_counts_as_many(
    run: Run, photos: Path, options: Sequence[object], inputs: list[str], outputs: list[str]
) -> None:
    Path("list.txt").write_text("photos/f2.png,photos/f1.png\nphotos/sub/f0.png\n")
    status, _, stderr = run("predict", *inputs, *options)
    assert status == 0, stderr
    rows = read_results("maps")
    assert [row.output for row in rows] == outputs
    paired = {"f0 f2": "f2.png", "list.txt": "f1.png"}.get(inputs[-1])
    assert (None if rows[0].image_next is None else rows[0].image_next.name) == paired


def test_failures_are_listed_and_the_status_says_so(
    run: Run, photos: Path, options: Sequence[object]
) -> None:
    (photos / "f1.png").write_bytes(b"no image")
    status, stdout, stderr = run("predict", photos, *options)
    assert status == 1
    assert "2 of 3 images predicted, 1 failed; " in stdout
    assert stderr.splitlines()[-1].startswith("failed: f1.png: the picture is not an image that can be read")
    assert "Traceback" not in stderr
    status, stdout, _ = run("predict", photos, *options, "--fail-fast")
    assert status == 1
    assert "0 of 3 images predicted, 2 were finished already, 1 failed; " in stdout


def test_json_of_many(run: Run, photos: Path, options: Sequence[object]) -> None:
    (photos / "f1.png").write_bytes(b"no image")
    status, stdout, _ = run("predict", photos, *options, "--json")
    document = json.loads(stdout)
    assert status == 1
    assert document["kind"] == "images"
    assert [document[key] for key in ("pictures", "ok", "skipped", "failed")] == [3, 2, 0, 1]
    assert document["table"] == f"maps/{RESULTS}"
    assert [row["status"] for row in document["results"]] == ["ok", "failed", "ok"]
    assert document["results"][0]["files"][0]["name"] == "depth.npz"


def test_json_of_one(run: Run, photos: Path, tiny_folder: Path) -> None:
    pair = (photos / "f0.png", "--next", photos / "f1.png")
    status, stdout, stderr = run("predict", *pair, "--model", tiny_folder, "--json", "--out", "maps")
    document = json.loads(stdout)
    assert (status, stderr) == (0, "")
    assert document["kind"] == "image"
    assert document["inputs"] == ["photos/f0.png", "photos/f1.png"]
    assert document["maps"]["depth"]["shape"] == [18, 27]
    assert document["maps"]["depth"]["unit"] == "m"
    assert set(document["seconds"]) == {"load", "predict", "write"}
    assert {file["name"] for file in document["files"]} == {path.name for path in Path("maps").iterdir()}


def test_a_codec_in_place_of_the_own_one(run: Run, photos: Path, tiny_folder: Path, tmp_path: Path) -> None:
    vae = AutoencoderTiny.from_pretrained(tiny_folder / "vae")
    for parameter in vae.decoder.layers[-1].parameters():
        parameter.data *= 1.05  # all images it decodes
    vae.save_pretrained(tmp_path / "tiny")
    start = ("predict", photos / "f0.png", "--model", tiny_folder, "--formats", "npz", "--tasks", "depth")
    depths = []
    for out, options in (("own", ()), ("tiny", ("--tiny-codec", tmp_path / "tiny"))):
        status, _, stderr = run(*start, "--optimize", "fast", *options, "--out", out)
        assert (status, stderr) == (0, "")
        depths.append(np.load(Path(out) / "depth.npz")["values"])
    assert depths[0].shape == depths[1].shape
    assert not np.array_equal(*depths)
    np.testing.assert_allclose(np.log(depths[0]), np.log(depths[1]), atol=0.6)


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
@pytest.mark.slow
def test_killed_and_called_again_gives_what_an_uninterrupted_run_gives(
    run: Run, photos: Path, tiny_folder: Path
) -> None:
    for i in range(6):  # large enough that each takes a while to write; the network sees a small copy
        picture = Image.open(photos / f"f{i % 3}.png").rotate(i).resize((400, 300))
        (photos / "many").mkdir(exist_ok=True)
        picture.save(photos / "many" / f"f{i}.png")
    arguments = ["predict", photos / "many", "--model", tiny_folder, "--pair", "sequence", "--formats", "npz"]
    arguments += ["--tasks", "depth", "optical_flow", "--processing-resolution", "32", "--batch-size", "1"]
    command = [sys.executable, "-m", "stablemtl", *map(str, arguments), "--out", "maps"]
    with subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(SOURCE)}) as process:
        try:
            journal, deadline = Path("maps") / JOURNAL, time.monotonic() + 120
            while not (journal.exists() and journal.read_text().count("\n") >= 2) and process.poll() is None:
                assert time.monotonic() < deadline
                time.sleep(0.005)
        finally:
            process.kill()
    rows = read_results("maps")
    assert 2 <= len(rows) < 6, "it was to be killed in the middle"

    status, stdout, _ = run(*arguments, "--out", "maps")
    assert status == 0
    assert f"{6 - len(rows)} of 6 images predicted, {len(rows)} were finished already" in stdout
    assert run(*arguments, "--out", "whole")[0] == 0
    assert contents(Path("maps")) == contents(Path("whole"))
    plain = [
        [replace(row, seconds=0, status="ok") for row in read_results(folder)] for folder in ("maps", "whole")
    ]
    assert plain[0] == plain[1]


def test_an_interruption_says_how_to_go_on(
    run: Run, photos: Path, options: Sequence[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Predictor.predict

    def predict(self: Predictor, *given: Any) -> Any:
        if Path("maps/f0").exists():
            raise KeyboardInterrupt
        return plain(self, *given)

    monkeypatch.setattr(Predictor, "predict", predict)
    monkeypatch.setattr(work, "BATCH_PIXELS", 1)
    # The first one is being written when the second is asked for; the third is asked for when it is there.
    status, stdout, stderr = run("predict", photos, *options)
    assert (status, stdout) == (130, "")
    finished = len(read_results("maps"))
    assert 1 <= finished < 3
    message = f"interrupted; {finished} of 3 images are finished, the same command goes on from there"
    assert stderr.splitlines()[-1] == f"stablemtl predict: {message}"
    assert not (Path("maps") / JOURNAL).exists()


def contents(folder: Path) -> dict[str, bytes]:
    """Path -> content of all files but the table, which has times in it."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != RESULTS]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


# what does not go together ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "INPUT is missing: an image, several, a folder, a pattern, a video; or --list FILE."),
        (["photos", "--next", "photos/f0.png"], "--next does not go with several images: it is the frame"),
        (["photos/f0.png", "--recursive"], "--recursive does not go with one image: it looks into folders"),
        (["photos/f0.png", "--video.every", "2"], "--video options do not go with one image."),
        (["photos/f0.png", "clip.mp4"], "clip.mp4 is a video, which is predicted alone."),
        (["*.mp4"], "*.mp4 is a video, which is predicted alone."),
        (["clip.mp4", "--next", "photos/f0.png"], "--next does not go with a video"),
        (["clip.mp4", "--tile", "64"], "--tile does not go with a video: tiles are brought to one scale"),
        (["clip.mp4", "--ensemble-flips"], "--ensemble-flips does not go with a video"),
        (["clip.mp4", "--list", "list.txt"], "--list does not go with a video"),
        (["clip.mp4"], "there is no video clip.mp4"),
        (["clip.mp4", "--video.every", "0"], "every must be 1 or more, got 0"),
        (["photos/f0.png", "--tile", "64", "--ensemble-flips"], "--tile and --ensemble-flips exclude"),
        (
            ["photos/f0.png", "--tile", "64", "--no-match-input-resolution"],
            "--tile writes maps of the picture's",
        ),
        (["photos/f0.png", "--tile", "-1"], "--tile must be 0 or more, got -1"),
        (["photos/f0.png", "--codec-tile", "-1"], "--codec-tile must be 0 or more, got -1"),
        (["photos/f0.png", "--batch-tasks", "0"], "--batch-tasks must be 1 or more, got 0"),
        (
            ["photos/f0.png", "--tiny-codec", "tiny"],
            "--tiny-codec changes the maps a little. Give --optimize",
        ),
        (["photos", "--batch-size", "0"], "--batch-size must be 1 or more, got 0"),
        (
            ["photos/f0.png", "--field-of-view", "180"],
            "--field-of-view must be between 0 and 180 degrees, got 180",
        ),
        (["photos", "--pair", "a b c"], "--pair must be none, sequence, or two patterns"),
        (["photos/none.png", "photos/f0.png"], "there is no file or folder photos/none.png"),
        (["photos/f0.png", "photos/list.txt"], "photos/list.txt is not a picture that can be read"),
        (["photos/*.tif"], "no file fits the pattern photos/*.tif"),
        (["photos/sub", "photos/none"], "there is no file or folder photos/none"),
        (["--list", "none.txt"], "none.txt: No such file or directory"),
        (["photos", "--out", "photos/f0.png"], "--out photos/f0.png is a file"),
    ],
)
def test_one_line_says_what_is_wrong(
    run: Run, photos: Path, tiny_folder: Path, arguments: list[str], message: str
) -> None:
    (photos / "list.txt").write_text("text")
    before = sorted(Path().rglob("*"))
    status, stdout, stderr = run("predict", *arguments, "--model", tiny_folder)
    assert (status, stdout) == (2, "")
    assert stderr.startswith(f"stablemtl predict: error: {message}")
    assert len(stderr.splitlines()) == 1
    assert sorted(Path().rglob("*")) == before


def test_unknown_tasks_and_formats(run: Run, photos: Path, tiny_folder: Path) -> None:
    status, _, stderr = run("predict", photos, "--model", tiny_folder, "--tasks", "normals")
    assert status == 2
    assert "unknown task 'normals'; choose from" in stderr
    assert not Path("maps").exists()
    assert run("predict", photos, "--model", tiny_folder, "--formats", "tiff")[0] == 2


def test_reasons_are_about_options_that_exist() -> None:
    names = set(PredictConfig.__dataclass_fields__)
    for reasons in predict_checks._LEAVE_OUT.values():
        assert set(reasons) <= names
