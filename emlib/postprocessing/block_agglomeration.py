"""Agglomeration of volumes that do not fit in memory, block by block, with the result of the whole volume."""

from __future__ import annotations

import itertools
import math
import operator
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from emlib.atomic import TEMPORARY_MARK, atomic_path
from emlib.compilation import compiled
from emlib.postprocessing.affinity_maps import AffinityMaps, affinity_maps, check_thresholds, fragment_levels
from emlib.postprocessing.agglomeration import check_start, merge_boundaries, relabel
from emlib.postprocessing.agglomeration_scores import MEAN, parse_score
from emlib.postprocessing.boundary_table import BoundaryTable
from emlib.postprocessing.fragments import FragmentBlock, check_dimensions, fragment_block
from emlib.postprocessing.region_graph import measure
from emlib.progress import progress
from emlib.volume import Volume, create_volume

Place = tuple[int, int, int]


@dataclass(frozen=True)
class Block:
    """A box [start, stop) of a volume, `index` blocks from its start along each axis."""

    index: Place
    start: Place
    stop: Place

    @property
    def shape(self) -> Place:
        """Voxels along z, y, x."""
        return tuple(stop - start for start, stop in zip(self.start, self.stop, strict=True))

    @property
    def box(self) -> tuple[slice, ...]:
        """The same as slices."""
        return tuple(slice(start, stop) for start, stop in zip(self.start, self.stop, strict=True))


def agglomerate_blocks(
    affinities: Any,
    out: str | os.PathLike | Sequence[str | os.PathLike],
    *,
    block: Sequence[int] = (32, 256, 256),
    thresholds: Sequence[float] = (0.1, 0.3, 0.6),
    scoring: str = "aff50_his256",
    fragment_dimensions: int = 3,
    low: float = 0.0001,
    high: float = 0.9999,
    offsets: Sequence[Sequence[int]] | None = None,
    init_with_max: bool | None = None,
    voxel_size: Sequence[float] | None = None,
    overwrite: bool = True,
    show: bool = True,
) -> list[Path]:
    """`agglomerate_affinities` for a volume on disk: the same labels, written block by block.

    1. Fragments of each block, which need the affinities of its voxels and one plane more; fragments that are joined
       across a face become one, and are numbered as in the whole volume.
    2. The region graph, added up over the blocks.
    3. One agglomeration of that graph, in memory.
    4. Labels, block by block. Nothing is seen at the paths in `out` until all of it is written.

    Args:
        affinities: as for `agglomerate_affinities`; a Volume or a zarr array is read box by box, twice.
        out: a .zarr path for each threshold (one path, if there is one threshold).
        block: voxels of a block (z, y, x), and of the chunks written. The result does not depend on it.
        thresholds, scoring, fragment_dimensions, low, high, offsets, init_with_max: as for `agglomerate_affinities`.
        voxel_size: nm (z, y, x) to store; None takes that of a Volume.
        overwrite: False raises FileExistsError if there is something at one of the paths.
        show: progress bars.

    Returns:
        The paths, one for each threshold.

    Raises:
        TypeError, ValueError: unsuitable affinities, offsets, thresholds or scoring; a wrong block or number of paths.
        OSError: the disk is full or cannot be written; what was at the paths before is still there.

    Memory: the region graph and its agglomeration (about 60 bytes a boundary); 24 bytes a fragment of a block while
        they are joined; the faces of one layer of blocks (9 bytes a voxel of a section); three arrays of a block. Disk:
        the fragments of the volume (4 or 8 bytes a voxel, compressed) lie beside the first path while it runs.

    Example:
        >>> import tempfile
        >>> from emlib.volume import open_volume
        >>> affinities = np.zeros((3, 1, 1, 6), dtype=np.uint8)
        >>> affinities[2, 0, 0] = [0, 230, 128, 230, 26, 230]
        >>> folder = tempfile.mkdtemp()
        >>> paths = agglomerate_blocks(affinities, folder + "/a.zarr", block=(1, 1, 4), thresholds=[0.6], show=False)
        >>> open_volume(paths[0])[0, 0].tolist()
        [1, 1, 1, 1, 2, 2]
    """
    score = parse_score(scoring)
    thresholds = check_thresholds(thresholds)
    with_max = check_start(score, init_with_max)
    check_dimensions(fragment_dimensions)
    levels = fragment_levels(low, high)
    paths = _check_paths(out, len(thresholds))
    source = affinity_maps(affinities, offsets)
    blocks = cut_into_blocks(source.shape, block)
    voxel_size = getattr(affinities, "voxel_size", None) if voxel_size is None else voxel_size
    chunks = blocks[0].shape
    with ExitStack() as stack:
        targets = [stack.enter_context(atomic_path(path, overwrite=overwrite)) for path in paths]
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix=TEMPORARY_MARK, dir=paths[0].parent))
        dtype = np.uint32 if math.prod(source.shape) < 2**32 else np.uint64
        provisional = create_volume(Path(folder) / "fragments.zarr", source.shape, dtype, chunks=chunks)
        numbers, sizes = _write_fragments(source, provisional, blocks, levels, fragment_dimensions, show)
        table = BoundaryTable(sizes, histograms=score.kind != MEAN and not with_max)
        for part in progress(blocks, label="region graph", unit="block", show=show):
            halo = tuple(int(start > 0) for start in part.start)
            start = tuple(place - width for place, width in zip(part.start, halo, strict=True))
            labels = provisional[tuple(slice(a, b) for a, b in zip(start, part.stop, strict=True))]
            labels = relabel(labels, numbers, np.empty(labels.shape, dtype=np.uint32))
            table.add(source.read(start, part.stop), labels, halo)
        count = sizes.size - 1
        del sizes
        boundaries = table.take_sorted()
        del table
        segments = merge_boundaries(count, boundaries, score, thresholds, with_max)
        volumes = [
            create_volume(target, source.shape, np.uint32, chunks=chunks, voxel_size=voxel_size) for target in targets
        ]
        for part in progress(blocks, label="writing", unit="block", show=show):
            labels = provisional[part.box]
            labels = relabel(labels, numbers, np.empty(labels.shape, dtype=np.uint32))
            for volume, row in zip(volumes, segments, strict=True):
                volume[part.box] = relabel(labels, row, np.empty_like(labels))
        for volume in volumes:
            volume.mark_complete().close()
        provisional.close()
    return paths


def cut_into_blocks(shape: Place, size: Sequence[int]) -> list[Block]:
    """Blocks of `size` voxels that cover a volume, in raster order; those at the end may be smaller.

    Raises:
        ValueError: a size that is not three numbers of at least 1.

    Example:
        >>> [block.start for block in cut_into_blocks((2, 4, 5), (2, 4, 3))]
        [(0, 0, 0), (0, 0, 3)]
    """
    try:
        size = tuple(operator.index(length) for length in size)
    except TypeError as error:
        raise ValueError(f"block must be three whole numbers of voxels (z, y, x), got {size!r}.") from error
    if len(size) != 3 or min(size) < 1:
        raise ValueError(f"block must be three numbers of voxels (z, y, x) of at least 1, got {size}.")
    counts = [range(-(-length // step)) for length, step in zip(shape, size, strict=True)]
    blocks = []
    for index in itertools.product(*counts):
        start = tuple(place * step for place, step in zip(index, size, strict=True))
        stop = tuple(min(low + step, length) for low, step, length in zip(start, size, shape, strict=True))
        blocks.append(Block(index, start, stop))
    return blocks


def _check_paths(out: Any, count: int) -> list[Path]:
    single = isinstance(out, str | os.PathLike)
    paths = [Path(out)] if single else [Path(path) for path in out]
    if len(paths) != count or len(set(paths)) != count:
        raise ValueError(f"out must be {count} different paths, one for each threshold, got {len(paths)}.")
    for path in paths:
        if path.suffix != ".zarr":
            raise ValueError(f"Blocks are written to .zarr, but a path in out is {str(path)!r}.")
        path.parent.mkdir(parents=True, exist_ok=True)
    return paths


def _write_fragments(
    source: AffinityMaps,
    provisional: Volume,
    blocks: list[Block],
    levels: tuple[int, int],
    dimensions: int,
    show: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """Write each block's own fragments; (final number of each, from 1 on; (N + 1,) sizes of the final ones)."""
    faces: dict[tuple[int, Place], tuple[np.ndarray, np.ndarray]] = {}
    pairs, first_voxels, sizes = [], [], []
    found = 0
    for part in progress(blocks, label="fragments", unit="block", show=show):
        more = [stop < length for stop, length in zip(part.stop, source.shape, strict=True)]
        stop = tuple(place + extra for place, extra in zip(part.stop, more, strict=True))
        connected = tuple(start > 0 for start in part.start)
        own = fragment_block(source.read(part.start, stop), part.shape, levels, dimensions, connected)
        own_sizes, own_first = measure(own.labels, own.count, (0, 0, 0), part.start, source.shape)
        sizes.append(own_sizes[1:])
        first_voxels.append(own_first[1:])
        labels = own.labels.astype(provisional.dtype)
        labels[labels > 0] += provisional.dtype.type(found)
        provisional[part.box] = labels
        pairs.extend(_join_faces(faces, part, own, labels, more))
        found += own.count
    empty = [np.empty((0, 2), dtype=provisional.dtype)]
    return _unite(np.concatenate(pairs + empty), np.concatenate(first_voxels), np.concatenate(sizes))


def _join_faces(
    faces: dict[tuple[int, Place], tuple[np.ndarray, np.ndarray]],
    part: Block,
    own: FragmentBlock,
    labels: np.ndarray,
    more: list[bool],
) -> Iterator[np.ndarray]:
    """Keep the last planes of a block, and pair its first ones with those kept of the blocks before."""
    for axis in range(3):
        if part.start[axis] > 0:
            before = tuple(place - (other == axis) for other, place in enumerate(part.index))
            near, wanted = faces.pop((axis, before))
            joined = wanted | own.before[axis]
            first = np.take(labels, 0, axis=axis)
            yield np.unique(np.stack([near[joined], first[joined]], axis=1), axis=0)
        if more[axis]:
            faces[axis, part.index] = (np.take(labels, -1, axis=axis), own.after[axis])


def _unite(pairs: np.ndarray, first_voxels: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Number the fragments that remain in the order of their first voxels."""
    parents = np.arange(first_voxels.size)
    _join_pairs(parents, pairs, first_voxels)
    roots = np.flatnonzero(parents == np.arange(parents.size))
    roots = roots[np.argsort(first_voxels[roots])]
    numbers = np.empty(parents.size, dtype=np.uint32)
    if roots.size >= 2**31:
        raise ValueError(f"There may be fewer than 2**31 fragments, got {roots.size}; work on a part of the volume.")
    numbers[roots] = np.arange(1, roots.size + 1)
    numbers = numbers[parents]
    united = np.zeros(roots.size + 1, dtype=np.int64)
    np.add.at(united, numbers, sizes)
    return numbers, united


@compiled
def _join_pairs(parents, pairs, first_voxels):
    """Union of pairs of numbers from 1 on; each tree's root is the member whose first voxel comes first."""
    for row in range(pairs.shape[0]):
        one, two = np.int64(pairs[row, 0]) - 1, np.int64(pairs[row, 1]) - 1
        while parents[one] != one:
            parents[one] = parents[parents[one]]
            one = parents[one]
        while parents[two] != two:
            parents[two] = parents[parents[two]]
            two = parents[two]
        if first_voxels[one] < first_voxels[two]:
            parents[two] = one
        else:
            parents[one] = two
    for member in range(parents.size):
        root = member
        while parents[root] != root:
            parents[root] = parents[parents[root]]
            root = parents[root]
        parents[member] = root
