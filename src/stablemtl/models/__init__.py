"""The networks: latent codec, task attention, the model, its builders, the converter of published weights.

The public names are loaded when they are first used (PEP 562).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stablemtl.lazy_names import lazy_names

if TYPE_CHECKING:
    from stablemtl.models.builders import from_base, nano_codec, nano_model
    from stablemtl.models.codec import LatentCodec
    from stablemtl.models.convert import from_published
    from stablemtl.models.model import StableMTLModel
    from stablemtl.models.task_attention_config import TaskAttentionConfig, nano_task_attention_config

__all__ = [
    "LatentCodec",
    "StableMTLModel",
    "TaskAttentionConfig",
    "from_base",
    "from_published",
    "nano_codec",
    "nano_model",
    "nano_task_attention_config",
]

_HOMES = {
    "LatentCodec": ".codec",
    "StableMTLModel": ".model",
    "TaskAttentionConfig": ".task_attention_config",
    "from_base": ".builders",
    "from_published": ".convert",
    "nano_codec": ".builders",
    "nano_model": ".builders",
    "nano_task_attention_config": ".task_attention_config",
}

__getattr__, __dir__ = lazy_names(__name__, __all__, _HOMES)
