"""How much every voxel and channel of a window counts, given what the other windows see."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from emlib.inference.affinity_rule import inside_along_axes
from emlib.inference.windows import WindowPlan
from emlib.targets import VoxelPair


class WindowWeights:
    """Blending weights of the windows of a plan.

    Without pairs they are the same for every window and channel. With pairs, an affinity whose second voxel lies
    outside a window counts nothing there, because the network could not see it, as long as another window holds both
    voxels. Where none does (at the faces of the volume, or if windows overlap too little), what the network says
    counts as it would without pairs.

    Windows lie on a grid, so some window holds both voxels exactly if that holds along each axis on its own.

    Args:
        blending: float32 (z, y, x), from `blending_window`.
        plan: where the windows lie.
        pairs: for each channel its voxel pair, or None for a channel without direction; None altogether: no pairs.

    Attributes:
        maps: how many different weights a voxel has: 1, or the number of channels.

    Example:
        >>> from emlib.inference.windows import plan_windows
        >>> plan = plan_windows((1, 1, 6), (1, 1, 4), stride=(1, 1, 2))
        >>> weights = WindowWeights(torch.ones(1, 1, 4), plan, [VoxelPair.of_offset((0, 0, -1))])
        >>> weights.at((0, 0, 0)).flatten(), weights.at((0, 0, 2)).flatten()
        (tensor([1., 1., 1., 1.]), tensor([0., 1., 1., 1.]))
    """

    def __init__(
        self, blending: torch.Tensor, plan: WindowPlan, pairs: Sequence[VoxelPair | None] | None = None
    ) -> None:
        self.blending = blending[None]
        self.window = plan.window
        self.maps = 1 if pairs is None else len(pairs)
        self._somewhere: list[torch.Tensor] = []
        if pairs is None:
            self._inside = self.blending
            return
        inside = inside_along_axes(pairs, plan.window)
        self._inside = self.blending * _outer(inside)
        for length, size, positions, here in zip(plan.padded_shape, plan.window, plan.positions, inside, strict=True):
            somewhere = torch.zeros(len(pairs), length, dtype=torch.bool)
            for position in positions:
                somewhere[:, position : position + size] |= here
            self._somewhere.append(somewhere)

    def at(self, position: Sequence[int]) -> torch.Tensor:
        """Weights of the window at `position` (z, y, x) of the padded volume; float32 (maps, z, y, x)."""
        seen = [
            somewhere[:, start : start + size]
            for somewhere, start, size in zip(self._somewhere, position, self.window, strict=False)
        ]
        if all(bool(axis.all()) for axis in seen):
            return self._inside
        return torch.where(_outer(seen), self._inside, self.blending)


def _outer(masks: Sequence[torch.Tensor]) -> torch.Tensor:
    z, y, x = masks
    return z[:, :, None, None] & y[:, None, :, None] & x[:, None, None, :]
