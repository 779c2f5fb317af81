"""Procedural worlds: each is a function of a random generator and a texture source, and returns a scene (or, for cut-outs, the frames)."""

from __future__ import annotations

from stablemtl.synth.worlds.cutouts import cutouts
from stablemtl.synth.worlds.rooms import room
from stablemtl.synth.worlds.streets import street
from stablemtl.synth.worlds.things import things

__all__ = ["cutouts", "room", "street", "things"]
