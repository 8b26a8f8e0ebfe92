"""A learning rate that goes down when the loss no longer gets better."""

from __future__ import annotations

from dataclasses import dataclass

from emlib.recipe_schema import PlateauRecipe


@dataclass
class Plateau:
    """What such a schedule has seen; part of every checkpoint, so that a resumed training goes on exactly.

    Every `every` iterations the mean loss since the last look is compared with the best one so far. It is better if it
    is below best x (1 - threshold). When more than `patience` looks in a row were not, the rate is multiplied by
    `factor`, but does not go below `lowest_rate`, and the count begins anew. This is torch's `ReduceLROnPlateau`, as
    the EM mitochondria pipeline uses it.

    Attributes:
        rate: the learning rate; None: still that of the optimizer.
        best: the lowest mean loss; None: no look so far.
        stale: looks since the best one, or since the rate went down.
        total, count: sum of the losses since the last look, and how many they are.

    Example:
        >>> plateau, settings = Plateau(), PlateauRecipe(every=1, patience=1)
        >>> for loss in (3.0, 2.0, 2.0, 2.0):
        ...     plateau.watch(loss, settings, 0.01)
        >>> plateau.rate, plateau.best
        (0.001, 2.0)
    """

    rate: float | None = None
    best: float | None = None
    stale: int = 0
    total: float = 0.0
    count: int = 0

    def watch(self, loss: float, settings: PlateauRecipe, base: float) -> None:
        """Count one iteration's loss; `base` is the learning rate to begin with."""
        self.total, self.count = self.total + loss, self.count + 1
        if self.count < settings.every:
            return
        mean = self.total / self.count
        self.total, self.count = 0.0, 0
        if self.best is None or mean < self.best * (1 - settings.threshold):
            self.best, self.stale = mean, 0
        else:
            self.stale += 1
        if self.stale > settings.patience:
            rate = base if self.rate is None else self.rate
            self.rate, self.stale = min(rate, max(rate * settings.factor, settings.lowest_rate)), 0
