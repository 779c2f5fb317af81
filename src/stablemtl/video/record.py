"""What an interrupted run leaves: finished chunks, each with a record, and the state after the last of them.

The folder ``.video-work`` inside the output folder holds ``run.json`` (the fingerprint of source, model and
options), ``chunks/NNNNNN.json`` (files of a chunk with their sizes and checksums), ``state-NNNNNN.npz`` (what
smoothing and the running figures need to go on after it), and the files themselves. Each is written under
another name and renamed, the record last: a chunk is either there as a whole or not at all.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from stablemtl.writers import staged_file

logger = logging.getLogger(__name__)

WORK = ".video-work"
FORMAT = 1
"""To be raised when what is written, or how it is computed, changes."""


class Work:
    """The folder of a run in progress, which no other one may share: lock ``out`` first.

    Args:
        out: the output folder.
        fingerprint: of source, model and options; the work of another run is deleted.
        resume: False deletes any work.
    """

    def __init__(self, out: Path, fingerprint: str, *, resume: bool) -> None:
        self.folder = out / WORK
        self.fingerprint = fingerprint
        run = self.folder / "run.json"
        if self.folder.exists() and not (resume and read_json(run).get("fingerprint") == fingerprint):
            if resume:
                logger.info("%s is of another video, model or options; begun again", self.folder)
            shutil.rmtree(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        for left in self.folder.rglob(".*"):  # of files that were being written
            left.unlink()
        if not run.is_file():
            write_json(run, {"fingerprint": fingerprint})

    def finished_chunks(self) -> tuple[int, dict[str, Any]]:
        """(number of frames that are done, state after them); (0, {}) to begin."""
        records = sorted((self.folder / "chunks").glob("*.json"))
        frames = 0
        for path in records:
            record = read_json(path)
            if record.get("first") != frames or not self._intact(record.get("files", {})):
                logger.warning("%s was altered; the clip is predicted again", self.folder)
                frames = 0
                break
            frames += int(record["frames"])
        state = self.folder / f"state-{frames:06d}.npz"
        if frames and state.is_file():
            with np.load(state, allow_pickle=False) as archive:
                return frames, {key: archive[key] for key in archive.files}
        for path in records:
            path.unlink()
        return 0, {}

    def add_chunk(self, first: int, frames: int, files: list[Path], state: Mapping[str, np.ndarray]) -> None:
        """Records files that are written, with the state after them."""
        path = self.folder / f"state-{first + frames:06d}.npz"
        with staged_file(path) as beside:
            np.savez(beside, **state)  # type: ignore[arg-type]
        facts = {str(file.relative_to(self.folder)): facts_of(file) for file in files}
        record = {"first": first, "frames": frames, "files": facts}
        write_json(self.folder / "chunks" / f"{first:06d}.json", record)
        for old in self.folder.glob("state-*.npz"):
            if old != path:
                old.unlink()

    def remove_if_nothing_is_done(self) -> None:
        """Leave no trace of a run that came to nothing."""
        if not any((self.folder / "chunks").glob("*.json")):
            shutil.rmtree(self.folder)

    def arrays(self, task: str) -> list[Path]:
        """The files of a task's arrays that are here, in order."""
        return sorted((self.folder / task).glob("*.npz"))

    def video(self, name: str) -> Path:
        """Where a video is, or will be."""
        return self.folder / "videos" / f"{name}.mp4"

    @property
    def description(self) -> dict[str, Any]:
        """What describes the clip once all is made; empty before."""
        return read_json(self.folder / "description.json")

    def describe(self, description: Mapping[str, Any]) -> None:
        """All is made."""
        write_json(self.folder / "description.json", description)

    @property
    def predicted(self) -> dict[str, Any]:
        """What was noted when the last frame was predicted; empty before."""
        return read_json(self.folder / "predicted.json")

    def note_predicted(self, facts: Mapping[str, Any]) -> None:
        """The clip has ended."""
        write_json(self.folder / "predicted.json", facts)

    def _intact(self, files: Mapping[str, Mapping[str, Any]]) -> bool:
        return all(
            (self.folder / name).is_file() and facts_of(self.folder / name) == facts
            for name, facts in files.items()
        )


def facts_of(path: Path) -> dict[str, Any]:
    """Size and checksum of a file."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": digest}


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """JSON, all or nothing."""
    with staged_file(path) as beside:
        beside.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def fingerprint_of(**parts: object) -> str:
    """One text for everything a result depends on."""
    text = json.dumps({"format": FORMAT, **parts}, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def read_json(path: Path) -> dict[str, Any]:
    """What :func:`write_json` wrote; empty if there is nothing, or something else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
