"""Where the voxels of a phantom lie in its scene, and smooth random fields sampled there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LARGEST_SHIFT = 400.0  # nm


def make_grid(
    shape: tuple[int, int, int],
    voxel_size: tuple[float, float, float],
    misalignment: float,
    rng: np.random.Generator,
) -> SceneGrid:
    """Voxel centres in nm. Each section is cut from a slightly shifted place, as after an imperfect alignment.

    The shift is a slow drift plus an independent jitter, each of about `misalignment` nm (standard deviation) in y and
    in x. Because the scene itself is sampled at shifted points, labels follow the image exactly.
    """
    sections = shape[0]
    jitter = rng.normal(0.0, misalignment, (sections, 2))
    steps = rng.normal(0.0, misalignment / 2, (sections, 2))
    drift = np.cumsum(steps, axis=0)
    # A drift without bound would walk out of the scene in a thick stack.
    drift -= np.linspace(drift[0], drift[-1], sections)
    shift = np.clip(jitter + drift, -LARGEST_SHIFT, LARGEST_SHIFT).astype(np.float32)
    z = (np.arange(shape[0]) * voxel_size[0]).astype(np.float32)
    y = (np.arange(shape[1]) * voxel_size[1]).astype(np.float32)[None] + shift[:, :1]
    x = (np.arange(shape[2]) * voxel_size[2]).astype(np.float32)[None] + shift[:, 1:]
    return SceneGrid(shape, voxel_size, z, y, x)


def smooth_field(grid: SceneGrid, length: float | tuple[float, float], rng: np.random.Generator) -> np.ndarray:
    """A Gaussian random field over the grid: mean 0, standard deviation 1, smooth over about `length` nm.

    White noise on a coarse lattice is spread with separable Gaussians, which is three small matrix products instead
    of a filter over the whole volume. It continues smoothly across shifted sections.

    Args:
        grid: where to sample.
        length: standard deviation of the Gaussian in nm, one figure or (along z, within a section).
        rng: source of the lattice values.

    Returns:
        float32 (Z, Y, X).
    """
    along, within = (length, length) if isinstance(length, (int, float)) else length
    lattices, weights = [], []
    # The lattice reaches as far as any misalignment could, so that the same seed makes the same scene with and without.
    for coordinates, extent, scale, slack in zip(
        grid.coordinates, grid.extent, (along, within, within), (0.0, LARGEST_SHIFT, LARGEST_SHIFT), strict=True
    ):
        lattice = np.arange(-slack - 3 * scale, extent + slack + 4 * scale, scale, dtype=np.float32)
        weight = np.exp(-0.5 * ((coordinates[..., None] - lattice) / scale) ** 2)
        weights.append((weight / np.linalg.norm(weight, axis=-1, keepdims=True)).astype(np.float32))
        lattices.append(lattice.size)
    noise = rng.standard_normal(lattices, dtype=np.float32)
    sections = np.tensordot(weights[0], noise, axes=(1, 0))
    return np.matmul(np.matmul(weights[1], sections), weights[2].transpose(0, 2, 1))


@dataclass(frozen=True)
class SceneGrid:
    """Voxel centres of a phantom in nm.

    Attributes:
        shape: (Z, Y, X) in voxels.
        voxel_size: nm, (z, y, x).
        z: float32 (Z,), nm.
        y: float32 (Z, Y), nm; every section has its own shift.
        x: float32 (Z, X), nm.
    """

    shape: tuple[int, int, int]
    voxel_size: tuple[float, float, float]
    z: np.ndarray
    y: np.ndarray
    x: np.ndarray

    @property
    def coordinates(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The coordinates along z (Z,), y (Z, Y) and x (Z, X) in nm."""
        return self.z, self.y, self.x

    @property
    def extent(self) -> tuple[float, float, float]:
        """Size of the volume in nm, (z, y, x)."""
        return tuple(n * size for n, size in zip(self.shape, self.voxel_size, strict=True))

    @property
    def pixel(self) -> float:
        """The larger voxel edge within a section, in nm: the finest detail that can be shown."""
        return max(self.voxel_size[1:])
