"""A made-up piece of brain tissue as an electron microscope would show it, with exact labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real

import cc3d
import numpy as np

from emlib.data.phantom.mitochondria import place_mitochondria
from emlib.data.phantom.neurites import Partition, make_warp, partition, sample_fibres
from emlib.data.phantom.organelles import draw_organelles
from emlib.data.phantom.rendering import render
from emlib.data.phantom.scene_grid import SceneGrid, make_grid
from emlib.data.phantom.section_effects import add_noise, apply_section_effects
from emlib.randomness import numpy_generator

MEMBRANE_HALF_WIDTH = 12.0  # nm from the middle between two neurites to the inner face of either membrane
SMALLEST_EXTENT = (240.0, 480.0, 480.0)  # nm; a smaller piece holds no whole mitochondrion
SMALLEST_SHAPE = (4, 32, 32)


def make_em_phantom(
    shape: Sequence[int] = (32, 256, 256),
    *,
    voxel_size: Sequence[float] = (30.0, 8.0, 8.0),
    seed: int = 0,
    section_effects: bool = True,
    misalignment: float = 5.0,
    noise: float = 9.0,
    mitochondria_fraction: float = 0.08,
) -> EMPhantom:
    """Generate brain tissue with neurites, mitochondria, vesicles, microtubules and reticulum, and its exact truth.

    The scene is described in nm and then sampled, so that a neurite or a mitochondrion has the same physical size at
    any voxel size. Labels and image come from the same points of the same scene: they agree voxel for voxel, also
    under the simulated misalignment of the sections.

    Args:
        shape: voxels (Z, Y, X), at least 4 x 32 x 32 and at least 240 x 480 x 480 nm.
        voxel_size: nm (z, y, x), for example (30, 8, 8) for serial sections or (10, 10, 10) for FIB-SEM.
        seed: the same seed gives the same bytes.
        section_effects: change stain, focus and illumination from section to section and add specks of stain.
        misalignment: standard deviation of each section's shift in y and x, nm; 0 for none.
        noise: standard deviation of the noise at mid grey, grey levels; 0 for none.
        mitochondria_fraction: share of the volume that mitochondria should fill, above 0 and up to 0.15. It is a
            target: a volume whose neurites are too thin, or that ends within the first mitochondrion, differs.

    Returns:
        EMPhantom.

    Raises:
        TypeError: `shape` does not hold integers or `voxel_size` no numbers.
        ValueError: a size is not positive, or the volume is too small, or a parameter lies outside its range.

    Example:
        >>> phantom = make_em_phantom((8, 64, 64), voxel_size=(40, 16, 16), seed=1)
        >>> phantom.image.dtype.name, phantom.image.shape
        ('uint8', (8, 64, 64))
        >>> bool((phantom.neurites[phantom.mitochondria > 0] > 0).all())
        True
    """
    size = _checked_voxel_size(voxel_size)
    grid_shape = _checked_shape(shape, size)
    for name, value, low, high in (
        ("misalignment", misalignment, 0.0, 100.0),
        ("noise", noise, 0.0, 100.0),
        ("mitochondria_fraction", mitochondria_fraction, 1e-4, 0.15),
    ):
        if not low <= value <= high:
            raise ValueError(f"{name} is {value}, but a value from {low:g} to {high:g} was expected.")

    def generator(part: str) -> np.random.Generator:
        return numpy_generator(seed, "em phantom", part)

    grid = make_grid(grid_shape, size, misalignment, generator("alignment"))
    fibres = sample_fibres(grid, generator("fibres"))
    warp = make_warp(grid, generator("warp"))
    tissue = partition(grid, fibres, warp)
    mitochondria = place_mitochondria(grid, fibres, tissue, warp, mitochondria_fraction, generator("mitochondria"))
    organelles = draw_organelles(grid, fibres, tissue, mitochondria.surface, generator("organelles"))
    calibres = np.asarray([np.median(fibre.radii) for fibre in fibres])
    grey = render(grid, calibres, tissue, mitochondria, organelles, generator("grey"))
    if section_effects:
        grey = apply_section_effects(grey, grid, generator("sections"))
    image = add_noise(grey, noise, generator("noise"))
    return EMPhantom(image, _neurite_labels(grid, tissue, mitochondria.labels), mitochondria.labels, size)


def _checked_voxel_size(voxel_size: Sequence[float]) -> tuple[float, float, float]:
    sizes = tuple(voxel_size) if isinstance(voxel_size, (Sequence, np.ndarray)) else (voxel_size,)
    if not all(isinstance(size, Real) and not isinstance(size, bool) for size in sizes):
        raise TypeError(f"voxel_size is {voxel_size!r}, but three numbers (z, y, x) in nm were expected.")
    if len(sizes) != 3 or not all(np.isfinite(size) and size > 0 for size in sizes):
        raise ValueError(f"voxel_size is {voxel_size!r}, but three positive numbers (z, y, x) in nm were expected.")
    if min(sizes[1:]) < 2.0 or max(sizes) > 100.0 or max(sizes[1:]) > 32.0:
        raise ValueError(
            f"voxel_size is {voxel_size!r}, but y and x from 2 to 32 nm and z up to 100 nm were expected: "
            "finer shows nothing more in this phantom, coarser shows no membranes."
        )
    return tuple(float(size) for size in sizes)


def _checked_shape(shape: Sequence[int], voxel_size: tuple[float, float, float]) -> tuple[int, int, int]:
    sizes = tuple(shape) if isinstance(shape, (Sequence, np.ndarray)) else (shape,)
    if not all(isinstance(n, Integral) and not isinstance(n, bool) for n in sizes):
        raise TypeError(f"shape is {shape!r}, but three whole numbers (Z, Y, X) were expected.")
    if len(sizes) != 3 or not all(n > 0 for n in sizes):
        raise ValueError(f"shape is {shape!r}, but three positive whole numbers (Z, Y, X) were expected.")
    too_small = any(
        n < least or n * size < extent
        for n, least, size, extent in zip(sizes, SMALLEST_SHAPE, voxel_size, SMALLEST_EXTENT, strict=True)
    )
    if too_small:
        raise ValueError(
            f"shape {tuple(int(n) for n in sizes)} at {voxel_size} nm is too small: at least {SMALLEST_SHAPE} voxels "
            f"and {SMALLEST_EXTENT} nm (z, y, x) are needed to hold a mitochondrion."
        )
    return tuple(int(n) for n in sizes)


def _neurite_labels(grid: SceneGrid, tissue: Partition, mitochondria: np.ndarray) -> np.ndarray:
    """The neurites without their membranes; a part that nothing connects to the rest gets an id of its own."""
    half_width = max(MEMBRANE_HALF_WIDTH, 0.6 * grid.pixel)
    inside = (tissue.depth > half_width) | (mitochondria > 0)
    interior = np.where(inside, tissue.owner.astype(np.uint32) + 1, 0)  # + 1: glia, owner 0, is tissue too
    pieces, count = cc3d.connected_components(interior, connectivity=26, return_N=True)
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)
    kept = sizes >= max(20, round(1.5e5 / float(np.prod(grid.voxel_size))))
    kept[np.unique(pieces[mitochondria > 0])] = True
    kept[0] = False
    numbers = np.zeros(count + 1, np.uint32)
    numbers[kept] = np.arange(1, int(kept.sum()) + 1)
    return numbers[pieces]


@dataclass(frozen=True)
class EMPhantom:
    """A generated volume and its truth, all arrays (Z, Y, X).

    Attributes:
        image: uint8.
        neurites: uint32, ids 1..n, each one 26-connected piece (neurites, and glia between them); 0 is membrane and
            specks too small to be told apart. Within a section membrane lies between different neurites; from one
            section to the next they may touch.
        mitochondria: uint32, ids 1..n, each one 26-connected piece that lies inside one neurite. Outer membranes
            count as mitochondrion. Neighbours in the same neurite may touch.
        voxel_size: nm, (z, y, x).
    """

    image: np.ndarray
    neurites: np.ndarray
    mitochondria: np.ndarray
    voxel_size: tuple[float, float, float]
