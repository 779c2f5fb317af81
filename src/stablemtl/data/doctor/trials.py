"""Telling a wrong convention from a right one: does another reading of the label fit better than the label?

A trial scores a label of one frame as it is, and as it would be in other conventions (sign flipped, axes
swapped, another unit). Scores are shares: 1 is a perfect fit, 0 none, or none better than no label at all.
One frame may be misleading; the verdict is on all frames of the sample, and on a single frame only if it is
far off.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stablemtl.data.doctor.findings import Finding, Measurement, Severity, examples

AS_IS = "as is"
"""The label as the reader gives it."""

ERROR_SHARE = 0.1
"""More wrong frames than this, of those that can be judged, are an error: the cause is no single file."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """How the trials of a check become findings."""

    check: str
    subject: str
    """What is judged, for the message: ``optical flow``."""
    measure: str
    """What the scores are, for the message."""
    margin: float
    """The mean score of another reading must be larger by this much to count."""
    frame_margin: float
    """The same for a single frame; larger, as single frames are noisy."""
    floor: float
    """Below this mean score of the label as it is, it fits nothing, even if no other reading is better."""
    frame_floor: float
    """The same for a single frame."""
    misfit: Severity = "error"
    """How bad it is that nothing fits: another reading that does is an error in any case."""


def judge(rule: Rule, trials: Sequence[Measurement], dataset: str, split: str) -> list[Finding]:
    """At most one finding from the trials of a split."""
    if not trials:
        return []
    mean = _mean(trials)
    wrong: dict[str, str] = {}  # frame to the reading that is better, empty if none is
    for trial in trials:
        better = _better(trial.values, rule.frame_margin)
        if better or trial.values[AS_IS] < rule.frame_floor:
            wrong[trial.key] = better
    reading = _better(mean, rule.margin)
    if reading or mean[AS_IS] < rule.floor:
        # If no frame stands out by itself, all of them are a little off.
        keys = list(wrong) or [trial.key for trial in trials]
        widespread = True
    elif wrong:
        keys = list(wrong)
        reading = Counter(wrong.values()).most_common(1)[0][0]
        mean = _mean([trial for trial in trials if trial.key in wrong])
        widespread = len(wrong) > ERROR_SHARE * len(trials)
    else:
        return []
    severity: Severity = ("error" if reading else rule.misfit) if widespread else "warning"
    message = f"{rule.subject} in {len(keys)} of {len(trials)} frames that can be judged "
    if reading:
        message += f"looks {reading}: {rule.measure} {mean[AS_IS]:.2f}, the other way {mean[reading]:.2f}"
    else:
        message += f"does not fit: {rule.measure} {mean[AS_IS]:.2f}"
    return [
        Finding(
            severity=severity,
            check=rule.check,
            dataset=dataset,
            split=split,
            message=message,
            examples=examples(keys),
            count=len(keys),
        )
    ]


def _mean(trials: Sequence[Measurement]) -> dict[str, float]:
    return {name: sum(t.values[name] for t in trials) / len(trials) for name in trials[0].values}


def _better(scores: Mapping[str, float], margin: float) -> str:
    """The reading that beats the label as it is by the margin; empty if none does."""
    best = max(scores, key=lambda name: scores[name])
    return "" if scores[best] - scores[AS_IS] <= margin else best
