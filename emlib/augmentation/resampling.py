"""Carry out a drawn geometry: one pass over image and labels, whatever it consists of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as functional

from emlib.augmentation.geometry import Geometry, Misplacement, Size

Positions = tuple[torch.Tensor, torch.Tensor]
# Sections resampled together. Their temporaries stay in the cache, and are small enough for the allocator to reuse;
# temporaries of a whole sample are given back to the system, and faulting them in again took longer than the work.
BATCH = 4


def resample(
    image: torch.Tensor, labels: torch.Tensor, geometry: Geometry, window: Size
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cut the window that `geometry` describes out of a sample.

    The image is interpolated linearly within its section, labels take the nearest voxel. Positions outside the sample
    are reflected at its border. Sections that only move by whole voxels are copied exactly. Positions are computed on
    the CPU, so that labels are identical on every device.

    Args:
        image: (z, y, x) float32 in [0, 1], or uint8, of which only the part that is seen is converted.
        labels: (z, y, x) integers.

    Returns:
        New tensors of shape `window`: image float32, labels of the given type.
    """
    new_image = torch.empty(window, dtype=torch.float32, device=image.device)
    new_labels = torch.empty(window, dtype=labels.dtype, device=labels.device)
    for misplacement in dict.fromkeys(geometry.misplacements):
        if geometry.moves_by_whole_voxels and misplacement.angle == 0:
            copy = _WholeVoxels(geometry, misplacement, window, image.shape)
        else:
            copy = _Interpolation(source_positions(geometry, misplacement, window, tuple(image.shape)), image)
        for source, target in _batches(geometry, misplacement):
            copy.image(image[source], [new_image[place] for place in target])
            copy.labels(labels[source], [new_labels[place] for place in target])
    return new_image, new_labels


def source_positions(geometry: Geometry, misplacement: Misplacement, window: Size, sample: Size) -> Positions:
    """Row and column in the sample's section for every pixel of the window; float64 (y, x) on the CPU.

    From the window to the sample: elastic displacement, rotation and zoom about the window's centre, then the
    section's own misplacement about the sample's centre.
    """
    y, x = (torch.arange(length, dtype=torch.float64) - (length - 1) / 2 for length in window[1:])
    y, x = torch.meshgrid(y, x, indexing="ij")
    if geometry.displacement is not None:
        y, x = y + geometry.displacement[0], x + geometry.displacement[1]
    y, x = _rotate(y, x, geometry.angle)
    middle = [(size - 1) / 2 for size in sample[1:]]
    # The window lies on whole voxels, so its centre is half a voxel off the sample's where the margin is odd.
    centre = [(s - w) // 2 + (w - 1) / 2 for s, w in zip(sample[1:], window[1:], strict=True)]
    y = y / geometry.scale[0] + centre[0] + geometry.centre_shift[0]
    x = x / geometry.scale[1] + centre[1] + geometry.centre_shift[1]
    y, x = _rotate(y - middle[0], x - middle[1], misplacement.angle)
    y, x = y + middle[0] + misplacement.y, x + middle[1] + misplacement.x
    y, x = _reflect(y, sample[1]), _reflect(x, sample[2])
    return geometry.orientation.in_plane(y).contiguous(), geometry.orientation.in_plane(x).contiguous()


def _rotate(y: torch.Tensor, x: torch.Tensor, angle: float) -> Positions:
    if angle == 0:
        return y, x
    turn = torch.tensor(angle, dtype=torch.float64)
    return torch.cos(turn) * y - torch.sin(turn) * x, torch.sin(turn) * y + torch.cos(turn) * x


def _reflect(position: torch.Tensor, size: int) -> torch.Tensor:
    if size == 1:
        return torch.zeros_like(position)
    period = 2 * (size - 1)
    position = position.abs() % period
    return torch.minimum(position, period - position)


def _batches(geometry: Geometry, misplacement: Misplacement) -> Iterator[tuple[slice, list[int]]]:
    """Consecutive source sections with this misplacement, a few at a time, and their places in the window."""
    depth, sections = len(geometry.sections), geometry.sections
    batch: list[int] = []
    for place in (place for place in range(depth) if geometry.misplacements[place] == misplacement):
        if batch and (len(batch) == BATCH or sections[place] != sections[batch[-1]] + 1 or place != batch[-1] + 1):
            yield _batch(batch, geometry)
            batch = []
        batch.append(place)
    if batch:
        yield _batch(batch, geometry)


def _batch(places: list[int], geometry: Geometry) -> tuple[slice, list[int]]:
    last = len(geometry.sections) - 1
    target = [last - place for place in places] if geometry.orientation.flip_z else places
    return slice(geometry.sections[places[0]], geometry.sections[places[-1]] + 1), target


def _as_float(image: torch.Tensor) -> torch.Tensor:
    return image.to(torch.float32).div_(255) if image.dtype == torch.uint8 else image


class _WholeVoxels:
    """Copies sections exactly: a cut-out, turned or flipped."""

    def __init__(self, geometry: Geometry, misplacement: Misplacement, window: Size, sample: Sequence[int]) -> None:
        self._orientation = geometry.orientation
        starts = [(s - w) // 2 for s, w in zip(sample[1:], window[1:], strict=True)]
        starts = [starts[0] + misplacement.y, starts[1] + misplacement.x]
        self._part = tuple(slice(start, start + length) for start, length in zip(starts, window[1:], strict=True))

    def image(self, sections: torch.Tensor, targets: list[torch.Tensor]) -> None:
        for section, target in zip(sections, targets, strict=True):
            target.copy_(self._orientation.in_plane(section[self._part]))
            if sections.dtype == torch.uint8:
                target.div_(255)

    def labels(self, sections: torch.Tensor, targets: list[torch.Tensor]) -> None:
        for section, target in zip(sections, targets, strict=True):
            target.copy_(self._orientation.in_plane(section[self._part]))


class _Interpolation:
    """Samples sections at given positions: the image linearly, labels at the nearest voxel."""

    def __init__(self, positions: Positions, image: torch.Tensor) -> None:
        self._part, self._size = _seen_part(positions, image), image.shape[2]
        # grid_sample wants (x, y) from -1 at the first to 1 at the last pixel.
        scaled = [
            (position - part.start) * (2 / max(part.stop - part.start - 1, 1)) - 1
            for position, part in zip(positions, self._part, strict=True)
        ]
        self._grid = torch.stack(scaled[::-1], dim=-1)[None].to(image.device, torch.float32)
        index = positions[0].round().long() * self._size + positions[1].round().long()
        self._index = index.reshape(-1).to(image.device)

    def image(self, sections: torch.Tensor, targets: list[torch.Tensor]) -> None:
        seen = _as_float(sections[(slice(None), *self._part)])
        with torch.autocast(sections.device.type, enabled=False):
            # Sections as channels share the work of finding the four neighbours and their weights.
            found = functional.grid_sample(seen[None], self._grid, padding_mode="border", align_corners=True)[0]
        for section, target in zip(found, targets, strict=True):
            target.copy_(section)

    def labels(self, sections: torch.Tensor, targets: list[torch.Tensor]) -> None:
        for section, target in zip(sections, targets, strict=True):
            torch.index_select(section.reshape(-1), 0, self._index, out=target.view(-1))


def _seen_part(positions: Positions, image: torch.Tensor) -> tuple[slice, slice]:
    """Rows and columns that the positions touch, if cutting them out saves a conversion; else the whole section."""
    if image.dtype != torch.uint8:
        return slice(0, image.shape[1]), slice(0, image.shape[2])
    limits = [torch.aminmax(position) for position in positions]
    return tuple(
        slice(int(low), min(int(high) + 2, size)) for (low, high), size in zip(limits, image.shape[1:], strict=True)
    )
