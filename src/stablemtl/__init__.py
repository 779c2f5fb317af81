"""StableMTL: one image, or two consecutive frames, to seven dense maps.

>>> from stablemtl import StableMTLPipeline
>>> pipe = StableMTLPipeline.from_pretrained("nano")  # doctest: +SKIP
>>> pipe("street.jpg", "street2.jpg")["depth"].values.shape  # doctest: +SKIP
(480, 640)

The public names are loaded when they are first used, so importing the package is quick (PEP 562).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stablemtl.lazy_names import lazy_names

if TYPE_CHECKING:
    from stablemtl.evaluation.delta_m import delta_m
    from stablemtl.models import StableMTLModel
    from stablemtl.pipeline import StableMTLPipeline
    from stablemtl.tasks import TASKS

__version__ = "0.1.0"

__all__ = ["TASKS", "StableMTLModel", "StableMTLPipeline", "__version__", "delta_m"]

_HOMES = {
    "ModelMixin": "diffusers",  # diffusers looks for it beside our classes, to learn how they are loaded
    "StableMTLModel": "stablemtl.models",
    "StableMTLPipeline": "stablemtl.pipeline",
    "TASKS": "stablemtl.tasks",
    "delta_m": "stablemtl.evaluation",
}

__getattr__, __dir__ = lazy_names(__name__, __all__, _HOMES)
