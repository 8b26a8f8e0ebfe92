"""The heat on its way: what diffusion looks like after some of its steps, to be looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np

from emlib.diffusion.flow import diffusion_flow
from emlib.diffusion.heat import heat_in_section, heat_in_volume
from emlib.diffusion.pieces import cell_pieces
from emlib.diffusion.rules import diffusion_rule


def diffusion_steps(
    labels: Any, steps: Sequence[int] = (1, 5, 20, 80), *, rule: str = "cellpose3", separate_pieces: bool = True
) -> DiffusionSteps:
    """Heat in every cell after each of some numbers of steps, and the flow at the end.

    A step adds 1 at the centre of each cell and then replaces each pixel by the mean over itself and its neighbours,
    in which all that lies outside its cell counts as 0. `diffusion_flow` does the same, without stopping on the way.

    Args:
        labels: (y, x) or (z, y, x), whole numbers that are not negative, 0 = background; any memory order.
        steps: numbers of steps, 0 or more, in any order.
        rule: "cellpose3", "mediar" or "cellpose4": where the centre is, how many steps there are, and whether the flow
            follows the heat or its logarithm.
        separate_pieces: every connected piece of a cell has its own centre.

    Returns:
        DiffusionSteps. The heat is the one before a logarithm.

    Raises:
        TypeError: labels or steps that are not whole numbers.
        ValueError: labels of other axes, empty or with negative ids; no steps or negative ones; an unknown rule.

    Example:
        >>> found = diffusion_steps(np.array([[0, 5, 5, 5, 0]]), (1, 2))
        >>> (81 * found.heat).round().astype(int).tolist()
        [[[0, 9, 9, 9, 0]], [[0, 11, 12, 11, 0]]]
        >>> found.centres.tolist(), found.needed.tolist(), found.flow[1, 0].tolist()
        ([[0, 2]], [16], [0.0, 1.0, 0.0, -1.0, 0.0])
    """
    labels, chosen = _checked_labels(labels), diffusion_rule(rule)
    numbers = _checked_steps(steps)
    pieces = cell_pieces(labels, chosen, separate=separate_pieces)
    heat = np.zeros((len(numbers), *labels.shape))
    volumes = heat.reshape((len(numbers), *pieces.labels.shape))
    for cell, (box, centre) in enumerate(zip(pieces.boxes, pieces.centres, strict=True), 1):
        inside = tuple(slice(int(first), int(end)) for first, end in box)
        part = pieces.labels[inside]
        framed = centre - box[:, 0] + 1
        if labels.ndim == 2:
            spread, part, framed = heat_in_section, part[0], framed[1:]
        else:
            spread = heat_in_volume
        sides = tuple(side + 2 for side in part.shape)
        buffers = tuple(np.empty(int(np.prod(sides))) for _ in range(3))
        for place, number in enumerate(numbers):
            warm = spread(part, cell, tuple(framed.tolist()), number, buffers).reshape(sides)
            own = volumes[place][inside].reshape(part.shape)
            own[part == cell] = warm[(slice(1, -1),) * part.ndim][part == cell]
    return DiffusionSteps(
        steps=numbers,
        heat=heat,
        flow=diffusion_flow(labels, rule, separate_pieces=separate_pieces),
        centres=pieces.centres[:, 3 - labels.ndim :],
        needed=pieces.steps,
        rule=rule,
    )


def _checked_labels(labels: Any) -> np.ndarray:
    labels = np.asarray(labels)
    if labels.dtype.kind not in "uib":
        raise TypeError(f"labels are {labels.dtype}, but whole numbers (one id a cell) were expected.")
    if labels.ndim not in (2, 3) or labels.size == 0:
        raise ValueError(f"labels have shape {labels.shape}, but (y, x) or (z, y, x) was expected.")
    if labels.dtype.kind == "i" and labels.min() < 0:
        raise ValueError(f"labels hold the negative id {labels.min()}, but ids from 0 were expected.")
    return labels


def _checked_steps(steps: Sequence[int]) -> tuple[int, ...]:
    numbers = tuple(steps)
    if not numbers:
        raise ValueError("steps is empty, but at least one number of steps was expected.")
    for number in numbers:
        if isinstance(number, bool) or not isinstance(number, Integral):
            raise TypeError(f"steps holds {number!r}, but whole numbers were expected.")
        if number < 0:
            raise ValueError(f"steps holds {number}, but 0 or more was expected.")
    return tuple(int(number) for number in numbers)


@dataclass(frozen=True)
class DiffusionSteps:
    """Diffusion stopped at some steps.

    Attributes:
        steps: after how many.
        heat: float64 (steps, y, x) or (steps, z, y, x), 0 in the background.
        flow: float32 (2, y, x) or (3, z, y, x), of the whole diffusion.
        centres: int64 (n, 2) or (n, 3), where heat is added in each of the n cells (pieces of cells).
        needed: int64 (n,), the steps that the rule takes for each.
        rule: its name.
    """

    steps: tuple[int, ...]
    heat: np.ndarray
    flow: np.ndarray
    centres: np.ndarray
    needed: np.ndarray
    rule: str
