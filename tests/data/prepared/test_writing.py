"""Making prepared samples: what is written, going on after any end, and what is refused."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np
import pytest
import torch

from stablemtl.data import SampleError, describe_class, open_datasets
from stablemtl.data.prepared import block as prepare_block
from stablemtl.data.prepared import open_prepared, verify_prepared
from stablemtl.data.prepared import pool as prepare_pool
from stablemtl.data.prepared.block import Job, make_block
from stablemtl.data.prepared.layout import Options, parse_runs, runs_text
from stablemtl.data.prepared.pool import make_blocks
from stablemtl.data.prepared.writing import prepare
from stablemtl.data.sample import Sample

SIZE = (4, 6)
SOURCE = Path(__file__).resolve().parents[3] / "src"


def digest_of(folder: Path) -> dict[str, bytes]:
    """Every file with its bytes; hidden ones and journals included."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def run(data_root, out, **options):
    return prepare(
        data_root, out, **{"size": SIZE, "datasets": ["vkitti2"], "samples_per_shard": 2, **options}
    )


@pytest.fixture(scope="module")
def whole(data_root, tmp_path_factory) -> dict[str, bytes]:
    """Files of a run from beginning to end."""
    out = tmp_path_factory.mktemp("whole")
    run(data_root, out)
    return digest_of(out)


class Stop(Exception):
    """Ends a run."""


def stop_after(samples: int):
    def on_progress(done: int, total: int) -> None:
        if done >= samples:
            raise Stop

    return on_progress


def test_results_and_progress(data_root, tmp_path):
    seen = []
    train, test = run(data_root, tmp_path / "out", on_progress=lambda done, total: seen.append((done, total)))
    # Six frames of three sequences: three labels for each, and two flows for every first frame.
    assert (train.dataset, train.split, train.parts) == ("vkitti2", "train", ("train",))
    assert (train.samples, train.new, train.frames, train.skipped) == (24, 24, 6, ())
    assert (test.split, test.parts, test.samples) == ("test", ("val", "test"), 8)
    files = (tmp_path / "out" / "vkitti2" / "train").glob("*.arrow")
    assert train.bytes == sum(path.stat().st_size for path in files)
    assert train.folder == tmp_path / "out" / "vkitti2"
    assert train.seconds > 0
    assert seen == [(n, 32) for n in range(1, 33)] + [(32, 32)]
    again = run(data_root, tmp_path / "out")
    assert [(one.samples, one.new, one.seconds) for one in again] == [(24, 0, 0), (8, 0, 0)]


def test_the_header_lists_every_shard(whole):
    facts = json.loads(whole["vkitti2/prepared.json"])
    assert facts["parts"] == {"train": "train", "val": "test", "test": "test"}
    assert facts["options"] == {
        "size": [4, 6],
        "label_dtype": "float16",
        "samples_per_shard": 2,
        "compression": "none",
    }
    assert facts["splits"]["train"]["source"]["samples"] == {
        "semantic": 6,
        "normal": 6,
        "depth": 6,
        "optical_flow": 3,
        "scene_flow": 3,
    }
    blocks = [block for split in facts["splits"].values() for block in split["blocks"]]
    assert blocks[1]["indices"] == {
        "semantic": "2-3",
        "normal": "2-3",
        "depth": "2-3",
        "optical_flow": "2",
        "scene_flow": "2",
    }
    shards = {shard["file"]: shard for block in blocks for shard in block["shards"].values()}
    files = {name.removeprefix("vkitti2/"): data for name, data in whole.items() if name.endswith(".arrow")}
    assert {name: shard["bytes"] for name, shard in shards.items()} == {n: len(d) for n, d in files.items()}


@pytest.mark.parametrize("samples", [1, 10, 31])
def test_an_interrupted_run_goes_on_and_gives_the_same_bytes(data_root, tmp_path, whole, samples):
    with pytest.raises(Stop):
        run(data_root, tmp_path, on_progress=stop_after(samples))
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith(".")]
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.arrow")}
    left = []
    run(data_root, tmp_path, on_progress=lambda done, total: left.append(total))
    assert left[0] == 32 - 8 * ((samples - 1) // 8)  # blocks have eight samples; finished ones are kept
    assert times == {path: path.stat().st_mtime_ns for path in times}
    assert digest_of(tmp_path) == whole


def test_a_killed_run_goes_on_and_gives_the_same_bytes(data_root, tmp_path, whole, caplog):
    """SIGKILL leaves a journal; what the process was writing then is put in its place here."""
    script = (
        "import os, signal; from stablemtl.data.prepared.writing import prepare\n"
        "def on_progress(done, total):\n"
        "    if done == 19: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"prepare({str(data_root)!r}, {str(tmp_path)!r}, size=(4, 6), datasets=['vkitti2'], "
        "samples_per_shard=2, on_progress=on_progress)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    ended = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    train = tmp_path / "vkitti2" / "train"
    journal = (train / "finished.jsonl").read_text()
    assert [json.loads(line)["block"] for line in journal.splitlines()] == [0, 1]
    assert json.loads((tmp_path / "vkitti2" / "prepared.json").read_text())["splits"]["train"]["blocks"] == []
    with (train / "finished.jsonl").open("a") as file:
        file.write('{"block": 2, "shards": {"fra')
    (train / ".depth-00002.arrow-0123abcd").write_bytes(b"half")
    (train / "depth-00002.arrow").write_bytes(b"not in the journal")
    (tmp_path / "vkitti2" / ".prepared.json-0123abcd").write_bytes(b"half")
    times = {path: path.stat().st_mtime_ns for path in train.glob("*-0000[01].arrow")}
    with caplog.at_level(logging.INFO):
        run(data_root, tmp_path)
    assert "finished.jsonl: a line is cut off" in caplog.text
    assert len(times) == 12
    assert times == {path: path.stat().st_mtime_ns for path in times}
    assert digest_of(tmp_path) == whole


def test_other_processes_write_the_same_bytes(data_root, tmp_path, whole, monkeypatch):
    """Interrupted at the end, nothing but whole shards is there; what is not recorded is made again here."""
    # One process instead of two: each takes seconds to start.
    monkeypatch.setattr(
        prepare_pool, "ProcessPoolExecutor", lambda _, **options: ProcessPoolExecutor(1, **options)
    )
    with pytest.raises(Stop):
        run(data_root, tmp_path, workers=2, on_progress=stop_after(32))
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith(".")]
    run(data_root, tmp_path)
    assert digest_of(tmp_path) == whole


class FakePool:
    """Runs nothing: block 0 fails, others are as they are given; all are done at once."""

    def __init__(self, failure: Exception) -> None:
        self.failure = failure
        self.submitted = []

    def __call__(self, workers, **_options):
        return self

    def submit(self, function, job, number, on_error):
        future: Future = Future()
        if number == 0:
            future.set_exception(self.failure)
        else:
            future.set_result((job, number))
        self.submitted.append(number)
        return future

    def shutdown(self, **options):
        assert options == {"wait": True, "cancel_futures": True}
        self.submitted.append("shutdown")


@pytest.mark.parametrize(
    ("failure", "raised", "message"),
    [
        (BrokenProcessPool(), ChildProcessError, "was ended from outside, perhaps for want of memory"),
        (SampleError("a b, sample 1: c"), SampleError, "a b, sample 1: c"),
    ],
)
def test_a_failure_ends_the_run_after_what_is_finished(tmp_path, monkeypatch, failure, raised, message):
    pool = FakePool(failure)
    monkeypatch.setattr(prepare_pool, "ProcessPoolExecutor", pool)
    job = job_of(One(torch.zeros(1, 4, 6)), tmp_path)
    made = make_blocks([job], [(0, n) for n in range(9)], workers=2)
    assert sorted([next(made), next(made)]) == [(0, 1), (0, 2)]
    with pytest.raises(raised, match=message):
        next(made)
    assert pool.submitted == [0, 1, 2, "shutdown"]  # one more than can run


def test_what_a_process_does(data_root, tmp_path, monkeypatch):
    monkeypatch.setattr(prepare_pool, "_worker", None)
    counter, stop = prepare_pool.multiprocessing.Value("q", 0), threading.Event()
    job = job_of(open_datasets(data_root)["vkitti2"], tmp_path)
    signals = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        prepare_pool._start_process((job,), counter, stop)
        assert signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, signals)
    made = prepare_pool._make(0, 0, "raise")
    assert (made.job, made.block.number, counter.value) == (0, 0, 24)
    assert made.block.indices["optical_flow"] == (0, 2, 4)
    stop.set()
    with pytest.raises(prepare_pool._Stopped):
        prepare_pool._make(0, 0, "raise")
    monkeypatch.setattr(stop, "is_set", iter([False, True]).__next__)
    with pytest.raises(prepare_pool._Stopped):  # within a block
        prepare_pool._make(0, 0, "raise")
    assert counter.value == 25


def test_a_process_of_a_system_without_signal_masks(monkeypatch):
    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(prepare_pool, "_worker", None)
    monkeypatch.delattr(signal, "pthread_sigmask")
    try:
        prepare_pool._start_process((), None, None)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_full_disk_leaves_nothing_half_written(data_root, tmp_path, monkeypatch, whole):
    written, write = [], prepare_block._write_table

    def fails_at_last(path, table, compression):
        write(path, table, compression)
        written.append(path)
        if len(written) == 9:
            raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(prepare_block, "_write_table", fails_at_last)
    with pytest.raises(OSError, match="No space left on device"):
        run(data_root, tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith(".")]
    run(data_root, tmp_path)
    assert digest_of(tmp_path) == whole


def test_damaged_shards_are_made_again(data_root, tmp_path, whole, caplog):
    run(data_root, tmp_path)
    (tmp_path / "vkitti2" / "train" / "depth-00001.arrow").unlink()
    (tmp_path / "vkitti2" / "test" / "frames-00000.arrow").write_bytes(b"short")
    left = []
    run(data_root, tmp_path, on_progress=lambda done, total: left.append(total))
    assert left[0] == 16
    assert "block 1 of" in caplog.text
    assert "depth-00001.arrow" in caplog.text
    assert digest_of(tmp_path) == whole


def test_parts_and_tasks_can_be_chosen_and_parts_added(data_root, tmp_path, whole):
    run(data_root, tmp_path, parts=["train"])
    facts = json.loads((tmp_path / "vkitti2" / "prepared.json").read_text())
    assert facts["parts"] == {"train": "train"}
    run(data_root, tmp_path, parts=["val"])
    facts = json.loads((tmp_path / "vkitti2" / "prepared.json").read_text())
    assert facts["parts"] == {"train": "train", "val": "test", "test": "test"}  # test needs no further file
    files = digest_of(tmp_path)
    assert {k: v for k, v in files.items() if k.endswith(".arrow")} == {
        k: v for k, v in whole.items() if k.endswith(".arrow")
    }
    train, _ = run(data_root, tmp_path / "some", tasks=["optical_flow", "depth"])
    dataset = open_datasets(tmp_path / "some")["vkitti2"]
    assert dataset.tasks == ("depth", "optical_flow")  # in the order of the dataset
    assert (len(dataset), list(dataset.indices("optical_flow")), train.samples) == (6, [0, 2, 4], 9)
    with pytest.raises(
        ValueError, match="vkitti2 has no labels for task 'normal'; it has depth, optical_flow"
    ):
        dataset.load(0, "normal")
    # Flow alone needs the second frames too, which belong to no sample of their own.
    (flow,) = run(data_root, tmp_path / "flow", tasks=["scene_flow"], parts=["train"])
    assert (flow.samples, flow.frames) == (3, 6)
    assert open_datasets(tmp_path / "flow")["vkitti2"].load(4, "scene_flow").image_next is not None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": (5, 6)}, "size 4 6, now 5 6"),
        ({"label_dtype": "float32"}, "label_dtype float16, now float32"),
        (
            {"samples_per_shard": 3, "compression": "lz4"},
            "samples_per_shard 2, now 3; compression none, now lz4",
        ),
        ({"tasks": ["depth"]}, "tasks of train semantic normal depth optical_flow scene_flow, now depth"),
    ],
)
def test_other_options_are_refused_or_overwrite(data_root, tmp_path, options, message):
    run(data_root, tmp_path)
    before = digest_of(tmp_path)
    with pytest.raises(ValueError, match=rf"vkitti2 was prepared otherwise: {message}"):
        run(data_root, tmp_path, **options)
    assert digest_of(tmp_path) == before
    with pytest.raises(ValueError, match=r"Choose another --out, or make it anew with --overwrite\."):
        run(data_root, tmp_path, **options)
    run(data_root, tmp_path, overwrite=True, **options)
    assert run(data_root, tmp_path, **options)[0].new == 0
    run(data_root, tmp_path / "direct", **options)
    anew = digest_of(tmp_path / "vkitti2")
    assert anew == digest_of(tmp_path / "direct" / "vkitti2")


def test_overwrite_keeps_what_is_as_wanted(data_root, tmp_path):
    run(data_root, tmp_path)
    assert [one.new for one in run(data_root, tmp_path, overwrite=True)] == [0, 0]


def test_another_version_or_split_is_refused(data_root, tmp_path):
    run(data_root, tmp_path)
    header = tmp_path / "vkitti2" / "prepared.json"
    text = header.read_text()
    header.write_text(text.replace('"made_by": "stablemtl ', '"made_by": "stablemtl 0.0.0+'))
    with pytest.raises(ValueError, match=r"made by stablemtl 0\.0\.0\+\S+, now stablemtl"):
        run(data_root, tmp_path)
    header.write_text(text.replace('"val": "test"', '"val": "train"'))
    with pytest.raises(ValueError, match="part val of split train, now test"):
        run(data_root, tmp_path)
    header.write_text(text.replace('"dataset": "vkitti2"', '"dataset": "other"'))
    with pytest.raises(ValueError, match="dataset other, now vkitti2"):
        run(data_root, tmp_path)
    header.write_text("{")
    with pytest.raises(ValueError, match="is damaged"):
        run(data_root, tmp_path)
    run(data_root, tmp_path, overwrite=True)
    assert verify_prepared(tmp_path / "vkitti2") == []


def test_another_source_is_refused(fakes, tmp_path):
    root, out = tmp_path / "data", tmp_path / "out"
    fakes.write_vkitti2(root / "vkitti2")
    run(root, out)
    rgb = root / "vkitti2" / "Scene02" / "clone" / "frames" / "rgb" / "Camera_0"
    (rgb / "rgb_00001.jpg").rename(rgb / "rgb_00004.jpg")
    expected = "samples of optical_flow in train 3, now 2; samples of scene_flow in train 3, now 2"
    with pytest.raises(ValueError, match=expected):
        run(root, out)
    (rgb / "rgb_00004.jpg").unlink()
    with pytest.raises(ValueError, match="frames in train 6, now 5"):
        run(root, out)
    fakes.write_vkitti2(root / "vkitti2")
    (root / "vkitti2" / "Scene20").rename(root / "vkitti2" / "Scene18")
    with pytest.raises(ValueError, match="train has other frames now, 6 as before"):
        run(root, out)
    run(root, out, parts=["test"])  # not affected


def test_a_sample_that_cannot_be_read(fakes, tmp_path):
    root, out = tmp_path / "data", tmp_path / "out"
    fakes.write_vkitti2(root / "vkitti2")
    depth = root / "vkitti2/Scene20/sunset/frames/depth/Camera_0/depth_00001.png"
    data = depth.read_bytes()
    depth.write_bytes(b"damaged")
    with pytest.raises(
        SampleError, match=r"vkitti2 normal, sample 5: \S+depth_00001\.png is not .*damaged"
    ) as raised:
        run(root, out)
    assert str(raised.value).endswith("or with --on-error skip to leave such samples out.")
    train, test = run(root, out, on_error="skip")
    assert [(one.index, one.task) for one in train.skipped] == [(5, "normal"), (5, "depth")]
    assert "vkitti2 depth, sample 5: " in train.skipped[1].error
    assert (train.samples, train.new, test.skipped) == (22, 6, ())
    dataset = open_prepared(out / "vkitti2", "train")
    assert list(dataset.indices("depth")) == [0, 1, 2, 3, 4]
    assert len(dataset) == 6
    with pytest.raises(ValueError, match="vkitti2 frame 5 has no depth"):
        dataset.load(5, "depth")
    assert dataset.load(5, "semantic").valid.any()
    assert [one.new for one in run(root, out, on_error="skip")] == [0, 0]
    with pytest.raises(SampleError, match="sample 5"):  # tries again
        run(root, out)
    depth.write_bytes(data)
    train, _ = run(root, out)
    assert (train.samples, train.new, train.skipped) == (24, 8, ())


def test_a_block_without_a_readable_sample(fakes, tmp_path):
    root, out = tmp_path / "data", tmp_path / "out"
    fakes.write_flyingchairs(root / "FlyingChairs_release")
    (root / "FlyingChairs_release" / "data" / "00003_flow.flo").write_bytes(b"")
    train, _ = run(root, out, datasets=[], samples_per_shard=1, on_error="skip")
    assert (train.samples, len(train.skipped), train.frames) == (1, 1, 2)
    assert sorted(path.name for path in (out / "FlyingChairs_release" / "train").iterdir()) == [
        "frames-00000.arrow",
        "optical_flow-00000.arrow",
    ]
    assert list(open_prepared(out / "FlyingChairs_release", "train").indices("optical_flow")) == [0]


class One:
    """Two frames with the same label, as given; ``frames`` is something that JSON does not know."""

    name, tasks = "one", ("depth",)
    frames = (object(),)

    def __init__(self, target) -> None:
        self.target = target

    def __len__(self) -> int:
        return 2

    def indices(self, task):
        return [1, 0]

    def load(self, index, task):
        size = self.target.shape[-2:]
        return Sample(
            image=torch.full((3, *size), index / 10),
            target=self.target * (index + 1),
            valid=self.target[:1] > 0,
            task=task,
            dataset=self.name,
            key=str(index),
        )


def job_of(dataset, folder: Path, **options) -> Job:
    indices = {task: np.unique(np.asarray(dataset.indices(task))) for task in dataset.tasks}
    return Job(
        dataset=dataset,
        options=Options(size=SIZE, **options),
        folder=folder,
        split="train",
        indices=indices,
    )


def test_labels_beyond_float16_make_their_shard_float32(tmp_path):
    far = torch.zeros(1, 4, 6)
    far[0, 1, 2], far[0, 3, 5] = 40_000.1, float("inf")  # twice that is beyond 65504
    halves = [make_block(job_of(One(far), tmp_path, samples_per_shard=1), n).shards["depth"] for n in (0, 1)]
    assert halves[1].bytes - halves[0].bytes == pytest.approx(2 * 24, abs=16)
    both = make_block(job_of(One(far), tmp_path, samples_per_shard=2), 0)
    assert both.indices == {"depth": (0, 1)}


def test_class_ids_beyond_a_byte(tmp_path):
    classes = torch.full((1, 4, 6), 200)
    with pytest.raises(
        SampleError, match=r"one depth, sample 1: class ids must lie in 0\.\.255, got 400\.\.400"
    ):
        make_block(job_of(One(classes), tmp_path), 0)
    with pytest.raises(SampleError, match=r"class ids must lie in 0\.\.255, got -200\.\.-200"):
        make_block(job_of(One(-classes), tmp_path), 0)


def test_a_dataset_of_ones_own(data_root, tmp_path, monkeypatch):
    """Registered elsewhere: indices in any order, frames that cannot be listed, one split for two parts."""
    from stablemtl.data.prepared import plan as prepare_plan

    def build(root, split):
        return One(torch.full((1, 8, 12), 2.0))

    build.name, build.folder = "one", "vkitti2"
    build.splits = {"train": "all", "val": "all"}
    info = describe_class(build)
    monkeypatch.setattr(prepare_plan, "datasets_in", lambda root: {"one": info})
    (result,) = prepare(data_root, tmp_path, size=SIZE)
    assert (result.split, result.parts, result.samples) == ("all", ("train", "val"), 2)
    dataset = open_prepared(tmp_path / "vkitti2", "val")
    assert (dataset.name, list(dataset.indices("depth"))) == ("one", [0, 1])
    assert torch.equal(dataset.load(1, "depth").target, torch.full((1, 4, 6), 4.0))


def test_what_cannot_be_used(data_root, tmp_path):
    with pytest.raises(
        ValueError, match=r"out must not be the folder of the downloads, .*Choose .*prepared\."
    ):
        run(data_root, data_root / ".")
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"out must be a folder, .*file is a file"):
        run(data_root, tmp_path / "file")
    (tmp_path / "vkitti2").mkdir()
    (tmp_path / "vkitti2" / ".hidden").touch()
    (tmp_path / "vkitti2" / "photo.jpg").touch()
    with pytest.raises(
        ValueError, match=r"vkitti2 is not empty and holds no prepared samples\. Choose another --out"
    ):
        run(data_root, tmp_path)
    (tmp_path / "vkitti2" / "photo.jpg").unlink()
    run(data_root, tmp_path)
    with pytest.raises(ValueError, match=r"vkitti2 holds prepared samples; preparing .* would round twice"):
        run(tmp_path, tmp_path / "twice")
    with pytest.raises(FileNotFoundError, match="no data folder"):
        run(tmp_path / "none", tmp_path)
    with pytest.raises(
        FileNotFoundError, match=r"nothing to prepare in \S+: no .* test split with labels for albedo"
    ):
        run(data_root, tmp_path, tasks=["albedo"], parts=["test"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"datasets": ["kitti"]}, "unknown dataset 'kitti'; choose from flyingchairs"),
        ({"tasks": ["colour"]}, "unknown task 'colour'; choose from albedo"),
        ({"parts": ["eval"]}, "unknown part 'eval'; choose from test, train, val"),
        ({"parts": []}, "parts must name one or more of train, val, test, got none"),
        ({"workers": 0}, "workers must be at least 1, got 0"),
        ({"on_error": "ignore"}, "on_error must be 'raise' or 'skip', got 'ignore'"),
        ({"size": (0, 6)}, r"size must be \(height, width\), at least 1 px, got \(0, 6\)"),
        ({"samples_per_shard": 0}, "samples_per_shard must be at least 1, got 0"),
        ({"label_dtype": "int8"}, "label_dtype must be one of float16, float32, got 'int8'"),
        ({"compression": "zip"}, "compression must be one of none, lz4, zstd, got 'zip'"),
        (
            {"size": "published", "datasets": ["flyingchairs"]},
            "flyingchairs has no published size, only hypersim",
        ),
    ],
)
def test_wrong_options(data_root, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        run(data_root, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_published_sizes(data_root, tmp_path):
    run(
        data_root,
        tmp_path,
        size="published",
        datasets=["flyingthings3d"],
        tasks=["optical_flow"],
        parts=["val"],
    )
    dataset = open_prepared(tmp_path / "FlyingThings3D_subset", "test")
    assert dataset.size == (268, 480)
    assert dataset.load(0, "optical_flow").image_next.shape == (3, 268, 480)


@pytest.mark.parametrize(
    ("numbers", "text"), [((), ""), ((7,), "7"), ((0, 1, 2, 5, 7, 8), "0-2 5 7-8"), ((10, 11), "10-11")]
)
def test_runs(numbers, text):
    assert runs_text(numbers) == text
    assert parse_runs(text) == numbers
