"""Where the windows of a sliding-window prediction lie."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

AXES = "zyx"


def window_positions(length: int, window: int, stride: int) -> list[int]:
    """First voxels of the windows along one axis: `min(i * stride, length - window)`.

    The last window is moved back to end with the axis, so every voxel is covered and no window sticks out
    (VIDAR, MitoEM 2021).

    Raises:
        ValueError: the axis is shorter than the window, or the stride leaves gaps.

    Example:
        >>> window_positions(20, 8, 5)
        [0, 5, 10, 12]
    """
    if not 1 <= window <= length:
        raise ValueError(f"A window of {window} does not fit an axis of {length} voxels.")
    if not 1 <= stride <= window:
        raise ValueError(f"The stride must be 1 to the window's {window} voxels, not {stride}: else voxels are missed.")
    count = math.ceil((length - window) / stride) + 1
    return [min(i * stride, length - window) for i in range(count)]


@dataclass(frozen=True)
class WindowPlan:
    """The windows over one volume; all fields are per axis, (z, y, x), in voxels.

    The windows lie in a padded volume: `before` voxels of reflection below the volume's first voxel and `after`
    above its last. Positions count from the padded volume's first voxel.
    """

    shape: tuple[int, int, int]
    window: tuple[int, int, int]
    stride: tuple[int, int, int]
    before: tuple[int, int, int]
    after: tuple[int, int, int]
    positions: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]

    @property
    def padded_shape(self) -> tuple[int, int, int]:
        """Shape of the volume with its padding."""
        return tuple(sum(sizes) for sizes in zip(self.shape, self.before, self.after, strict=True))

    @property
    def per_layer(self) -> int:
        """Number of windows that share a z position."""
        return len(self.positions[1]) * len(self.positions[2])

    def __len__(self) -> int:
        return len(self.positions[0]) * self.per_layer

    def starts(self) -> list[tuple[int, int, int]]:
        """First voxel (z, y, x) of every window in the padded volume, in the order in which they are predicted."""
        return [(z, y, x) for z, layer in self.layers() for y, x in layer]

    def layers(self) -> Iterator[tuple[int, list[tuple[int, int]]]]:
        """Every z position with the (y, x) positions of its windows, x fastest."""
        for z in self.positions[0]:
            yield z, [(y, x) for y in self.positions[1] for x in self.positions[2]]


def plan_windows(
    shape: Sequence[int],
    window: int | Sequence[int],
    *,
    overlap: float | Sequence[float] = 0.5,
    stride: int | Sequence[int] | None = None,
    pad: int | Sequence[int] | None = None,
) -> WindowPlan:
    """Lay windows over a volume.

    Args:
        shape: (z, y, x) of the volume.
        window: size of the windows, one number or (z, y, x).
        overlap: share of a window that the next one covers again, 0 <= overlap < 1; ignored if `stride` is given.
        stride: step between windows, at most the window.
        pad: voxels of reflection added at both ends of each axis. An axis that is shorter than the window even so
            gets as much more as it needs, half at each end.

    Raises:
        ValueError, TypeError: a setting is out of its range; the sentence names it.

    Example:
        >>> plan = plan_windows((20, 64, 64), (8, 32, 32))
        >>> len(plan), plan.stride, plan.positions[0]
        (36, (4, 16, 16), (0, 4, 8, 12))
        >>> plan_windows((5, 64, 64), (8, 32, 32)).before
        (1, 0, 0)
    """
    window = whole_numbers("window", window, minimum=1)
    if min(shape) < 1:
        raise ValueError(f"The volume is empty: its shape is {tuple(shape)}.")
    if stride is None:
        shares = _per_axis("overlap", overlap)
        for share in shares:
            if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 <= share < 1:
                raise ValueError(f"overlap must be at least 0 and less than 1, not {overlap!r}.")
        stride = tuple(max(1, round(size * (1 - share))) for size, share in zip(window, shares, strict=True))
    stride = whole_numbers("stride", stride, minimum=1)
    margins = whole_numbers("pad", 0 if pad is None else pad, minimum=0)
    missing = [max(0, w - (length + 2 * m)) for w, length, m in zip(window, shape, margins, strict=True)]
    before = tuple(m + extra // 2 for m, extra in zip(margins, missing, strict=True))
    after = tuple(m + extra - extra // 2 for m, extra in zip(margins, missing, strict=True))
    positions = []
    for axis, name in enumerate(AXES):
        if stride[axis] > window[axis]:
            raise ValueError(
                f"stride is {stride[axis]} along {name} but the window only {window[axis]}: voxels would be missed."
            )
        padded = shape[axis] + before[axis] + after[axis]
        positions.append(tuple(window_positions(padded, window[axis], stride[axis])))
    return WindowPlan(tuple(int(n) for n in shape), window, stride, before, after, tuple(positions))


def check_divisible(window: Sequence[int], divisor: Sequence[int]) -> None:
    """Refuse a window, (z, y, x) or (y, x), that the network cannot halve as often as it needs to; name the nearest.

    Raises:
        ValueError: a side is not a multiple of `divisor`.

    Example:
        >>> check_divisible((8, 100, 96), (1, 16, 16))
        Traceback (most recent call last):
        ...
        ValueError: This model needs windows divisible by (1, 16, 16); (8, 100, 96) is not: take 96 or 112 along y.
    """
    advice = []
    for name, size, step in zip(AXES[3 - len(divisor) :], window, divisor, strict=True):
        below = size // step * step
        if below != size:
            advice.append(f"{below} or {below + step} along {name}" if below else f"{step} along {name}")
    if advice:
        raise ValueError(
            f"This model needs windows divisible by {tuple(divisor)}; {tuple(window)} is not: take {', '.join(advice)}."
        )


def whole_numbers(name: str, value: Any, *, minimum: int) -> tuple[int, int, int]:
    """One whole number, or one for each of z, y, x, as a tuple of three.

    Raises:
        ValueError, TypeError: not three whole numbers of at least `minimum`.
    """
    numbers = _per_axis(name, value)
    for number in numbers:
        if isinstance(number, bool) or not hasattr(number, "__index__"):
            raise TypeError(f"{name} must be whole numbers (z, y, x), not {value!r}.")
        if number < minimum:
            raise ValueError(f"{name} must be at least {minimum} along every axis, not {value!r}.")
    return tuple(int(number) for number in numbers)


def _per_axis(name: str, value: Any) -> tuple:
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        return (value,) * 3
    values = tuple(value)
    if len(values) != 3:
        raise ValueError(f"{name} must be one number or three, (z, y, x), not {value!r}.")
    return values
