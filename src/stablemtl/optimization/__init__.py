"""Faster prediction: what leaves the results as they are, and what trades accuracy for time or memory.

``pipe.optimize("exact")`` and ``pipe.optimize("fast")`` decide by the device, see :func:`plan`:

======  ==========================================  ==========================================
device  exact                                       fast, besides
======  ==========================================  ==========================================
CPU     channels last, no more threads than cores   bfloat16 with AMX or AVX512_BF16
CUDA    compiled; channels last in 16 bits          bfloat16 from capability 8.0, float16 from 7.0
others  nothing                                     nothing
======  ==========================================  ==========================================

Choices for CUDA follow its documentation: they were not measured. For a CPU without AMX or AVX512_BF16,
channels last was, and so was that bfloat16 and int8 are slower there. ``benchmarks/approximations.py``
measures all of them on any machine, with what they cost in accuracy.
"""

from __future__ import annotations

from stablemtl.optimization.apply import Optimized, optimize
from stablemtl.optimization.capabilities import Capabilities
from stablemtl.optimization.options import Optimizations
from stablemtl.optimization.planning import plan
from stablemtl.optimization.tiny_codec import load_tiny_codec

__all__ = ["Capabilities", "Optimizations", "Optimized", "load_tiny_codec", "optimize", "plan"]
