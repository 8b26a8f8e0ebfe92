"""Made-up cells as five kinds of light microscope would show them, with exact labels."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np

from emlib.data.cells.emitted_light import show_fluorescence, show_tissue
from emlib.data.cells.outlines import Blob, Rod, draw_blob, draw_rod
from emlib.data.cells.packing import pack_cells
from emlib.data.cells.transmitted_light import show_bacteria, show_brightfield, show_phase, show_stained
from emlib.randomness import derive_seed, numpy_generator

SMALLEST_SIDE = 32


def make_cell_phantom(
    shape: Sequence[int] = (256, 256),
    *,
    modality: str = "fluorescence",
    seed: int = 0,
    cells: int | None = None,
    touching: float = 0.5,
    scale: float = 1.0,
    sizes: Sequence[float] = (1.0, 1.0),
) -> CellPhantom:
    """Generate a microscope picture of textured cells, many of which touch, and its exact truth.

    Labels come first: deformed ellipses, crescents or rods are packed like soft bodies, and where two press against
    each other they share a contact line. The picture is then drawn from the labels, with things that look like cells
    and are none: light from other planes, red blood cells, debris, smudges.

    Args:
        shape: pixels (y, x), at least 32 x 32.
        modality: "fluorescence" (nuclei), "tissue" (whole cells, wall to wall, three stains), "stained" (purple
            nuclei), "brightfield" (white blood cells among red ones), "phase" (spread cells) or "bacteria" (rods).
        seed: the same seed gives the same bytes.
        cells: how many to place, at least 1; fewer fit into a crowded picture. None for the modality's usual density.
        touching: share of the cells that are placed against another one, 0 to 1.
        scale: size of the cells relative to the usual one, 0.25 to 8; their texture is as coarse as they are large.
        sizes: smallest and largest factor, 0.25 to 4, by which the size of a single cell differs beside that, drawn
            evenly on a logarithmic scale: for tissue in which small and large nuclei lie side by side.

    Returns:
        CellPhantom.

    Raises:
        TypeError: `shape` does not hold integers, or a parameter is no number.
        ValueError: an unknown modality, a picture that is too small, or a parameter outside its range.

    Example:
        >>> phantom = make_cell_phantom((64, 80), modality="bacteria", seed=1)
        >>> phantom.image.shape, phantom.image.dtype.name, phantom.labels.shape, phantom.labels.dtype.name
        ((64, 80, 3), 'uint8', (64, 80), 'uint32')
        >>> phantom.modality, bool(phantom.labels.max() >= 1)
        ('bacteria', True)
    """
    sides = _checked_shape(shape)
    kind = _modality(modality)
    _check_number("touching", touching, 0.0, 1.0)
    _check_number("scale", scale, 0.25, 8.0)
    if cells is not None and (isinstance(cells, bool) or not isinstance(cells, Integral)):
        raise TypeError(f"cells is {cells!r}, but a whole number or None was expected.")
    if cells is not None and cells < 1:
        raise ValueError(f"cells is {cells}, but at least 1 was expected.")
    low, high = _checked_sizes(sizes)
    if cells is None:
        cells = max(1, round(kind.density * sides[0] * sides[1] / (256 * scale) ** 2 / (low * high)))

    def draw(rng: np.random.Generator) -> Blob | Rod:
        # Without a range nothing is drawn, so that the pictures of a seed stay what they were.
        return kind.draw(rng, scale * (low * (high / low) ** rng.random() if low < high else low))

    labels = pack_cells(
        sides,
        draw,
        int(cells),
        touching=max(touching, kind.least_touching) if touching > 0 else 0.0,
        least_area=max(4, round(kind.least_area * (scale * low) ** 2)),
        rng=numpy_generator(seed, "cell phantom", modality, "labels"),
    )
    image = kind.show(labels, float(scale), numpy_generator(seed, "cell phantom", modality, "image"))
    return CellPhantom(image, labels, modality)


def make_cell_set(
    count: int,
    *,
    seed: int = 0,
    modalities: Sequence[str] | Mapping[str, float] | None = None,
    shapes: tuple[Sequence[int], Sequence[int]] = ((192, 192), (320, 320)),
    **options: Any,
) -> list[CellPhantom]:
    """Generate pictures of several modalities, of which some are rare, in mixed order.

    Args:
        count: number of pictures.
        seed: the same seed gives the same pictures.
        modalities: name to weight, or names of equal weight. By default fluorescence 0.4, stained 0.22, phase 0.18,
            brightfield 0.1, tissue 0.06 and bacteria 0.04. Each modality gets its share of `count`, rounded, but at
            least one picture where `count` allows it.
        shapes: the smallest and the largest shape (y, x); sides are drawn in between.
        options: passed on to `make_cell_phantom`.

    Raises:
        TypeError, ValueError: as `make_cell_phantom`; a count, weight or range of shapes that makes no sense.

    Example:
        >>> pictures = make_cell_set(4, modalities={"phase": 3, "bacteria": 1}, shapes=((64, 64), (80, 80)))
        >>> sorted(picture.modality for picture in pictures)
        ['bacteria', 'phase', 'phase', 'phase']
    """
    if isinstance(count, bool) or not isinstance(count, Integral):
        raise TypeError(f"count is {count!r}, but a whole number was expected.")
    if count < 1:
        raise ValueError(f"count is {count}, but at least 1 was expected.")
    low, high = (_checked_shape(one) for one in shapes)
    if low[0] > high[0] or low[1] > high[1]:
        raise ValueError(f"shapes run from {low} to {high}, but the smallest must not be larger than the largest.")
    names = _shares(int(count), _weights(modalities))
    rng = numpy_generator(seed, "cell set")
    made = []
    for number, place in enumerate(rng.permutation(len(names))):
        shape = tuple(int(rng.integers(short, long + 1)) for short, long in zip(low, high, strict=True))
        own_seed = derive_seed(seed, "cell set", number)
        made.append(make_cell_phantom(shape, modality=names[place], seed=own_seed, **options))
    return made


def cell_modalities() -> list[str]:
    """The modalities that `make_cell_phantom` knows, the most frequent of the default set first.

    Example:
        >>> cell_modalities()[0], len(cell_modalities())
        ('fluorescence', 6)
    """
    return list(_MODALITIES)


def _weights(modalities: Sequence[str] | Mapping[str, float] | None) -> dict[str, float]:
    if modalities is None:
        return {name: kind.weight for name, kind in _MODALITIES.items()}
    if isinstance(modalities, str):
        raise TypeError(f"modalities is {modalities!r}, but names or a mapping from name to weight were expected.")
    weights = dict(modalities) if isinstance(modalities, Mapping) else dict.fromkeys(modalities, 1.0)
    for name, weight in weights.items():
        _modality(name)
        if not isinstance(weight, Real) or isinstance(weight, bool) or not 0 < weight < np.inf:
            raise ValueError(f"The weight of modality '{name}' is {weight!r}, but a number above 0 was expected.")
    if not weights:
        raise ValueError("modalities is empty, but at least one modality was expected.")
    return weights


def _shares(count: int, weights: dict[str, float]) -> list[str]:
    """`count` names: each as often as its weight says, rounded by the largest remainder, rare ones at least once."""
    total = sum(weights.values())
    exact = {name: count * weight / total for name, weight in weights.items()}
    least = 1 if count >= len(weights) else 0
    numbers = {name: max(int(share), least) for name, share in exact.items()}
    while sum(numbers.values()) != count:
        step = 1 if sum(numbers.values()) < count else -1
        able = [name for name in weights if step > 0 or numbers[name] > least]
        chosen = max(able, key=lambda name: step * (exact[name] - numbers[name]))
        numbers[chosen] += step
    return [name for name, number in numbers.items() for _ in range(number)]


def _modality(name: str) -> _Modality:
    if name in _MODALITIES:
        return _MODALITIES[name]
    close = difflib.get_close_matches(str(name), _MODALITIES, n=1)
    hint = f"did you mean '{close[0]}'?" if close else f"there are {', '.join(_MODALITIES)}."
    raise ValueError(f"There is no modality '{name}'; {hint}")


def _check_number(name: str, value: float, low: float, high: float) -> None:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} is {value!r}, but a number from {low:g} to {high:g} was expected.")
    if not low <= value <= high:
        raise ValueError(f"{name} is {value}, but a value from {low:g} to {high:g} was expected.")


def _checked_sizes(sizes: Sequence[float]) -> tuple[float, float]:
    factors = tuple(sizes) if isinstance(sizes, Sequence | np.ndarray) and not isinstance(sizes, str) else ()
    if len(factors) != 2:
        raise ValueError(f"sizes is {sizes!r}, but the smallest and the largest factor were expected.")
    for factor in factors:
        _check_number("sizes", factor, 0.25, 4.0)
    if factors[0] > factors[1]:
        raise ValueError(f"sizes is {sizes!r}, but the smallest factor must not be above the largest.")
    return float(factors[0]), float(factors[1])


def _checked_shape(shape: Sequence[int]) -> tuple[int, int]:
    sides = tuple(shape) if isinstance(shape, Sequence | np.ndarray) and not isinstance(shape, str) else (shape,)
    if not all(isinstance(side, Integral) and not isinstance(side, bool) for side in sides):
        raise TypeError(f"shape is {shape!r}, but two whole numbers (y, x) were expected.")
    if len(sides) != 2 or min(sides) < SMALLEST_SIDE:
        raise ValueError(f"shape is {shape!r}, but two whole numbers (y, x) of at least {SMALLEST_SIDE} were expected.")
    return int(sides[0]), int(sides[1])


@dataclass(frozen=True)
class CellPhantom:
    """A generated picture and its truth.

    Attributes:
        image: uint8 (y, x, 3).
        labels: uint32 (y, x), ids 1 ... n, each one 4-connected piece; 0 is background. Touching cells have no gap.
        modality: how it was made.
    """

    image: np.ndarray
    labels: np.ndarray
    modality: str


@dataclass(frozen=True)
class _Modality:
    """Outlines and appearance, cells in 256 x 256 pixels, smallest area in pixels, weight in the default set."""

    draw: Callable[[np.random.Generator, float], Blob | Rod]
    show: Callable[[np.ndarray, float, np.random.Generator], np.ndarray]
    density: float
    least_area: float
    weight: float
    least_touching: float = 0.0


def _nucleus(rng: np.random.Generator, scale: float) -> Blob:
    return draw_blob(rng, radius=(7 * scale, 13 * scale), elongation=(1.05, 1.7), lobes=0.05, bitten=0.08)


def _stained_nucleus(rng: np.random.Generator, scale: float) -> Blob:
    return draw_blob(rng, radius=(6 * scale, 12 * scale), elongation=(1, 1.8), lobes=0.09, roughness=0.03, bitten=0.05)


def _white_blood_cell(rng: np.random.Generator, scale: float) -> Blob:
    return draw_blob(rng, radius=(13 * scale, 19 * scale), elongation=(1, 1.25), lobes=0.05, roughness=0.02)


def _spread_cell(rng: np.random.Generator, scale: float) -> Blob:
    return draw_blob(rng, radius=(13 * scale, 25 * scale), elongation=(1, 3.2), lobes=0.14, roughness=0.07, bitten=0.12)


def _tissue_cell(rng: np.random.Generator, scale: float) -> Blob:
    return draw_blob(rng, radius=(12 * scale, 19 * scale), elongation=(1, 2.2), lobes=0.05)


def _bacterium(rng: np.random.Generator, scale: float) -> Rod:
    return draw_rod(rng, half_width=(3.0 * scale, 4.0 * scale), length=(14 * scale, 36 * scale), bend=1.0)


_MODALITIES = {
    "fluorescence": _Modality(_nucleus, show_fluorescence, 52, 25, 0.40),
    "stained": _Modality(_stained_nucleus, show_stained, 62, 25, 0.22),
    "phase": _Modality(_spread_cell, show_phase, 22, 60, 0.18),
    "brightfield": _Modality(_white_blood_cell, show_brightfield, 17, 60, 0.10),
    "tissue": _Modality(_tissue_cell, show_tissue, 85, 60, 0.06, 0.9),
    "bacteria": _Modality(_bacterium, show_bacteria, 62, 15, 0.04),
}
