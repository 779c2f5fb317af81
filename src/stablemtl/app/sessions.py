"""What is kept for each visitor: a folder and the last result, until they leave or do nothing for a while."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stablemtl.app.prediction import Result

logger = logging.getLogger(__name__)


@dataclass(kw_only=True)
class Session:
    """One open page."""

    folder: Path
    """For its files; made when first used."""
    result: Result | None = None
    """What was predicted last."""
    used: float = field(default_factory=time.monotonic)
    """When something was last done [s]."""
    running: int = 0
    """How many of its requests are being worked on."""
    left: bool = False
    """The page is closed: what is running is the last."""

    @property
    def maps(self) -> Path:
        """Folder of what was predicted last from pictures."""
        return self.folder / "maps"


class Sessions:
    """Visitors' sessions below one folder.

    Args:
        root: folder for their files; removed by :meth:`close`.
        keep_seconds: a session in which nothing was done for so long is dropped.
        capacity: how many results are kept.
    """

    def __init__(self, root: Path, *, keep_seconds: float, capacity: int) -> None:
        self.root = root
        self._keep_seconds, self._capacity = keep_seconds, capacity
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._lock = threading.Lock()
        self._count = 0

    @contextmanager
    def running(self, key: str) -> Iterator[Session]:
        """A visitor's session while something is done for it; its folder exists.

        Args:
            key: what the page calls itself; never part of a file name.
        """
        with self._lock:
            session = self._sessions.get(key)
            if session is None:
                self._count += 1
                session = self._sessions[key] = Session(folder=self.root / f"{self._count:06d}")
            self._sessions.move_to_end(key)
            session.running += 1
            session.used = time.monotonic()
            session.folder.mkdir(parents=True, exist_ok=True)
        try:
            yield session
        finally:
            with self._lock:
                session.running -= 1
                session.used = time.monotonic()
                if session.left and not session.running:
                    _remove(session)
            self.sweep()

    def drop(self, key: str) -> None:
        """Forget a visitor, once nothing is running for them."""
        with self._lock:
            session = self._sessions.pop(key, None)
            if session is not None:
                session.left = True
                if not session.running:
                    _remove(session)

    def sweep(self) -> None:
        """Drop who did nothing for too long, and the longest idle where there are too many."""
        now = time.monotonic()
        with self._lock:
            idle = [key for key, session in self._sessions.items() if not session.running]
            stale = [key for key in idle if now - self._sessions[key].used > self._keep_seconds]
            for key in [*stale, *idle[: max(0, len(self._sessions) - self._capacity)]]:
                session = self._sessions.pop(key, None)
                if session is not None:
                    session.left = True
                    _remove(session)

    def close(self) -> None:
        """Forget everybody and remove the folder."""
        with self._lock:
            self._sessions.clear()
        shutil.rmtree(self.root, ignore_errors=True)

    def __len__(self) -> int:
        return len(self._sessions)


def _remove(session: Session) -> None:
    session.result = None
    shutil.rmtree(session.folder, ignore_errors=True)
    logger.info("removed the files of a visitor")
