"""Folders that one run at a time writes into."""

from __future__ import annotations

import errno
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from stablemtl.writers import LOCK, locked_folder

HOLD = """
import sys, time
from stablemtl.writers import locked_folder
with locked_folder(sys.argv[1]) as folder:
    (folder / "mine.txt").touch()
    print("locked", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def other_run(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has locked ``maps``."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "maps")], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "locked\n"
    yield holder
    holder.kill()
    holder.communicate()


def test_two_processes_and_one_that_was_killed(tmp_path: Path, other_run: subprocess.Popen[str]) -> None:
    folder = tmp_path / "maps"
    with (
        pytest.raises(
            BlockingIOError,
            match=r"another run writes into .*maps at this moment\. Wait for it, or choose another --out",
        ),
        locked_folder(folder),
    ):
        pytest.fail("both have locked it")
    with locked_folder(tmp_path / "others"):
        pass
    other_run.kill()
    other_run.wait()
    assert (folder / LOCK).exists()  # but nobody holds it
    with locked_folder(folder) as locked:
        assert locked == folder
    assert [path.name for path in folder.iterdir()] == ["mine.txt"]


def test_twice_in_one_process(tmp_path: Path) -> None:
    refused = []

    def second() -> None:
        try:
            with locked_folder(tmp_path):
                pass
        except BlockingIOError as error:
            refused.append(error)

    with locked_folder(tmp_path):
        second()
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
    assert len(refused) == 2
    second()
    assert len(refused) == 2


def test_a_file_that_its_holder_deletes_is_not_taken_for_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second run opens the file, then the first one ends: what was opened has no name any more."""
    fcntl = pytest.importorskip("fcntl")
    first = locked_folder(tmp_path)
    first.__enter__()
    running, flock = [first], fcntl.flock

    def late(descriptor: int, operation: int) -> None:
        if running:
            running.pop().__exit__(None, None, None)
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    with locked_folder(tmp_path):
        assert not running
        assert (tmp_path / LOCK).is_file()
        with pytest.raises(BlockingIOError), locked_folder(tmp_path):
            pytest.fail("both have locked it")


@pytest.mark.parametrize(
    ("name", "writes", "stays"),
    [("new", False, []), ("new", True, ["new", "new/a.txt"]), ("there", False, ["there"])],
)
def test_what_stays_of_a_folder(tmp_path: Path, name: str, writes: bool, stays: list[str]) -> None:
    if name == "there":
        (tmp_path / name).mkdir()

    def fail() -> None:
        with locked_folder(tmp_path / name) as folder:
            assert (folder / LOCK).is_file()
            if writes:
                (folder / "a.txt").touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")) == stays


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    with (
        pytest.raises(FileExistsError, match=r"a\.txt: it is a file\. Name a folder"),
        locked_folder(tmp_path / "a.txt"),
    ):
        pytest.fail("it is a file")


def test_disks_without_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def acquire(*_: object, **__: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(FileLock, "acquire", acquire)
    with caplog.at_level(logging.WARNING), locked_folder(tmp_path / "maps") as folder:
        (folder / "a.txt").touch()
    assert "No locks available): start no second run that writes there" in caplog.text
    assert [path.name for path in folder.iterdir()] == ["a.txt"]
