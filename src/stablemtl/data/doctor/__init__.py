"""The doctor: finds what is wrong with data before training does.

Two kinds of checks. Some look at the samples that a reader gives, and so work on any dataset, the user's own
included; some, in ``raw``, look into the files of a public dataset. A check never guesses: conventions are
told by trying others, and where no verdict is possible none is given.
"""

from __future__ import annotations

from stablemtl.data.doctor.findings import CHECKS, SEVERITIES, Finding, Severity
from stablemtl.data.doctor.report import Report, SplitReport
from stablemtl.data.doctor.runner import DEFAULT_SAMPLES, check_data

__all__ = [
    "CHECKS",
    "DEFAULT_SAMPLES",
    "SEVERITIES",
    "Finding",
    "Report",
    "Severity",
    "SplitReport",
    "check_data",
]
