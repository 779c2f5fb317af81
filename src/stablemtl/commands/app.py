"""Open a web page that predicts: a picture, two frames or a short video in, seven maps out.

The page is served by this machine, to this machine, and asks nothing of any other. It offers the models named
here and no others. --host 0.0.0.0 lets others in your network use it, without a password.
"""

from __future__ import annotations

import importlib.util
import signal
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Annotated, Literal

import tyro
from tyro.conf import OmitArgPrefixes

from stablemtl.app.limits import Limits


@dataclass(frozen=True, kw_only=True)
class AppConfig:
    """Options of ``stablemtl app``."""

    model: Annotated[tuple[str, ...], tyro.conf.arg(metavar="MODEL ...", help_behavior_hint="")] = ("nano",)
    """Models to choose from: embedded, folders of save_pretrained, or hub ids; the first one is preset."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute; auto takes the GPU if there is one."""
    models_in_memory: int = 2
    """How many models stay loaded; the longest unused one goes first."""

    host: str = "127.0.0.1"
    """Address to listen at; this one is for this machine only."""
    port: int = 7860
    """Port to listen at; 0 for any free one."""
    open_browser: bool = True
    """Open the page in your browser."""

    limits: OmitArgPrefixes[Limits] = field(default_factory=Limits)
    """What a visitor may ask for."""


def run(config: AppConfig) -> int:
    """Serve the page until interrupted."""
    require_gradio()
    from diffusers.utils import logging as diffusers_logging

    from stablemtl.app.server import Server
    from stablemtl.app.shelf import Shelf
    from stablemtl.commands.predict import pick_device

    if not 0 <= config.port <= 65535:
        raise ValueError(f"--port must be 0 to 65535, got {config.port}.")
    diffusers_logging.disable_progress_bar()
    shelf = Shelf(config.model, device=pick_device(config.device), keep=config.models_in_memory)
    with Server(shelf, config.limits, host=config.host, port=config.port) as server:
        print(f"stablemtl app: {server.url}  (Ctrl-C ends it)", flush=True)
        signal.signal(signal.SIGTERM, lambda *_: server.stop())
        if config.open_browser:
            server.open_browser()
        with suppress(KeyboardInterrupt):  # Ctrl-C is how it ends
            server.wait()
    return 0


def require_gradio() -> None:
    """See that the page can be made here.

    Raises:
        ImportError: gradio is not installed.
    """
    if importlib.util.find_spec("gradio") is None:
        raise ImportError("the page needs gradio, which is not installed: pip install 'stablemtl[app]'")
