"""Serves the page until it is told to stop, and leaves no file behind."""

from __future__ import annotations

import logging
import os
import shutil
import socket
import tempfile
import threading
import webbrowser
from importlib import resources
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from stablemtl.app.limits import Limits
from stablemtl.app.sessions import Sessions
from stablemtl.app.shelf import Shelf

logger = logging.getLogger(__name__)

_SWEEP_SECONDS = 30.0


class Server:
    """The page at an address of this machine, inside a ``with`` block.

    All its files, uploads included, are in one temporary folder, which goes when the block ends.

    Args:
        shelf: the models offered.
        limits: what visitors may ask for.
        host: address to listen at.
        port: port to listen at; 0 for any free one.
    Raises:
        OSError: the port is taken, or the address is not one of this machine's.
    """

    def __init__(self, shelf: Shelf, limits: Limits, *, host: str = "127.0.0.1", port: int = 7860) -> None:
        self.host, self.port = host, _free_port(host, port)
        self._folder = Path(tempfile.mkdtemp(prefix="stablemtl-app-"))
        try:
            # Before gradio is imported: it reads them then.
            os.environ["GRADIO_TEMP_DIR"] = str(self._folder / "uploads")
            os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
            from stablemtl.app.clicks import Clicks
            from stablemtl.app.page import build_page

            self._sessions = Sessions(
                self._folder / "sessions",
                keep_seconds=limits.keep_minutes * 60,
                capacity=limits.visitors,
            )
            self._limits = limits
            self._page = build_page(Clicks(shelf, limits, self._sessions))
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        self._stop = threading.Event()

    @property
    def url(self) -> str:
        """What to open in a browser."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::") else self.host
        return f"http://{host}:{self.port}/"

    def __enter__(self) -> Self:
        self._page.queue(max_size=self._limits.queue, default_concurrency_limit=None)
        try:
            self._page.launch(**_launch_options(self.host, self.port, self._limits))
        except BaseException:
            self._close()
            raise
        threading.Thread(target=self._sweep, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def wait(self) -> None:
        """Until interrupted, or stopped from elsewhere."""
        self._stop.wait()

    def stop(self) -> None:
        """Let :meth:`wait` return."""
        self._stop.set()

    def open_browser(self) -> None:
        """Show the page, where there is a browser."""
        webbrowser.open(self.url)

    def _sweep(self) -> None:
        while not self._stop.wait(_SWEEP_SECONDS):
            self._sessions.sweep()

    def _close(self) -> None:
        self._stop.set()
        self._page.close(verbose=False)
        self._sessions.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def _launch_options(host: str, port: int, limits: Limits) -> dict[str, Any]:
    from stablemtl.app.theme import theme

    return {
        "server_name": host,
        "server_port": port,
        "share": False,
        "quiet": True,
        "prevent_thread_lock": True,
        "show_error": False,
        "footer_links": [],
        "run_history": False,
        "enable_monitoring": False,
        "ssr_mode": False,
        "pwa": False,
        "mcp_server": False,
        "max_file_size": round(limits.upload_mb * 1024 * 1024),
        "theme": theme(),
        "css": _asset("page.css"),
        "head": f"<script>{_asset('page.js')}</script>",
    }


def _asset(name: str) -> str:
    return (resources.files("stablemtl.app") / name).read_text(encoding="utf-8")


def _free_port(host: str, port: int) -> int:
    """The port, if nobody listens at it; a free one for 0."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise OSError(
                f"cannot listen at {host}:{port} ({error.strerror}). "
                "Choose another --port, or 0 for any free one."
            ) from error
        return int(probe.getsockname()[1])
