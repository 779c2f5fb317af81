"""Adaptive task sampling: tasks that learn slowly get more steps.

StableMTL draws tasks evenly and names adaptive sampling as future work. The rule here takes the relative
inverse training rate of GradNorm (Chen et al., ICML 2018, arXiv 1711.02257, section 3.1) as the weight of a
task's turn instead of its loss:

    r_t = (L_t / L_t(0)) / mean over tasks of (L / L(0)),    weight_t = clip(r_t^strength, 1 / limit, limit)

with L_t a running mean of the task's losses and L_t(0) the mean of its first ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stablemtl.data import Mixture

_FIRST = 5  # losses of a task whose mean is L(0)
_DECAY = 0.9  # of the running mean, per step of the task


@dataclass(frozen=True, kw_only=True)
class AdaptiveConfig:
    """How task weights follow the losses."""

    every: int = 100
    """Optimizer steps between changes of the weights."""
    strength: float = 1.0
    """Exponent of the relative training rate; 0 keeps the weights even."""
    limit: float = 4.0
    """Largest weight of a task, and the smallest's inverse, against 1 of an average task."""

    def __post_init__(self) -> None:
        if self.every < 1 or self.strength < 0 or self.limit < 1:
            raise ValueError(
                "AdaptiveConfig: every and limit must be 1 or more and strength not negative, "
                f"got {self.every}, {self.limit} and {self.strength}"
            )


class AdaptiveTasks:
    """Follows the losses of a run and changes the task weights of its mixture.

    Every process must see the same losses: those of the whole effective batch.

    Args:
        mixture: made with ``reweight_every=config.every``.
        config: the rule's numbers.
        base: weights to multiply; tasks not named have 1.
        on_change: called whenever the mixture draws otherwise from then on.
    Raises:
        ValueError: the mixture was made for other steps.
    """

    def __init__(
        self,
        mixture: Mixture,
        config: AdaptiveConfig,
        base: Mapping[str, float] | None = None,
        *,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        if mixture.reweight_every != config.every:
            raise ValueError(
                f"the mixture must be made with reweight_every={config.every}, got {mixture.reweight_every}"
            )
        self.mixture, self.config, self.base = mixture, config, dict(base or {})
        self.on_change = on_change
        self._counts = dict.fromkeys(mixture.tasks, 0)
        self._first = dict.fromkeys(mixture.tasks, 0.0)
        self._means = dict.fromkeys(mixture.tasks, 0.0)
        self.history: list[tuple[int, dict[str, float]]] = []
        """(step, weights from that step on)."""

    def observe(self, step: int, task: str, loss: float) -> bool:
        """Take in the loss of a finished step; True if later steps are drawn with other weights now."""
        count = self._counts[task]
        if count < _FIRST:
            self._first[task] += loss / _FIRST
            self._means[task] += (loss - self._means[task]) / (count + 1)
        else:
            self._means[task] = _DECAY * self._means[task] + (1 - _DECAY) * loss
        self._counts[task] = count + 1
        if (step + 1) % self.config.every or min(self._counts.values()) < _FIRST:
            return False
        weights = self.weights()
        self.history.append((step + 1, weights))
        self.mixture.reweight(step + 1, weights)
        self.on_change()
        return True

    def weights(self) -> dict[str, float]:
        """The weights that the losses so far ask for; even ones until every task has had a few steps."""
        if min(self._counts.values()) < _FIRST:
            return {task: self.base.get(task, 1.0) for task in self.mixture.tasks}
        rates = {task: self._means[task] / max(self._first[task], 1e-12) for task in self.mixture.tasks}
        mean = max(sum(rates.values()) / len(rates), 1e-12)
        return {
            task: self.base.get(task, 1.0)
            * min(max((rate / mean) ** self.config.strength, 1 / self.config.limit), self.config.limit)
            for task, rate in rates.items()
        }

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps, as JSON values."""
        return {
            "counts": self._counts,
            "first": self._first,
            "means": self._means,
            "history": [[step, weights] for step, weights in self.history],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint: the mixture draws every step as it did then."""
        self._counts = dict(state["counts"])
        self._first, self._means = dict(state["first"]), dict(state["means"])
        history: Sequence[Any] = state["history"]
        self.history = [(int(step), dict(weights)) for step, weights in history]
        self.mixture.reweight(0, self.base)
        for step, weights in self.history:
            self.mixture.reweight(step, weights)
        self.on_change()
