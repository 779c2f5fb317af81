"""What one visitor may ask of the server."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Sizes, lengths and numbers the page accepts."""

    upload_mb: float = 20.0
    """Largest file that can be uploaded [MB, 1024 x 1024 bytes]."""
    side_px: int = 2048
    """Longer edge of a picture [px]; a larger picture is made smaller, with a note."""
    megapixels: float = 64.0
    """Most pixels of a picture [1e6]; more are refused by what the file's head says, before it is decoded."""
    video_seconds: float = 10.0
    """Longest video [s]."""
    concurrency: int = 1
    """How many predictions run at the same time."""
    queue: int = 16
    """How many may wait; the next visitor is told to come back later."""
    keep_minutes: float = 30.0
    """Uploads are kept this long, and results of one who does nothing [min]; of one who leaves, results go at
    once."""
    visitors: int = 32
    """Results are kept in memory for so many; the one who has waited longest loses theirs."""

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name, value in vars(self).items():
            if not value > 0:
                raise ValueError(f"{name} must be above 0, got {value}.")
