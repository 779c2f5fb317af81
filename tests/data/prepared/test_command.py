"""``stablemtl data prepare``."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest

from stablemtl import __version__, cli
from stablemtl.data import open_datasets


@pytest.fixture
def command(monkeypatch, capsys):
    """Runs the command on its own, whatever the state of its neighbours: (exit status, stdout, stderr)."""
    monkeypatch.setitem(cli.COMMANDS, "prepare", ("stablemtl.commands.data_prepare", ""))

    def call(*arguments: object) -> tuple[int, str, str]:
        status = cli.main(["prepare", *map(str, arguments)])
        return (status, *capsys.readouterr())

    return call


SMALL = ("--size", 4, 6, "--samples-per-shard", 2, "--workers", 1)


def test_prepare_then_verify(command, data_root, tmp_path):
    out = tmp_path / "prepared"
    status, shown, errors = command(data_root, "--out", out, *SMALL, "--datasets", "vkitti2", "flyingchairs")
    assert (status, errors) == (0, "")
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in shown.splitlines() if "│" in line]
    assert [row[:5] for row in rows] == [
        ["vkitti2", "train", "24", "24", "6"],
        ["vkitti2", "val, test", "8", "8", "2"],
        ["flyingchairs", "train", "2", "2", "4"],
        ["flyingchairs", "val, test", "1", "1", "2"],
    ]
    assert all(float(row[6]) > 0 for row in rows)
    size = sum(path.stat().st_size for path in out.rglob("*.arrow"))
    text = " ".join(shown.split())
    assert f"35 samples, {size} bytes, in {out}; 35 of them new in" in text
    assert " s per thousand)" in text
    assert list(open_datasets(out)) == ["vkitti2", "flyingchairs"]

    status, shown, _ = command(data_root, "--out", out, *SMALL, "--datasets", "vkitti2")
    assert status == 0
    assert f"in {out}; 0 of them new in" in " ".join(shown.split())
    assert "thousand" not in shown

    assert command("--verify", "--out", out) == (
        0,
        f"{out}/FlyingChairs_release, {out}/vkitti2: every file has its checksum ({size} bytes)\n",
        "",
    )
    shard = out / "vkitti2" / "train" / "depth-00000.arrow"
    shard.write_bytes(shard.read_bytes()[:-1] + b"x")
    status, shown, errors = command("--verify", "--out", out)
    assert (status, shown) == (1, "")
    assert errors.startswith(f"{shard} was altered: its SHA-256 is not ")
    assert "\nfound: 1. Delete what is damaged and run the same `stablemtl data prepare` again" in errors
    shard.unlink()
    assert command(data_root, "--out", out, *SMALL, "--datasets", "vkitti2")[0] == 0
    assert command("--verify", "--out", out)[0] == 0


def test_json(command, fakes, tmp_path):
    fakes.write_flyingchairs(tmp_path / "data" / "FlyingChairs_release")
    (tmp_path / "data" / "FlyingChairs_release" / "data" / "00003_img2.ppm").write_bytes(b"damaged")
    out = tmp_path / "out"
    arguments = (tmp_path / "data", "--out", out, *SMALL, "--json")
    status, shown, errors = command(*arguments)
    assert (status, shown) == (2, "")
    assert errors.count("\n") == 1
    status, shown, errors = command(*arguments, "--on-error", "skip")
    assert status == 0
    assert errors.startswith("left out, train split: flyingchairs optical_flow, sample 1: ")
    found = json.loads(shown)
    folder = out / "FlyingChairs_release"
    train, held_out = found.pop("splits")
    (skipped,) = train.pop("skipped")
    assert (skipped["index"], skipped["task"]) == (1, "optical_flow")
    assert "00003_img2.ppm" in skipped["error"]
    assert train.pop("seconds") > 0
    assert train == {
        "dataset": "flyingchairs",
        "split": "train",
        "parts": ["train"],
        "folder": str(folder),
        "samples": 1,
        "frames": 2,
        "bytes": sum(path.stat().st_size for path in (folder / "train").glob("*.arrow")),
        "new": 1,
    }
    assert (held_out["parts"], held_out["skipped"]) == (["val", "test"], [])
    assert found.pop("seconds") > 0
    size = sum(path.stat().st_size for path in out.rglob("*.arrow"))
    assert found == {
        "stablemtl": __version__,
        "root": str(tmp_path / "data"),
        "out": str(out),
        "samples": 2,
        "new": 2,
        "bytes": size,
        "skipped": 1,
    }

    status, shown, errors = command("--verify", "--out", out, "--json")
    assert (status, errors) == (0, "")
    found = json.loads(shown)
    assert found.pop("seconds") > 0
    document = {
        "stablemtl": __version__,
        "out": str(out),
        "folders": [str(folder)],
        "bytes": size,
        "problems": [],
    }
    assert found == document
    shard = next((folder / "train").glob("frames-*.arrow"))
    shard.write_bytes(shard.read_bytes()[:-1] + b"x")
    status, shown, errors = command("--verify", "--out", out, "--json")
    assert status == 1
    (problem,) = json.loads(shown)["problems"]
    assert problem.startswith(f"{shard} was altered")
    assert errors.startswith(f"{problem}\nfound: 1. ")


def test_out_lies_in_the_data_folder_by_default(command, fakes, tmp_path):
    fakes.write_flyingchairs(tmp_path / "FlyingChairs_release")
    assert command(tmp_path, *SMALL, "--size", "5", "7")[0] == 0
    dataset = open_datasets(tmp_path / "prepared")["flyingchairs"]
    assert dataset.load(0, "optical_flow").image.shape == (3, 5, 7)
    assert list(open_datasets(tmp_path)) == ["flyingchairs"]  # the folder beside the downloads is no dataset
    assert command(tmp_path, "--verify")[0] == 0


def test_samples_left_out_are_listed(command, fakes, tmp_path):
    fakes.write_flyingchairs(tmp_path / "FlyingChairs_release")
    (tmp_path / "FlyingChairs_release" / "data" / "00003_img2.ppm").write_bytes(b"damaged")
    arguments = (tmp_path, *SMALL)
    status, _, errors = command(*arguments)
    assert status == 2
    assert errors.startswith("stablemtl prepare: error: flyingchairs optical_flow, sample 1: ")
    assert "00003_img2.ppm" in errors
    assert "--on-error skip" in errors
    assert errors.count("\n") == 1
    status, shown, errors = command(*arguments, "--on-error", "skip")
    assert status == 0
    assert "left out, train split: flyingchairs optical_flow, sample 1: " in errors
    assert errors.endswith("samples that could not be read: 1; --on-error raise tries again\n")
    assert "2 samples" in shown


def test_options(command, data_root, tmp_path):
    things = ("--datasets", "flyingthings3d", "--parts", "val", "--tasks", "optical_flow", "--workers", 1)
    out = ("--out", tmp_path)
    assert command(data_root, *out, *things, "--size", "published", "--label-dtype", "float32")[0] == 0
    assert open_datasets(tmp_path, "val")["flyingthings3d"].size == (268, 480)
    status, _, errors = command(data_root, *out, *things)
    assert status == 2
    assert "size 268 480, now 96 128; label_dtype float32, now float16" in errors
    assert command(data_root, *out, *things, "--overwrite", "--compression", "zstd")[0] == 0
    assert open_datasets(tmp_path, "val")["flyingthings3d"].size == (96, 128)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--verify", "--out", "none"], "no prepared samples in none. Give the --out"),
        (["none"], "no data folder none"),
        (["--size", "large"], "large"),
        (["--parts", "all"], "all"),
    ],
)
def test_wrong_arguments(command, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    status, shown, errors = command(*arguments)
    assert status == 2
    assert message in shown + errors
    assert "Traceback" not in errors
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_is_told_in_one_line_and_the_command_goes_on(command, data_root, tmp_path, monkeypatch):
    from stablemtl.data.prepared import block as prepare_block

    packed, times = prepare_block._pack, []

    def pack(*arguments):
        times.append(0)
        if len(times) == 12:
            raise KeyboardInterrupt
        return packed(*arguments)

    monkeypatch.setattr(prepare_block, "_pack", pack)
    arguments = (data_root, "--out", tmp_path, *SMALL, "--datasets", "vkitti2", "--parts", "train")
    status, _, errors = command(*arguments)
    assert (status, errors) == (130, "stablemtl prepare: interrupted; no file was left half-written\n")
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {
        "prepared.json",
        *(f"{kind}-00000.arrow" for kind in ("frames", *open_datasets(data_root)["vkitti2"].tasks)),
    }
    status, shown, _ = command(*arguments)
    assert status == 0
    assert "24 samples" in shown
    assert "16 of them new" in " ".join(shown.split())


def test_the_module_is_light_to_import():
    import subprocess

    source = Path(cli.__file__).resolve().parents[1]
    script = (
        "import sys; import stablemtl.commands.data_prepare; "
        "print([name for name in ('torch', 'cv2', 'h5py', 'pyarrow', 'numpy') if name in sys.modules])"
    )
    shown = subprocess.run(
        [sys.executable, "-c", script], env={"PYTHONPATH": str(source)}, capture_output=True
    )
    assert shown.stdout == b"[]\n", shown.stderr
    assert importlib.import_module("stablemtl.commands.data_prepare").PrepareConfig().workers >= 1
