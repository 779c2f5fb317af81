"""What the figures of the metrics are: unit, direction and meaning, for tables and their legends."""

from __future__ import annotations

from dataclasses import dataclass

from stablemtl.tasks import TASKS


@dataclass(frozen=True, kw_only=True)
class FigureFacts:
    """What a reader needs to know of a figure."""

    unit: str = ""
    """Empty for shares, ratios and the like."""
    higher_is_better: bool | None = None
    """None if not known."""
    meaning: str = ""
    """In words."""

    @property
    def better(self) -> str:
        """``higher`` or ``lower``, or nothing."""
        return {True: "higher", False: "lower", None: ""}[self.higher_is_better]


def _lower(meaning: str, unit: str = "") -> FigureFacts:
    return FigureFacts(unit=unit, higher_is_better=False, meaning=meaning)


def _higher(meaning: str) -> FigureFacts:
    return FigureFacts(higher_is_better=True, meaning=meaning)


_DEPTH = {
    "abs_rel": _lower("mean of |predicted - true depth| / true depth"),
    "sq_rel": _lower("mean of (predicted - true depth)² / true depth", "m"),
    "rmse": _lower("root mean square error of depth", "m"),
    "rmse_log": _lower("root mean square error of the logarithm of depth"),
    "log10": _lower("mean absolute error of the decimal logarithm of depth"),
    "delta1": _higher("share of pixels whose depth is right up to a factor of 1.25"),
    "delta2": _higher("share of pixels whose depth is right up to a factor of 1.25²"),
    "delta3": _higher("share of pixels whose depth is right up to a factor of 1.25³"),
    "i_rmse": _lower(
        "root mean square error of 1 / depth; with a fit of scale and shift, the few pixels that it moves "
        "behind the camera are clipped to the smallest depth and can outweigh all others",
        "1/m",
    ),
    "silog": _lower("100 x the standard deviation of the error of the logarithm of depth"),
}
_INTRINSIC = {
    "rmse": _lower("root mean square error, up to one scale; white is 1"),
    "ssim": _higher("structural similarity, 1 if they are the same"),
    "lmse": _lower("local mean square error: each window has a scale of its own"),
}
_KNOWN: dict[str, dict[str, FigureFacts]] = {
    "semantic": {
        "miou": _higher("mean over the classes of intersection over union, from 0 to 1"),
        "accuracy": _higher("share of pixels of the right class"),
    },
    "normal": {
        "mean_angular_error": _lower("mean angle between predicted and true normals", "deg"),
        "median_angular_error": _lower("median angle between predicted and true normals", "deg"),
        "within_11.25": _higher("share of pixels whose normal is off by less than 11.25 degrees"),
    },
    "depth": _DEPTH,
    "optical_flow": {
        "epe": _lower("mean distance between the ends of predicted and true motion", "px"),
        "fl_all": _lower("share of pixels that are off by more than 3 px and by more than 5 %"),
        "angle": _lower("mean angle between predicted and true motion, where there is some", "deg"),
    },
    "scene_flow": {
        "epe3d": _lower("mean distance between the ends of predicted and true motion in space", "m"),
        "acc_strict": _higher("share of pixels that are off by less than 0.05 m and less than 5 %"),
        "acc_relax": _higher("share of pixels that are off by less than 0.1 m and less than 10 %"),
        "outliers": _lower("share of pixels that are off by more than 0.3 m and more than 10 %"),
    },
    "shading": _INTRINSIC,
    "albedo": _INTRINSIC,
}


def figure_facts(task: str, figure: str) -> FigureFacts:
    """What is known of a figure of a task; of a task's own headline its direction at least."""
    known = _KNOWN.get(task, {}).get(figure)
    if known is not None:
        return known
    spec = TASKS[task].spec if task in TASKS else None
    if spec is not None and spec.headline == figure:
        return FigureFacts(higher_is_better=spec.higher_is_better)
    return FigureFacts()


def with_unit(task: str, figure: str) -> str:
    """The name of a figure, and its unit if it has one: ``epe [px]``."""
    unit = figure_facts(task, figure).unit
    return f"{figure} [{unit}]" if unit else figure
