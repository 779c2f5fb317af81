"""Pictures of a run's progress on a real pair of photographs."""

from __future__ import annotations

from pathlib import Path

from stablemtl.pipeline import StableMTLPipeline


def write_preview(pipeline: StableMTLPipeline, path: Path) -> None:
    """Contact sheet of all tasks on the Middlebury motorcycle pair, which comes with scikit-image.

    Args:
        pipeline: what predicts.
        path: picture to write; its folder is made if missing.
    """
    from skimage.data import stereo_motorcycle

    left, right, _ = stereo_motorcycle()
    path.parent.mkdir(parents=True, exist_ok=True)
    pipeline(left, right).contact_sheet().save(path)
