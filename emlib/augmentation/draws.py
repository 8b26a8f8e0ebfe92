"""Random numbers of one sample, all from one CPU generator, so that they are the same on every device."""

from __future__ import annotations

import torch


class Draws:
    """Plain random numbers from a `torch.Generator` on the CPU."""

    def __init__(self, generator: torch.Generator) -> None:
        if not isinstance(generator, torch.Generator) or generator.device.type != "cpu":
            raise TypeError("A generator must be a torch.Generator on the CPU: numbers are the same on every device.")
        self._generator = generator

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """One number in [low, high)."""
        return low + (high - low) * float(torch.rand((), generator=self._generator, dtype=torch.float64))

    def chance(self, probability: float) -> bool:
        """True with this probability; draws one number even if the answer is certain, so that later draws stay put."""
        return self.uniform() < probability

    def integer(self, start: int, stop: int) -> int:
        """One whole number from start to stop - 1."""
        return int(torch.randint(start, stop, (), generator=self._generator))

    def some_of(self, count: int, choose: int) -> list[int]:
        """`choose` different numbers from 0 to count - 1, ascending."""
        return sorted(torch.randperm(count, generator=self._generator)[:choose].tolist())

    def field(self, shape: tuple[int, ...], amplitude: float) -> torch.Tensor:
        """Independent numbers in [-amplitude, amplitude), float32 on the CPU."""
        return torch.rand(shape, generator=self._generator).mul_(2 * amplitude).sub_(amplitude)
