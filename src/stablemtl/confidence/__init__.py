"""How far to trust a map of a deterministic model: per pixel, by what should agree and does not.

>>> from stablemtl.confidence import cross_task, predict_with_flips  # doctest: +SKIP
>>> maps, spread = predict_with_flips(pipe, "street.jpg")  # doctest: +SKIP
>>> spread["normal"].values.shape, spread["normal"].unit  # doctest: +SKIP
((480, 640), 'deg')
>>> checks = cross_task(maps, "street.jpg")  # doctest: +SKIP
>>> checks["normal_depth"].save("maps/normal_depth_consistency.png")  # doctest: +SKIP

Agreement proves nothing: maps can be wrong in the same way. Disagreement proves that at least one is wrong.
How well each map points at true errors depends on model and data: ``benchmarks/confidence.py`` measures it on
labelled images. For the embedded model they rank pixels better than chance in most tasks, and far from well;
for shading and scene flow they do not.
"""

from __future__ import annotations

from stablemtl.confidence.cross_task import CHECKS, CrossTask, cross_task
from stablemtl.confidence.flips import FLIPS, predict_with_flips
from stablemtl.confidence.maps import ConsistencyMap, read_consistency_map

__all__ = [
    "CHECKS",
    "FLIPS",
    "ConsistencyMap",
    "CrossTask",
    "cross_task",
    "predict_with_flips",
    "read_consistency_map",
]
