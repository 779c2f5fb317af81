"""Procedural worlds, one file each.

A world is a function of a random generator and a source of textures. It returns a scene to be rendered; for
still lifes, one for each light; for cut-outs, the finished frames and their flow. ``things``, ``rooms``,
``streets`` and ``cutouts`` are for training; ``town``, ``places`` and ``still_lifes`` are held out, and share
neither shapes nor surfaces nor lights with them.
"""

from __future__ import annotations

from stablemtl.synth.worlds.cutouts import cutouts
from stablemtl.synth.worlds.held_out_surfaces import held_out_pattern
from stablemtl.synth.worlds.places import garden, hall
from stablemtl.synth.worlds.rooms import room
from stablemtl.synth.worlds.still_lifes import still_life
from stablemtl.synth.worlds.streets import street
from stablemtl.synth.worlds.things import things
from stablemtl.synth.worlds.town import town

__all__ = ["cutouts", "garden", "hall", "held_out_pattern", "room", "still_life", "street", "things", "town"]
