"""FlyingThings3D, official subset release: rendered flying objects with optical flow and scene flow.

Source: Mayer et al., CVPR 2016, arXiv 1512.02134 (subset: "FlyingThings3D_subset"). Read as downloaded::

    {train,val}/image_clean/left/0000000.png
    {train,val}/disparity/left/0000000.pfm                             px, stored negated
    {train,val}/disparity_change/left/into_future/0000000.pfm          px, stored negated
    {train,val}/flow/left/into_future/0000000.flo                      px

H, W: height and width of the frame, official (540, 960) or not.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import numpy as np

from stablemtl.data.formats import read_flo, read_pfm, read_rgb
from stablemtl.data.reader import DatasetReader, Floats, LabelledFrame, Mask, check_option
from stablemtl.data.sample import require_file, sorted_names

OFFICIAL_FOCAL_PX, OFFICIAL_WIDTH_PX = 1050.0, 960
BASELINE = 1.0
MAX_FLOW_PX = 500.0
MAX_DEPTH = 35.0


class FlyingThings3D(DatasetReader[int]):
    """Pairs of frames of FlyingThings3D with optical flow or scene flow.

    A pair is (id, id + 1) for every id with a forward flow file. Flow is in pixels of the source frame, valid
    below 500 px per component. Scene flow is in units of the stereo baseline, called metres, and valid where
    the point is nearer than 35; occluded points count. Labels are zero where not valid. Left camera only.

    Unlike StableMTL's pre-processing, which rebuilds scene flow from points with an offset of two rows,
    labels stay on the pixels they belong to.

    Args:
        root: folder that holds ``train`` and ``val``.
        split: ``train`` or ``val``.
        render_pass: ``clean``, or ``final`` with motion and depth blur.
    Raises:
        FileNotFoundError: no root.
        EmptySplitError: no forward flow file of this split.
        ValueError: unknown split or render pass.
    """

    name = "flyingthings3d"
    tasks = ("optical_flow", "scene_flow")
    splits = ("train", "val")

    def __init__(
        self,
        root: str | os.PathLike[str],
        split: str = "train",
        *,
        render_pass: Literal["clean", "final"] = "clean",
    ) -> None:
        check_option("render_pass", render_pass, ("clean", "final"))
        super().__init__(root, split)
        self.render_pass = render_pass
        flows = self.root / split / "flow" / "left" / "into_future"
        self.frames = [int(Path(name).stem) for name in sorted_names(flows.glob("*.flo"))]
        self.require_frames(f".flo file in {flows}")

    def read_frame(self, frame: int, task: str) -> LabelledFrame:
        """One pair of frames with one label; see the class.

        Raises:
            FileNotFoundError: a file of the pair is missing.
        """
        flow = read_flo(self._path("flow/left/into_future", frame, "flo"))
        if task == "optical_flow":
            with np.errstate(invalid="ignore"):
                valid = np.abs(flow).max(-1) < MAX_FLOW_PX  # NaN compares as False
            label = np.where(valid[..., None], flow, np.float32(0.0))
        else:
            disparity = -read_pfm(self._path("disparity/left", frame, "pfm"))
            change = -read_pfm(self._path("disparity_change/left/into_future", frame, "pfm"))
            label, valid = scene_flow(disparity, disparity + change, flow)
        images = f"image_{self.render_pass}/left"
        return LabelledFrame(
            image=read_rgb(self._path(images, frame, "png")),
            image_next=read_rgb(self._path(images, frame + 1, "png")),
            label=label,
            valid=valid,
            key=f"{frame:07d}",
        )

    def _path(self, kind: str, number: int, suffix: str) -> Path:
        path = self.root / self.split / kind / f"{number:07d}.{suffix}"
        return require_file(path, self.name, self.split)


def scene_flow(disparity: Floats, disparity_next: Floats, flow: Floats) -> tuple[Floats, Mask]:
    """Motion of the points of frame i between the two cameras' own frames, in units of the baseline.

    z = f / disparity; a pixel (c, r) is the point ((c - cx) z / f, (r - cy) z / f, z), and after the motion
    the point at (c + u, r + v) with the later disparity. f = 1050 px at a width of 960, in proportion at any
    other; the principal point is the middle of the frame.

    Source: pre-processing of CamLiFlow (Liu et al., CVPR 2022), without its offset in the loader.

    Args:
        disparity: of frame i [px, positive], shape (H, W).
        disparity_next: later disparity of the same points [px], shape (H, W).
        flow: optical flow [px], shape (H, W, 2).
    Returns:
        Motion (x right, y down, z forward), float32 (H, W, 3), zero where not valid, and validity (H, W):
        finite, in front of both cameras, and nearer than 35 in frame i.
    """
    height, width = disparity.shape
    focal = OFFICIAL_FOCAL_PX * width / OFFICIAL_WIDTH_PX
    x = np.arange(width)[None, :] - (width - 1) / 2
    y = np.arange(height)[:, None] - (height - 1) / 2
    with np.errstate(all="ignore"):
        before = _points(disparity.astype(np.float64), x, y, focal)
        after = _points(disparity_next.astype(np.float64), x + flow[..., 0], y + flow[..., 1], focal)
        motion = after - before
        valid = (disparity > 0) & (disparity_next > 0) & (before[..., 2] < MAX_DEPTH)
        valid &= np.isfinite(np.abs(motion).max(-1))
    return np.where(valid[..., None], motion, 0.0).astype(np.float32), valid


def _points(disparity: Floats, x: Floats, y: Floats, focal: float) -> Floats:
    z = focal * BASELINE / (disparity + 1e-5)
    return np.stack([x * z / focal, y * z / focal, z], axis=-1)
