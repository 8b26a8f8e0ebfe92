"""Writing a volume that is computed or decoded section by section, each section once, all or nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from emlib.atomic import atomic_path
from emlib.formats.boxes import blocks, default_chunks
from emlib.formats.saving import CREATED, check_target
from emlib.progress import progress
from emlib.volume import Volume, create_volume

SLAB_BYTES = 2**28  # of the volume's voxels, held at a time


def write_slabs(
    volume: Volume,
    out: str | Path,
    *,
    label: str,
    voxel_size: Sequence[float] | None = None,
    chunks: Sequence[int] | None = None,
    overwrite: bool = False,
    show_progress: bool = True,
) -> Path:
    """Copy a (z, y, x) volume whose sections can only be read whole to a new .zarr or .h5 file.

    `save_volume` reads blocks as deep as a chunk, of which several lie side by side in a large section; every section
    would be decoded once for each. Here slabs of whole sections are read, and chunks are at most as deep as a slab.

    Args:
        volume: the source.
        out: .zarr or .h5, made new.
        label: what is being done, for the progress bar.
        voxel_size: nm (z, y, x), default the volume's.
        chunks: of the file; None takes `default_chunks`, or flatter ones where sections are large.
        overwrite: replace a file that is there.
        show_progress: show a bar, or a line now and then in a log.

    Returns:
        The path.

    Raises:
        FileExistsError: the file is there and `overwrite` is False.
        ValueError: another suffix, or unusable chunks or voxel size.
        OSError: the disk is full or not writable; nothing is left half-written.
    """
    out = Path(out)
    check_target(out, None, CREATED)
    depth = max(1, SLAB_BYTES // (math.prod(volume.shape[1:]) * volume.dtype.itemsize))
    if chunks is None:
        deepest, *area = default_chunks(volume.shape, volume.axes)
        chunks = (min(deepest, 2 ** int(math.log2(depth))), *area)
    slab = (min(chunks[0], volume.shape[0]), *volume.shape[1:])
    with atomic_path(out, overwrite=overwrite) as temporary:
        target = create_volume(
            temporary,
            volume.shape,
            volume.dtype,
            voxel_size=volume.voxel_size if voxel_size is None else voxel_size,
            chunks=chunks,
            attributes=volume.attributes,
        )
        boxes = list(blocks(volume.shape, slab, volume.dtype.itemsize, SLAB_BYTES))
        for box in progress(boxes, label=label, unit="slab", show=show_progress):
            target[box] = volume[box]
        target.mark_complete()
        target.close()
    return out
