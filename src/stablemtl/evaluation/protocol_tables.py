"""The entries of the protocols ``paper`` and ``standard``; :mod:`stablemtl.evaluation.protocols` names them.

Source of the first: arXiv 2506.08013, section 4 and appendix A.4, and the released evaluation (astra-vision/
StableMTL at commit f44e254), which departs from the text in places.
"""

from __future__ import annotations

from typing import Any

from stablemtl.evaluation.benchmark import Benchmark

DEPTH_RANGE = {"min_depth_m": 1e-3, "max_depth_m": 80.0}
"""Where predictions of depth are clipped [m], unless a benchmark has its own range."""

_NEAREST = "labels resized to the network's size by nearest-exact"
_KITTI_CROP = {"crop": "benchmark"}
_DIODE_M = {"min_depth_m": 0.6, "max_depth_m": 350.0}
_ALBEDO_MASK = "every channel of the albedo at least 0.004"
_EIGEN = "measured, below 80 m, inside Eigen's borders of the whole frame"
_THREE_WAY = "flow and both disparities measured"


def _paper(*quirks: str, **entries: Any) -> Benchmark:
    return Benchmark(protocol="paper", quirks=(_NEAREST, *quirks), **entries)


PAPER: tuple[Benchmark, ...] = (
    _paper(
        "halved by nearest first, so that row 4i + 3 of the original is taken",
        dataset="cityscapes",
        task="semantic",
        headline="miou",
        size=(256, 512),
        via=(512, 1024),
        mask="labels of the eight classes",
        aggregation="counts",
    ),
    _paper(
        dataset="diode",
        task="normal",
        headline="mean_angular_error",
        size=(384, 512),
        mask="stored vectors of length 0.5 to 1.5",
    ),
    _paper(
        "every second row and column of the laser points is left",
        dataset="kitti_depth",
        task="depth",
        headline="abs_rel",
        size=(176, 608),
        reader={**_KITTI_CROP, "mask": "eigen"},
        mask=_EIGEN,
        alignment="scale and shift",
        metric_options={"min_depth_m": 1e-5, "max_depth_m": 80.0},
    ),
    _paper(
        "no limit of range in the mask",
        dataset="diode",
        task="depth",
        headline="abs_rel",
        size=(384, 512),
        mask="the dataset's",
        alignment="scale and shift",
        metric_options=_DIODE_M,
    ),
    _paper(
        "pixels of the full-size frame",
        "mask of scene flow",
        dataset="kitti_flow",
        task="optical_flow",
        headline="epe",
        size=(176, 608),
        reader={**_KITTI_CROP, "flow_mask": "three_way"},
        mask=_THREE_WAY,
        alignment="scale per channel",
        aggregation="pixels",
    ),
    _paper(
        dataset="kitti_flow",
        task="scene_flow",
        headline="epe3d",
        size=(176, 608),
        reader=_KITTI_CROP,
        mask=_THREE_WAY,
        alignment="scale per channel",
        aggregation="pixels",
    ),
    _paper(
        dataset="midintrinsics",
        task="shading",
        headline="rmse",
        size=(256, 384),
        mask=_ALBEDO_MASK,
        alignment="scale",
    ),
    _paper(
        "squared error divided by pixels, not by values: sqrt(3) times the usual RMSE",
        dataset="midintrinsics",
        task="albedo",
        headline="rmse",
        size=(256, 384),
        mask=_ALBEDO_MASK,
        alignment="scale",
    ),
)
"""The eight columns of the paper's Table 2, in their order."""

_DEPTHS = ("sq_rel", "rmse", "rmse_log", "log10", "delta1", "delta2", "delta3", "i_rmse", "silog")

STANDARD: tuple[Benchmark, ...] = (
    Benchmark(
        protocol="standard",
        dataset="cityscapes",
        task="semantic",
        headline="miou",
        also=("accuracy",),
        size=512,
        mask="labels of the eight classes",
        aggregation="counts",
    ),
    Benchmark(
        protocol="standard",
        dataset="diode",
        task="normal",
        headline="mean_angular_error",
        also=("median_angular_error", "within_11.25"),
        size=512,
        mask="stored vectors of length 0.5 to 1.5",
    ),
    Benchmark(
        protocol="standard",
        dataset="kitti_depth",
        task="depth",
        variant="eigen",
        headline="abs_rel",
        also=_DEPTHS,
        size=608,
        reader={**_KITTI_CROP, "mask": "eigen"},
        mask=_EIGEN,
        alignment="scale and shift",
        metric_options=DEPTH_RANGE,
        in_own_unit=True,
    ),
    Benchmark(
        protocol="standard",
        dataset="kitti_depth",
        task="depth",
        variant="garg",
        headline="abs_rel",
        also=_DEPTHS,
        size=608,
        reader={"crop": None, "mask": "garg"},
        mask="measured, below 80 m, inside Garg's borders",
        alignment="scale and shift",
        metric_options=DEPTH_RANGE,
        in_own_unit=True,
    ),
    Benchmark(
        protocol="standard",
        dataset="diode",
        task="depth",
        headline="abs_rel",
        also=_DEPTHS,
        size=512,
        mask="the dataset's",
        alignment="scale and shift",
        metric_options=_DIODE_M,
        in_own_unit=True,
    ),
    Benchmark(
        protocol="standard",
        dataset="kitti_flow",
        task="optical_flow",
        headline="epe",
        also=("fl_all", "angle"),
        size=608,
        reader={"crop": None, "flow_mask": "flow"},
        mask="flow measured, occluded points included",
        alignment="scale per channel",
        aggregation="pixels",
        in_own_unit=True,
    ),
    Benchmark(
        protocol="standard",
        dataset="kitti_flow",
        task="scene_flow",
        headline="epe3d",
        also=("acc_strict", "acc_relax", "outliers"),
        size=608,
        reader={"crop": None},
        mask=_THREE_WAY,
        alignment="scale per channel",
        aggregation="pixels",
        in_own_unit=True,
    ),
    *(
        Benchmark(
            protocol="standard",
            dataset="midintrinsics",
            task=task,
            headline="rmse",
            also=("ssim", "lmse"),
            size=384,
            mask=_ALBEDO_MASK,
            alignment="scale",
            metric_options={"rmse_over": "values"},
        )
        for task in ("shading", "albedo")
    ),
)
"""The same benchmarks as the field reports them."""
