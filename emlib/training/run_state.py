"""What a training has to remember between two iterations beside weights and optimizer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from emlib.training.plateau import Plateau


@dataclass
class RunState:
    """The position in the run, the sums behind the next row of the table, and the best checkpoint so far.

    Attributes:
        iteration: updates done.
        samples: samples seen by all processes together: the next one's index.
        sums: name of loss -> its sum since the last row of the table.
        summed: iterations in these sums.
        best: {"checkpoint", "metric", "value"}, or None.
        stale: measurements since the best one.
        plateau: what a learning rate that follows the loss has seen.

    Example:
        >>> state = RunState()
        >>> state.add({"loss": 2.0}); state.add({"loss": 1.0})
        >>> state.take_means(), state.summed
        ({'loss': 1.5}, 0)
        >>> state.offer("ap75", 0.5, "checkpoint_000010"), state.offer("ap75", 0.4, "checkpoint_000020")
        (True, False)
        >>> state.best["checkpoint"], state.is_stale(1), state.is_stale(None)
        ('checkpoint_000010', True, False)
    """

    iteration: int = 0
    samples: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    summed: int = 0
    best: dict[str, Any] | None = None
    stale: int = 0
    plateau: Plateau = field(default_factory=Plateau)

    def __post_init__(self) -> None:
        if isinstance(self.plateau, Mapping):  # from a checkpoint
            self.plateau = Plateau(**self.plateau)

    def add(self, losses: Mapping[str, float]) -> None:
        """Count one iteration's losses."""
        for name, value in losses.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        self.summed += 1

    def take_means(self) -> dict[str, float]:
        """Means since the last call."""
        means = {name: value / self.summed for name, value in self.sums.items()}
        self.sums, self.summed = {}, 0
        return means

    def offer(self, metric: str, value: float, checkpoint: str) -> bool:
        """Take a checkpoint as the best so far if it is; validation loss is better when lower, all else when higher.

        A metric of another name than the best's takes its place: the recipe changed what it measures.
        """
        sign = -1 if metric == "validation_loss" else 1
        better = self.best is None or self.best["metric"] != metric or sign * value > sign * self.best["value"]
        better = better and not math.isnan(value)
        if better:
            self.best = {"checkpoint": checkpoint, "metric": metric, "value": value}
        if metric != "iteration":  # that is no measurement
            self.stale = 0 if better else self.stale + 1
        return better

    def is_stale(self, patience: int | None) -> bool:
        """Whether so many measurements brought nothing better that the training should stop."""
        return patience is not None and self.stale >= patience

    def to_dict(self) -> dict[str, Any]:
        """Plain types."""
        return asdict(self)
