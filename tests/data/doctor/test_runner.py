"""What lies in a folder, which frames are read, the report, and reading in several processes."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace

import pytest

from stablemtl.data.catalog import CATALOG
from stablemtl.data.doctor import check_data, pool
from stablemtl.data.doctor.folder import MARKS, recognise
from stablemtl.data.doctor.pool import Job, Place, choose_processes
from stablemtl.data.doctor.sampling import choose_frames, spread


def test_spread():
    assert spread(range(5), 9) == [0, 1, 2, 3, 4]
    assert spread(range(11), 3) == [0, 5, 10]
    assert spread([7, 8, 9], 1) == [8]


def test_choose_frames_covers_every_label():
    labelled = {"depth": range(12), "optical_flow": [i for i in range(12) if i % 3 != 2], "albedo": []}
    chosen = choose_frames(labelled, 4)
    assert chosen == [0, 3, 7, 10]  # of the eight frames with flow; they have depth as well
    assert choose_frames(labelled, 4, extra=[5]) == [0, 3, 5, 7, 10]
    assert choose_frames(labelled, None) == list(range(12))


def test_small_samples_and_deep(good_root):
    report = check_data(good_root, samples=1, datasets=["flyingchairs", "flyingthings3d"])
    assert [split.looked_at for split in report.splits] == [1, 1, 1, 1]
    assert report.samples == 1 + 1 + 2 + 2
    assert not report.deep
    report = check_data(good_root, samples=1, datasets=["flyingchairs"], deep=True)
    assert [split.looked_at for split in report.splits] == [4, 2]
    assert report.deep


def test_a_damaged_file_is_found_by_its_size(copy_of_good):
    root = copy_of_good("FlyingChairs_release")
    path = root / "FlyingChairs_release" / "data" / "00002_flow.flo"
    path.write_bytes(path.read_bytes()[:-1])
    report = check_data(root, samples=1)
    assert report.splits[0].looked_at == 2
    (finding,) = [finding for finding in report.findings if finding.severity == "error"]
    assert finding.check == "unreadable"
    assert "data/00002_flow.flo" in finding.examples[0]


def test_strays_are_told(copy_of_good):
    root = copy_of_good("FlyingChairs_release", "hypersim")
    (root / "hypersim").rename(root / "Hypersim")
    (root / "notes").mkdir()
    (root / "readme.txt").write_text("x")
    (root / ".hidden").mkdir()
    report = check_data(root)
    strays = [finding for finding in report.findings if finding.check == "folder"]
    assert [(f.severity, f.examples, f.count) for f in strays] == [
        ("warning", ("Hypersim/",), 1),
        ("note", ("notes/", "readme.txt"), 2),
    ]
    assert "looks like hypersim but is not read: rename it to hypersim" in strays[0].message
    assert report.healthy
    assert not [f for f in check_data(root, datasets=["flyingchairs"]).findings if f.check == "folder"]


@pytest.mark.parametrize("name", MARKS)
def test_the_folder_of_one_dataset(name, good_root):
    assert set(MARKS) == set(CATALOG)
    folder = good_root / CATALOG[name].folder
    assert recognise(folder) == name


def test_check_the_folder_of_one_dataset(good_root):
    report = check_data(good_root / "FlyingChairs_release")
    assert {split.dataset for split in report.splits} == {"flyingchairs"}
    assert report.splits[0].frames == 4
    assert report.healthy


@pytest.mark.slow
def test_several_processes_say_the_same(good_root):
    one = check_data(good_root, datasets=["flyingchairs"], workers=1)
    two = check_data(good_root, datasets=["flyingchairs"], workers=2)
    assert (one.workers, two.workers) == (1, 2)
    assert replace(two, seconds=0.0, workers=1) == replace(one, seconds=0.0)


def test_what_a_process_does(good_root, monkeypatch):
    for name in (
        "signal.signal",
        "torch.set_num_threads",
        "cv2.setNumThreads",
        "cv2.utils.logging.setLogLevel",
    ):
        monkeypatch.setattr(f"stablemtl.data.doctor.pool.{name}", lambda *_: None)
    folder = good_root / "FlyingChairs_release"
    place = Place(info=CATALOG["flyingchairs"], folder=folder, split="val")
    pool._start_worker(pickle.loads(pickle.dumps([place])))
    seen, loaded = pool._work(Job(place=0, index=1, tasks=("optical_flow",)))
    assert loaded == 1
    assert {observation.check for observation in seen} == {"all-invalid", "flow-convention"}
    with pytest.raises(OSError, match=r"flyingchairs \(val split\) in .* changed while it was read"):
        replace(place, folder=good_root / "none").open()


def test_processes_are_started_for_many_frames_only(monkeypatch, tmp_path, caplog):
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    assert [choose_processes(None, jobs, []) for jobs in (0, 399, 400, 100_000)] == [1, 1, 2, 8]
    assert choose_processes(3, 1, []) == 3
    here = replace(CATALOG["hypersim"], build=lambda root, split: None)
    assert choose_processes(3, 1, [Place(info=here, folder=tmp_path, split="train")]) == 1
    assert "cannot be sent" in caplog.text


def test_report_as_json(good_root, tmp_path):
    report = check_data(good_root, datasets=["flyingchairs"])
    path = report.save(tmp_path / "new" / "report.json")
    content = json.loads(path.read_text())
    assert content["healthy"] is True
    assert content["samples"] == 6
    assert content["seconds_per_thousand_samples"] == pytest.approx(1000 * content["seconds"] / 6)
    assert content["splits"][0]["labelled"] == {"optical_flow": 4}
    assert content["findings"][0]["check"] == "frame-count"
    assert content["findings"][0]["message"] == "4 frames; the official release has 22,232"


def test_wrong_arguments(good_root, tmp_path):
    with pytest.raises(ValueError, match="samples must be at least 1, got 0"):
        check_data(good_root, samples=0)
    with pytest.raises(ValueError, match="workers must be at least 1, got 0"):
        check_data(good_root, workers=0)
    with pytest.raises(ValueError, match=r"no dataset vkitti in .*; there are hypersim, vkitti2"):
        check_data(good_root, datasets=["vkitti"])
    with pytest.raises(FileNotFoundError, match="no data folder"):
        check_data(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match=r"no dataset in .* must hold one or more of hypersim"):
        check_data(tmp_path)


def test_progress(good_root):
    told = []
    check_data(good_root, datasets=["flyingchairs"], on_progress=lambda *step: told.append(step))
    assert told[0] == ("listing flyingchairs", 1, 4)
    assert told[-1] == ("reading", 6, 6)
