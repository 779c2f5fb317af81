"""Reading prepared samples: the same as reading the downloads and resizing, within the stated rounding."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
from pathlib import Path

import pyarrow as pa
import pytest
import torch

from stablemtl.data import Mixture, SampleError, catalog, mixture_entries, open_datasets
from stablemtl.data.prepared import reading as prepared
from stablemtl.data.prepared.reading import (
    PreparedDataset,
    is_prepared,
    open_prepared,
    prepared_parts,
    verify_prepared,
)
from stablemtl.data.prepared.writing import prepare
from stablemtl.data.sample import EmptySplitError, load_sample
from stablemtl.data.transforms import Compose, Resize
from stablemtl.tasks import TASKS

SIZE = (4, 6)  # that of the fake Hypersim: its frames are not resized
FOLDERS = ("hypersim", "vkitti2", "FlyingThings3D_subset", "FlyingChairs_release")


@pytest.fixture(scope="module")
def root(data_root, tmp_path_factory) -> Path:
    """All four fakes; read only."""
    out = tmp_path_factory.mktemp("prepared")
    prepare(data_root, out, size=SIZE, samples_per_shard=2)
    return out


@pytest.fixture
def vkitti(data_root, tmp_path) -> Path:
    """A folder of its own, of one dataset."""
    prepare(data_root, tmp_path, size=SIZE, datasets=["vkitti2"], samples_per_shard=2)
    return tmp_path / "vkitti2"


def test_what_is_a_folder_of_prepared_samples(root, data_root):
    assert [is_prepared(root / folder) for folder in FOLDERS] == [True] * 4
    assert not is_prepared(root)
    assert not is_prepared(data_root / "vkitti2")
    assert prepared_parts(root / "hypersim") == ("train", "val")
    with pytest.raises(FileNotFoundError, match=r"no prepared samples in .*: there is no prepared\.json"):
        prepared_parts(root)


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_every_sample_is_the_resized_one(root, data_root, split):
    direct, kept = open_datasets(data_root, split), open_datasets(root, split)
    assert list(kept) == list(direct)
    resize = Compose([Resize(size=SIZE)], TASKS)
    for name, dataset in kept.items():
        assert isinstance(dataset, PreparedDataset)
        assert (dataset.name, dataset.tasks, len(dataset)) == (name, direct[name].tasks, len(direct[name]))
        assert dataset.size == SIZE
        for task in dataset.tasks:
            assert list(dataset.indices(task)) == list(direct[name].indices(task))
            for index in dataset.indices(task):
                assert_same(dataset.load(index, task), resize(direct[name].load(index, task)))


def assert_same(kept, wanted):
    assert (kept.task, kept.dataset, kept.key) == (wanted.task, wanted.dataset, wanted.key)
    for frame, expected in ((kept.image, wanted.image), (kept.image_next, wanted.image_next)):
        assert (frame is None) == (expected is None)
        if frame is not None:
            assert torch.equal(frame, (expected * 255).round() / 255)
            assert (frame - expected).abs().max() <= 0.5 / 255 + 1e-6
    assert kept.target.dtype == wanted.target.dtype
    if wanted.target.is_floating_point():
        assert ((kept.target - wanted.target).abs() <= wanted.target.abs() * 2**-11 + 3e-8).all()
    else:
        assert torch.equal(kept.target, wanted.target)
    assert torch.equal(kept.valid, wanted.valid)


def test_eight_bit_frames_of_the_right_size_are_exact(root, data_root):
    kept, direct = open_datasets(root)["hypersim"], open_datasets(data_root)["hypersim"]
    for index in range(2):
        assert torch.equal(kept.load(index, "depth").image, direct.load(index, "depth").image)
    # 2 m from the camera, half a pixel off the axis in x and y: z = 2 f / sqrt(f^2 + 1/2) = 1.98174 m with
    # f = 886.81 * 6 / 1024 px. float16 has steps of 2^-10 m there.
    assert kept.load(0, "depth").target[0, 1, 2] == 2029 / 1024


def test_a_frame_is_kept_once_for_all_tasks_and_pairs(root):
    facts = json.loads((root / "vkitti2" / "prepared.json").read_text())
    # Two frames of a sequence: five tasks, and the second frame of the flows is the next one of the others.
    assert [block["shards"]["frames"]["rows"] for block in facts["splits"]["train"]["blocks"]] == [2, 2, 2]
    assert (root / "vkitti2" / "train" / "frames-00002.arrow").is_file()


def test_the_last_frame_of_a_sequence_has_no_flow(root):
    dataset = open_prepared(root / "vkitti2", "train")
    assert list(dataset.indices("optical_flow")) == [0, 2, 4]
    assert dataset.load(2, "optical_flow").image_next is not None
    assert dataset.load(2, "depth").image_next is None
    with pytest.raises(ValueError, match=r"vkitti2 frame 1 has no optical_flow; use indices\(\)"):
        dataset.load(1, "optical_flow")


def test_parts_that_share_a_split_share_its_files(root):
    val, test = (open_prepared(root / "vkitti2", part) for part in ("val", "test"))
    assert val.load(0, "depth").key == test.load(0, "depth").key == "Scene01/clone/Camera_0/00000"
    assert sorted(path.name for path in (root / "vkitti2").iterdir()) == ["prepared.json", "test", "train"]


def test_shards_say_what_they_hold(root):
    with pa.memory_map(str(root / "vkitti2" / "train" / "optical_flow-00000.arrow")) as file:
        table = pa.ipc.open_file(file).read_all()
    assert table.column_names == ["index", "key", "image", "image_next", "target", "valid"]
    assert table["index"].to_pylist() == [0]
    assert table["key"].to_pylist() == ["Scene02/clone/Camera_0/00000"]
    assert (table["image"].to_pylist(), table["image_next"].to_pylist()) == ([0], [1])
    assert table["target"].type == pa.fixed_shape_tensor(
        pa.float16(), (2, 4, 6), dim_names=("channel", "row", "column")
    )
    assert table.schema.metadata == {
        b"stablemtl.format": b"1",
        b"stablemtl.dataset": b"vkitti2",
        b"stablemtl.split": b"train",
        b"stablemtl.kind": b"optical_flow",
    }


def test_a_mixture_draws_what_it_draws_from_the_downloads(root, data_root):
    resize = Compose([Resize(size=SIZE)], TASKS)
    mixtures = [
        Mixture(mixture_entries(open_datasets(folder)), batch_size=2, seed=3, transform=resize)
        for folder in (root, data_root)
    ]
    for step in range(14):
        for kept, wanted in zip(*(mixture.batch(step) for mixture in mixtures), strict=True):
            assert_same(kept, wanted)


def test_samples_of_the_training_size_pass_through(root):
    sample = open_datasets(root)["vkitti2"].load(0, "depth")
    assert Compose([Resize(size=SIZE)], TASKS)(sample) is sample


def test_writing_into_a_sample_changes_no_file(data_root, tmp_path):
    prepare(data_root, tmp_path, size=SIZE, datasets=["vkitti2"], label_dtype="float32")
    dataset = open_prepared(tmp_path / "vkitti2", "train")
    before = dataset.load(0, "optical_flow")
    changed = dataset.load(0, "optical_flow")
    for tensor in (changed.image, changed.image_next, changed.target):
        tensor.fill_(9.0)
    changed.valid.fill_(False)
    assert_same(dataset.load(0, "optical_flow"), before)
    assert verify_prepared(tmp_path / "vkitti2") == []


@pytest.mark.parametrize("compression", ["none", "lz4", "zstd"])
def test_float32_labels_are_exact_also_compressed(data_root, tmp_path, compression):
    prepare(
        data_root, tmp_path, size=SIZE, datasets=["vkitti2"], label_dtype="float32", compression=compression
    )
    direct, kept = open_datasets(data_root)["vkitti2"], open_datasets(tmp_path)["vkitti2"]
    resize = Compose([Resize(size=SIZE)], TASKS)
    for task in kept.tasks:
        for index in reversed(kept.indices(task)):
            wanted = resize(direct.load(index, task))
            assert torch.equal(kept.load(index, task).target, wanted.target)
            assert_same(kept.load(index, task), wanted)


def test_a_copy_opens_its_own_files(root):
    dataset = open_prepared(root / "vkitti2", "train")
    wanted = dataset.load(3, "normal")
    copy = pickle.loads(pickle.dumps(dataset))
    assert copy._open == {}
    assert_same(copy.load(3, "normal"), wanted)


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_reads_on(root):
    dataset = open_prepared(root / "vkitti2", "train")
    wanted = dataset.load(3, "normal")
    child = os.fork()
    if child == 0:
        same = all(dataset.load(3, "normal").key == wanted.key for _ in range(3))
        os._exit(0 if same and torch.equal(dataset.load(3, "normal").target, wanted.target) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_no_file_stays_open_and_few_stay_mapped(root, monkeypatch):
    monkeypatch.setattr(prepared, "_MOST_OPEN", 3)
    dataset = PreparedDataset(root / "vkitti2", "train")
    for task in dataset.tasks:
        for index in dataset.indices(task):
            dataset.load(index, task)
            assert len(dataset._open) <= 4
    if Path("/proc/self/fd").is_dir():
        targets = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if _exists(fd)]
        assert not [target for target in targets if target.endswith(".arrow")]


def _exists(fd: str) -> bool:
    return os.path.lexists(f"/proc/self/fd/{fd}")


def test_wrong_requests(root):
    dataset = open_prepared(root / "hypersim", "train")
    with pytest.raises(
        ValueError, match="hypersim has no labels for task 'semantic'; it has albedo, shading"
    ):
        dataset.load(0, "semantic")
    with pytest.raises(ValueError, match="hypersim has no labels for task 'semantic'"):
        dataset.indices("semantic")
    for index in (-1, 2):
        with pytest.raises(IndexError, match=rf"hypersim \(train split\) has 2 frames, no frame {index}\."):
            dataset.load(index, "depth")
    with pytest.raises(
        EmptySplitError, match=r"hypersim \(test split\): .* has no such part prepared, only train, val"
    ):
        open_prepared(root / "hypersim", "test")
    assert "hypersim" not in open_datasets(root, "test")
    assert catalog()["hypersim"].splits["test"] == "test"  # unlike the source, which has the part


def test_a_missing_or_truncated_shard_is_named(vkitti):
    shard = vkitti / "train" / "depth-00001.arrow"
    data = shard.read_bytes()
    shard.write_bytes(data[:-1])
    expected = (
        rf"vkitti2 \(train split\): \S+depth-00001\.arrow has {len(data) - 1} bytes, expected {len(data)}"
    )
    with pytest.raises(OSError, match=expected + r"\. Delete what is damaged and run the same"):
        open_prepared(vkitti, "train")
    assert verify_prepared(vkitti) == [f"{shard} has {len(data) - 1} bytes, expected {len(data)}"]
    shard.unlink()
    with pytest.raises(FileNotFoundError, match=r"no file \S+depth-00001\.arrow"):
        open_prepared(vkitti, "train")
    assert verify_prepared(vkitti) == [f"no file {shard}"]
    assert open_prepared(vkitti, "test").load(0, "depth").valid.any()  # the other split is whole


def test_an_altered_shard_is_found_by_its_checksum(vkitti):
    sizes = []
    assert verify_prepared(vkitti, on_progress=sizes.append) == []
    assert sum(sizes) == sum(path.stat().st_size for path in vkitti.rglob("*.arrow"))
    shard = vkitti / "train" / "frames-00000.arrow"
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    open_prepared(vkitti, "train")  # the size is right
    (problem,) = verify_prepared(vkitti)
    assert problem.startswith(f"{shard} was altered: its SHA-256 is not ")


def test_a_shard_that_is_no_arrow_file(vkitti):
    shard = vkitti / "train" / "depth-00000.arrow"
    shard.write_bytes(bytes(shard.stat().st_size))
    dataset = open_prepared(vkitti, "train")
    with pytest.raises(ValueError, match=r"depth-00000\.arrow is damaged \(.*\)\. Delete what is damaged"):
        dataset.load(0, "depth")
    with pytest.raises(SampleError, match="vkitti2 depth, sample 0"):
        load_sample(dataset, "depth", 0)
    assert dataset.load(2, "depth").valid.any()


def test_an_unfinished_preparation_is_not_opened(vkitti):
    header = vkitti / "prepared.json"
    facts = json.loads(header.read_text())
    del facts["splits"]["train"]["blocks"][1]
    header.write_text(json.dumps(facts))
    with pytest.raises(FileNotFoundError, match=r"not finished, 1 of 3 blocks are missing\. Run the same"):
        open_prepared(vkitti, "train")
    assert verify_prepared(vkitti) == [f"{vkitti}: the train split is not finished, blocks missing: 1"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is damaged .JSONDecodeError"),
        ("[]", "is damaged .TypeError"),
        ('{"format": 1, "dataset": "vkitti2"}', "is damaged .KeyError: 'options'"),
        ('{"format": 2}', "has format 2, this version reads 1. Prepare the samples again"),
    ],
)
def test_a_damaged_header_is_named(tmp_path, text, message):
    (tmp_path / "prepared.json").write_text(text)
    with pytest.raises(ValueError, match=rf"prepared\.json {message}"):
        open_prepared(tmp_path, "train")
