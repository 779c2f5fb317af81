"""What one visitor may ask of the server: options of ``stablemtl app``, and so light to import."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from tyro.conf import Fixed, SuppressFixed, arg


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a visitor may ask for."""

    upload_mb: Annotated[float, arg(name="max-upload-mb")] = 20.0
    """Largest file that can be uploaded, in MB of 1024 x 1024 bytes."""
    side_px: Annotated[int, arg(name="max-side-px")] = 2048
    """Longer edge of a picture, in px; a larger one is made smaller, with a note on the page."""
    megapixels: Annotated[float, arg(name="max-megapixels")] = 64.0
    """Most pixels of a picture, in millions; more are refused before the file is decoded."""
    video_seconds: Annotated[float, arg(name="max-video-seconds")] = 10.0
    """Longest video, in seconds."""
    concurrency: int = 1
    """How many predictions run at the same time; each model serves one at a time."""
    queue: Annotated[int, arg(name="queue-size")] = 16
    """How many requests may wait; the next visitor is told to try again later."""
    keep_minutes: float = 30.0
    """Uploads and results are removed after so long without use; results of one who leaves, at once."""
    visitors: SuppressFixed[Fixed[int]] = 32
    """Results are kept in memory for so many; the one who has waited longest loses theirs."""

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name, value in vars(self).items():
            if not value > 0:
                raise ValueError(f"{name} must be above 0, got {value}.")
