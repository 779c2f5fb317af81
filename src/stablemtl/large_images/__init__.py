"""Images larger than a network can see at once, in overlapping tiles that are brought to one scale.

>>> from stablemtl.large_images import predict_tiled  # doctest: +SKIP
>>> maps = predict_tiled(pipe, "panorama.jpg", tile=1024)  # doctest: +SKIP

The method is told at :func:`predict_tiled`.
"""

from __future__ import annotations

from stablemtl.large_images.predict import predict_tiled, predict_tiled_with_report
from stablemtl.large_images.report import TaskTiling, TilingReport
from stablemtl.large_images.seams import seam_error

__all__ = ["TaskTiling", "TilingReport", "predict_tiled", "predict_tiled_with_report", "seam_error"]
