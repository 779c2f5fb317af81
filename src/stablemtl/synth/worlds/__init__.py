"""Procedural worlds, one file each.

A world is a function of a random generator and a source of textures. It returns a scene to be rendered or,
for cut-outs, the finished frames and their flow.
"""

from __future__ import annotations

from stablemtl.synth.worlds.cutouts import cutouts
from stablemtl.synth.worlds.rooms import room
from stablemtl.synth.worlds.streets import street
from stablemtl.synth.worlds.things import things

__all__ = ["cutouts", "room", "street", "things"]
