"""The command line, run in this process unless a process is what is tested."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stablemtl import TASKS, __version__, cli
from stablemtl.commands import demo, predict
from stablemtl.outputs import read_prediction

Run = Callable[..., tuple[int, str, str]]
SOURCE = Path(__file__).resolve().parents[1] / "src"
HEAVY = {
    *("torch", "diffusers", "transformers", "accelerate", "numpy", "PIL", "cv2", "skimage", "av", "h5py"),
    *("pyarrow", "gradio", "mitsuba", "onnx", "openvino"),
}
"""What takes long to import; help is there without."""


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command line: (exit status, stdout, stderr)."""

    def call(*arguments: object) -> tuple[int, str, str]:
        status = cli.main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    pixels = np.random.default_rng(0).integers(0, 256, (18, 27, 3), dtype=np.uint8)
    paths = (tmp_path / "a [1].png", tmp_path / "b.png")
    for path in paths:
        Image.fromarray(pixels).save(path)
        pixels = pixels[:, ::-1]
    return paths


def one_line(text: str) -> bool:
    return len(text.strip().splitlines()) == 1 and "Traceback" not in text


def start(*arguments: object, **environment: str) -> subprocess.Popen[str]:
    """The command as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "stablemtl", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(SOURCE), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


# predict ----------------------------------------------------------------------------------------------------


def test_predict_a_pair(run: Run, tiny_folder: Path, pair: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "new" / "[maps]"
    status, stdout, stderr = run("predict", pair[0], "--next", pair[1], "--model", tiny_folder, "--out", out)
    assert (status, stderr) == (0, "")
    for name in TASKS:
        assert name in stdout
        assert read_prediction(out / f"{name}.npz").size == (18, 27)
    assert (out / "contact_sheet.png").is_file()
    assert (out / "optical_flow.flo").is_file()
    for word in ("load", "predict", "write", "18 x 27 x 3", "[maps]"):
        assert word in stdout
    assert "one frame" not in stdout


def test_predict_one_frame_says_that_there_is_no_motion(
    run: Run, tiny_folder: Path, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    status, stdout, _ = run("predict", pair[0], "--model", tiny_folder, "--out", tmp_path / "maps")
    assert status == 0
    assert "optical_flow, scene_flow: one frame given" in stdout


def test_predict_options(run: Run, tiny_folder: Path, pair: tuple[Path, Path], tmp_path: Path) -> None:
    options = ["--single-stream", "--processing-resolution", 54, "--no-match-input-resolution"]
    options += ["--device", "cpu", "--dtype", "bfloat16", "--out", tmp_path / "maps"]
    status, _, stderr = run(
        "predict", pair[0], "--model", tiny_folder, "--tasks", "depth", "normal", *options
    )
    assert (status, stderr) == (0, "")
    names = {path.name for path in (tmp_path / "maps").iterdir()}
    assert names == {
        *("depth.png", "depth.npz", "depth_16bit.png", "normal.png", "normal.npz"),
        *("contact_sheet.png", "maps.json"),
    }
    assert read_prediction(tmp_path / "maps" / "depth.npz").size == (36, 54)


def test_default_model_is_the_embedded_one() -> None:
    assert predict.PredictConfig(inputs=(Path("a.png"),)).model == "nano"


@pytest.mark.parametrize("mode", ["L", "RGBA", "I;16"])
def test_predict_other_kinds_of_image(run: Run, tiny_folder: Path, tmp_path: Path, mode: str) -> None:
    Image.new(mode, (20, 16)).save(tmp_path / "a.png")
    arguments = ("--model", tiny_folder, "--tasks", "depth", "--out", tmp_path / "maps")
    assert run("predict", tmp_path / "a.png", *arguments)[0] == 0


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("none.png", [], "IMAGE not found: there is no file"),
        ("text.png", [], "is not an image that can be read"),
        ("dot.png", [], "IMAGE is 1x1 px"),
        ("good.png", ["--next", "other.png"], "must have the size of image, 20x16 px"),
        ("good.png", ["--next", "none.png"], "--next not found"),
        ("good.png", ["--tasks", "normals"], "unknown task 'normals'; choose from albedo, depth"),
        ("good.png", ["--model", "nanoo"], "unknown model 'nanoo'"),
        ("good.png", ["--model", "."], "it has no model_index.json"),
        ("good.png", ["--out", "text.png"], "--out text.png is a file. Name a folder."),
        ("good.png", ["--device", "cpu", "--dtype", "float16"], "float16 needs a GPU"),
        ("good.png", ["--processing-resolution", "-2"], "--processing-resolution must be 0 or more"),
    ],
)
def test_bad_inputs_give_one_line_and_no_files(
    run: Run,
    tiny_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    options: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text.png").write_text("text")
    for file, size in (("dot.png", (1, 1)), ("good.png", (20, 16)), ("other.png", (16, 20))):
        Image.new("RGB", size).save(file)
    before = sorted(Path().iterdir())
    model = [] if "--model" in options else ["--model", tiny_folder]
    status, stdout, stderr = run("predict", name, *options, *model)
    assert status == 2
    assert message in stderr
    assert stderr.startswith("stablemtl predict: error: ")
    assert one_line(stderr)
    assert stdout == ""
    assert sorted(Path().iterdir()) == before


@pytest.mark.parametrize(
    "arguments",
    [["predict"], ["predict", "a.png", "--nxt", "b.png"], ["predict", "a.png", "--device", "gpu"]],
)
def test_wrong_options(run: Run, arguments: list[str]) -> None:
    status, stdout, stderr = run(*arguments)
    assert status == 2
    assert stdout == ""
    assert "Traceback" not in stderr


# the dispatcher ---------------------------------------------------------------------------------------------


def test_help_lists_the_commands_that_are_there(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cli.COMMANDS, "fly", ("stablemtl.commands.fly", "not written"))
    status, stdout, _ = run("--help")
    assert status == 0
    assert "predict" in stdout
    assert "fly" not in stdout
    assert run("fly")[0] == 2


def test_no_command_is_an_error_with_help(run: Run) -> None:
    status, _, stderr = run()
    assert status == 2
    assert "usage: stablemtl COMMAND" in stderr


def test_command_help(run: Run) -> None:
    status, stdout, _ = run("predict", "--help")
    assert status == 0
    for option in ("IMAGE", "--next", "--tasks", "--model", "--out", "--device", "--single-stream"):
        assert option in stdout


def test_version(run: Run) -> None:
    assert run("--version")[1].strip() == f"stablemtl {__version__}"


def test_unknown_command_suggests_one(run: Run) -> None:
    status, _, stderr = run("predcit")
    assert status == 2
    assert "unknown command 'predcit'; choose from predict" in stderr
    assert "Did you mean 'predict'?" in stderr
    assert one_line(stderr)


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (ValueError("two\nlines"), 2, "error: two lines"),
        (PermissionError(13, "Permission denied", "maps"), 2, "error: maps: Permission denied"),
        (ImportError("install x"), 2, "error: install x"),
        (MemoryError(), 2, "not enough memory"),
        (ZeroDivisionError("oops"), 1, "unexpected ZeroDivisionError: oops (STABLEMTL_DEBUG=1 shows where)"),
        (KeyboardInterrupt(), 130, "stablemtl demo: interrupted"),
    ],
)
def test_errors_become_one_line(
    run: Run, monkeypatch: pytest.MonkeyPatch, error: BaseException, status: int, message: str
) -> None:
    def fail(config: demo.DemoConfig) -> int:
        raise error

    monkeypatch.setattr(demo, "run", fail)
    monkeypatch.delenv("STABLEMTL_DEBUG", raising=False)
    got, _, stderr = run("demo")
    assert got == status
    assert message in stderr
    assert one_line(stderr)
    monkeypatch.setenv("STABLEMTL_DEBUG", "1")
    _, _, stderr = run("demo")
    assert "Traceback" in stderr
    assert message in stderr


def test_status_of_the_command_is_passed_on(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def done(config: demo.DemoConfig) -> int:
        seen.append(config)
        return 7

    monkeypatch.setattr(demo, "run", done)
    assert run("demo", "--out", "here")[0] == 7
    assert seen == [demo.DemoConfig(out=Path("here"))]


# as a process -----------------------------------------------------------------------------------------------


def test_help_needs_no_heavy_import() -> None:
    below = {
        "data": ("check", "prepare"),
        "convert": ("published", "map"),
        "train": ("stage1", "nano-stage2"),
    }
    lines = ["--help", "--version", *(f"{name} --help" for name in cli.available())]
    lines += [f"{name} {kind} --help" for name, kinds in below.items() for kind in kinds]
    script = f"""
import sys
from stablemtl.cli import main
for line in {lines}:
    assert main(line.split()) == 0, line
    heavy = {HEAVY} & set(sys.modules)
    assert not heavy, (line, heavy)
from stablemtl.recipes import RECIPES
for name, recipe in RECIPES.items():
    if not (name.startswith("stage") and "-without-" in name):  # they need the pairs of all datasets
        recipe()
        assert not {HEAVY} & set(sys.modules), name
"""
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    result = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_module_and_exit_status() -> None:
    with start("predcit") as process:
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "Did you mean 'predict'?" in stderr
    assert one_line(stderr)


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
def test_interruption_leaves_nothing(tiny_folder: Path, tmp_path: Path) -> None:
    # Large enough that writing the maps takes seconds; the network sees a small copy.
    Image.new("RGB", (1800, 1200), (90, 120, 150)).save(tmp_path / "a.png")
    options = ("--model", tiny_folder, "--out", tmp_path / "maps", "--processing-resolution", 32)
    with start("predict", tmp_path / "a.png", *options) as process:
        try:
            deadline = time.monotonic() + 60
            while not list(tmp_path.glob(".maps-*/*")) and process.poll() is None:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            process.send_signal(signal.SIGINT)
            _, stderr = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130, stderr
    assert "interrupted; no file was left half-written" in stderr
    assert one_line(stderr)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


# demo -------------------------------------------------------------------------------------------------------


def test_demo_pair_is_there_without_a_network(tmp_path: Path) -> None:
    for path, name in zip(demo.write_views(tmp_path / "demo"), ("left.png", "right.png"), strict=True):
        assert path == tmp_path / "demo" / name
        with Image.open(path) as picture:
            assert picture.size == (741, 500)
            assert picture.mode == "RGB"


def test_demo(run: Run, tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def small_views(folder: Path) -> tuple[Path, Path]:
        folder.mkdir()
        for name in ("left.png", "right.png"):
            Image.new("RGB", (24, 16)).save(folder / name)
        return folder / "left.png", folder / "right.png"

    monkeypatch.setattr(demo, "write_views", small_views)
    status, stdout, stderr = run("demo", "--model", tiny_folder, "--out", tmp_path / "demo")
    assert (status, stderr) == (0, "")
    assert "stablemtl predict" in stdout
    assert {"left.png", "right.png", "contact_sheet.png", "depth.npz"} <= {
        path.name for path in (tmp_path / "demo").iterdir()
    }
