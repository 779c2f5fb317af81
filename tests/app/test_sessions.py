"""Sessions: folders and results go when a visitor leaves, is idle, or is one too many."""

from __future__ import annotations

from pathlib import Path

from stablemtl.app.sessions import Sessions


def make(tmp_path: Path, keep_seconds: float = 1000.0, capacity: int = 10) -> Sessions:
    return Sessions(tmp_path / "root", keep_seconds=keep_seconds, capacity=capacity)


def test_a_session_keeps_its_folder_between_requests(tmp_path: Path) -> None:
    sessions = make(tmp_path)
    with sessions.running("a") as first:
        (first.folder / "file.txt").write_text("x")
    with sessions.running("a") as again, sessions.running("b") as other:
        assert again is first
        assert (again.folder / "file.txt").read_text() == "x"
        assert other.folder != first.folder
    assert len(sessions) == 2


def test_the_visitors_name_is_no_part_of_a_path(tmp_path: Path) -> None:
    sessions = make(tmp_path)
    with sessions.running("../../outside") as session:
        assert session.folder.parent == tmp_path / "root"
    assert {path.name for path in tmp_path.iterdir()} == {"root"}


def test_dropping_removes_the_files(tmp_path: Path) -> None:
    sessions = make(tmp_path)
    with sessions.running("a") as session:
        pass
    assert session.folder.is_dir()
    sessions.drop("a")
    sessions.drop("a")
    assert not session.folder.exists()
    assert len(sessions) == 0


def test_what_is_running_ends_before_its_files_go(tmp_path: Path) -> None:
    sessions = make(tmp_path, keep_seconds=0.0)
    with sessions.running("a") as session:
        sessions.sweep()
        assert session.folder.is_dir()
        sessions.drop("a")
        (session.folder / "late.txt").write_text("x")
    assert not session.folder.exists()


def test_idle_sessions_are_swept(tmp_path: Path) -> None:
    sessions = make(tmp_path, keep_seconds=60.0)
    with sessions.running("idle") as idle, sessions.running("busy") as busy:
        pass
    idle.used -= 61
    sessions.sweep()
    assert not idle.folder.exists()
    assert busy.folder.is_dir()
    assert len(sessions) == 1


def test_one_too_many_drops_the_longest_idle(tmp_path: Path) -> None:
    sessions = make(tmp_path, capacity=2)
    folders = []
    for key in ("a", "b", "a", "c"):
        with sessions.running(key) as session:
            folders.append(session.folder)
    a, b, _, c = folders
    assert (a.exists(), b.exists(), c.exists()) == (True, False, True)


def test_closing_removes_everything(tmp_path: Path) -> None:
    sessions = make(tmp_path)
    with sessions.running("a"):
        pass
    sessions.close()
    assert not (tmp_path / "root").exists()
    assert len(sessions) == 0
