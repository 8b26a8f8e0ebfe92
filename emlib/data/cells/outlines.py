"""Shapes of single cells as functions of position: positive inside, in pixels from the edge, negative outside."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


def draw_blob(
    rng: np.random.Generator,
    *,
    radius: tuple[float, float],
    elongation: tuple[float, float],
    lobes: float = 0.06,
    roughness: float = 0.0,
    bitten: float = 0.0,
) -> Blob:
    """A smooth deformed ellipse, now and then with a bite that makes it a crescent.

    Args:
        rng: the generator; the number of draws is always the same.
        radius: pixels, lowest and highest; the radius of the disc of the same area.
        elongation: lowest and highest ratio of the long to the short axis.
        lobes: amplitude of the slow waves of the outline (2 to 4 a turn), as a share of the radius.
        roughness: amplitude of the quick waves (5 to 9 a turn).
        bitten: probability of a bite.
    """
    size, ratio = rng.uniform(*radius), rng.uniform(*elongation)
    waves = np.arange(2, 10)
    amplitudes = np.where(waves < 5, lobes, roughness) * rng.normal(size=waves.size) * (3 / (waves + 1.0))
    phases = rng.uniform(0, 2 * np.pi, waves.size)
    angle, side, is_bitten = rng.uniform(0, np.pi), rng.choice([-1.0, 1.0]), rng.random() < bitten
    long, short = size * np.sqrt(ratio), size / np.sqrt(ratio)
    bite = (side * 1.25 * short, 0.95 * short) if is_bitten else (0.0, 0.0)
    return Blob(long, short, angle, np.clip(amplitudes, -0.3, 0.3), phases, bite)


def draw_rod(
    rng: np.random.Generator, *, half_width: tuple[float, float], length: tuple[float, float], bend: float
) -> Rod:
    """A bent rod with round ends; some have a waist, as a bacterium has before it divides.

    Args:
        rng: the generator; the number of draws is always the same.
        half_width: pixels, lowest and highest.
        length: pixels from end to end, lowest and highest.
        bend: standard deviation of the angle between the two ends, radians.
    """
    half, whole = rng.uniform(*half_width), rng.uniform(*length)
    turn, angle, waist = rng.normal(0, bend), rng.uniform(0, np.pi), rng.uniform(0.25, 0.5)
    has_waist = rng.random() < 0.3 and whole > 6 * half
    steps = np.linspace(-0.5, 0.5, 9)
    inner = max(whole - 2 * half, 1.0)
    direction = angle + turn * 0.5 * (steps[1:] + steps[:-1])
    path = np.concatenate(
        [np.zeros((1, 2)), np.cumsum(np.stack([np.sin(direction), np.cos(direction)], 1) * inner / 8, 0)]
    )
    return Rod(path - path.mean(0), half, waist if has_waist else 0.0, angle)


@dataclass(frozen=True)
class Blob:
    """A deformed ellipse around the origin.

    Attributes:
        long, short: half axes, pixels.
        angle: of the long axis, radians from the x axis towards the y axis.
        amplitudes, phases: of the waves 2 ... 9 of the outline.
        bite: distance of the bite's centre along the short axis, and its radius, pixels; (0, 0) for none.
    """

    long: float
    short: float
    angle: float
    amplitudes: np.ndarray
    phases: np.ndarray
    bite: tuple[float, float]

    @property
    def extent(self) -> float:
        """Radius of a disc around the origin that holds the shape, pixels."""
        return self.long * (1 + float(np.abs(self.amplitudes).sum())) + 1

    @property
    def half_width(self) -> float:
        """The short half axis, pixels."""
        return self.short

    def reach(self, direction: float) -> float:
        """Distance from the origin to the edge, about, in a direction (radians)."""
        return _ellipse_reach(direction - self.angle, self.long, self.short)

    def depth(self, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Pixels from the edge at offsets (y, x) from the origin: positive inside, about right near the edge."""
        cosine, sine = np.cos(self.angle), np.sin(self.angle)
        along, across = x * cosine + y * sine, y * cosine - x * sine
        u, v = along / self.long, across / self.short
        turn = np.arctan2(v, u)
        edge = np.ones_like(turn)
        for wave, amplitude, phase in zip(range(2, 10), self.amplitudes, self.phases, strict=True):
            if amplitude:
                edge += amplitude * np.cos(wave * turn + phase)
        depth = self.short * (edge - np.hypot(u, v))
        away, radius = self.bite
        return np.minimum(depth, np.hypot(along, across - away) - radius) if radius else depth


@dataclass(frozen=True)
class Rod:
    """A chain of eight segments, thickened.

    Attributes:
        path: (9, 2) pixels (y, x) around the origin.
        half_width: pixels.
        waist: share of the half width that is missing in the middle.
        angle: of the chord, radians from the x axis towards the y axis.
    """

    path: np.ndarray
    half_width: float
    waist: float
    angle: float

    @property
    def extent(self) -> float:
        """Radius of a disc around the origin that holds the shape, pixels."""
        return float(np.hypot(*self.path.T).max()) + self.half_width + 1

    def reach(self, direction: float) -> float:
        """Distance from the origin to the edge, about, in a direction (radians)."""
        return _ellipse_reach(direction - self.angle, self.extent - 1, self.half_width)

    def depth(self, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Pixels from the edge at offsets (y, x) from the origin: positive inside."""
        nearest = np.full(np.broadcast_shapes(y.shape, x.shape), np.inf)
        where = np.zeros_like(nearest)
        for step, (start, stop) in enumerate(zip(self.path[:-1], self.path[1:], strict=True)):
            dy, dx = stop - start
            part = np.clip(((y - start[0]) * dy + (x - start[1]) * dx) / (dy * dy + dx * dx), 0, 1)
            distance = np.hypot(y - start[0] - part * dy, x - start[1] - part * dx)
            closer = distance < nearest
            nearest = np.where(closer, distance, nearest)
            where = np.where(closer, (step + part) / 8 - 0.5, where)
        return self.half_width * (1 - self.waist * np.exp(-np.square(where / 0.09))) - nearest


def _ellipse_reach(direction: float, long: float, short: float) -> float:
    return 1 / float(np.hypot(np.cos(direction) / long, np.sin(direction) / short))
