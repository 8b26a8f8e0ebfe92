"""Precision, recall and F1 of counted matches, with one rule for what 0 / 0 is."""

from __future__ import annotations


class MatchRates:
    """The figures made of tp, fp and fn, for a class that has these as attributes.

    If there is neither a truth object nor a segment, every ratio is 1 (nothing to find, nothing found); any other
    ratio 0 / 0 is 0.
    """

    tp: int
    fp: int
    fn: int

    @property
    def precision(self) -> float:
        """tp / (tp + fp)."""
        return self._share(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> float:
        """tp / (tp + fn)."""
        return self._share(self.tp, self.tp + self.fn)

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall, 2 tp / (2 tp + fp + fn)."""
        return self._share(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    def _share(self, part: float, whole: float) -> float:
        if self.tp + self.fp + self.fn == 0:
            return 1.0
        return part / whole if whole else 0.0
