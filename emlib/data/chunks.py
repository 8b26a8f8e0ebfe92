"""Training on volumes that do not fit into memory: one chunk at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from emlib.data.patch_sampling import PatchRule, draw_patch, read_image
from emlib.data.patches import checked_index, checked_length
from emlib.data.volume_pairs import Readable, Triple, VolumePair, pair_volumes, whole_triple
from emlib.randomness import numpy_generator
from emlib.volume import Volume


def chunk_plan(shape: Sequence[int], chunks: Sequence[int], overlap: bool = True) -> list[tuple[Triple, Triple]]:
    """Divide a volume into equal chunks, as VIDAR and PyTorch Connectomics do.

    With s = 2 (chunks overlap by one half) or s = 1, chunk i of n on an axis of length L goes from
    floor(i L / (n + s - 1)) to floor((i + s) L / (n + s - 1)).

    Args:
        shape: voxels (z, y, x).
        chunks: number of chunks (z, y, x).
        overlap: neighbours share one half of a chunk.

    Returns:
        (start, stop) of every chunk, z slowest.

    Raises:
        ValueError: arguments that are not three positive whole numbers, or more chunks than voxels on an axis.

    Example:
        >>> [(start[0], stop[0]) for start, stop in chunk_plan((400, 64, 64), (8, 1, 1))][:3]
        [(0, 88), (44, 133), (88, 177)]
    """
    shape, chunks = whole_triple(shape, "shape", least=1), whole_triple(chunks, "number of chunks", least=1)
    step = 2 if overlap else 1
    axes = []
    for axis, length, count in zip("zyx", shape, chunks, strict=True):
        parts = count + step - 1
        limits = [(i * length // parts, (i + step) * length // parts) for i in range(count)]
        if any(start == stop for start, stop in limits):
            raise ValueError(f"{count} chunks along {axis} are too many for {length} voxels: some would be empty.")
        axes.append(limits)
    return [((z[0], y[0], x[0]), (z[1], y[1], x[1])) for z in axes[0] for y in axes[1] for x in axes[2]]


class ChunkedTileDataset:
    """Random patches of one chunk of a large volume, then of the next; item i depends on the seed and i only.

    A chunk serves `chunk_iterations` x `batch_size` items in a row. Every chunk has its turn, in a random order,
    before one comes back. A chunk is read once and kept in memory until the next one's turn: one for each worker
    process of a data loader.

    Args:
        image: uint8 volume (z, y, x), Volume or array.
        labels: volume of whole numbers of the same shape.
        chunks: number of chunks (z, y, x), see `chunk_plan`.
        chunk_iterations: training steps that one chunk serves.
        size: voxels (z, y, x) of a patch; a chunk that is smaller is continued by reflection.
        seed: of the run.
        length: number of items.
        batch_size: items per training step (of all processes together).
        overlap: chunks overlap by one half.
        padding: voxels (z, y, x) by which a chunk is enlarged on each side; beyond the volume by reflection.
        min_foreground, rejection_probability, min_voxels, valid, min_valid: see `PatchDataset`.

    Items:
        as of `PatchDataset`, with labels renumbered 1 ... n in each chunk, and `chunk`, the number in the plan, in
        the place of `volume`.

    Raises:
        TypeError: an image that is not uint8, or labels that are not whole numbers.
        ValueError: shapes that differ, an empty volume, several volumes, or an argument out of range.

    Example:
        >>> image, labels = np.zeros((16, 64, 64), np.uint8), np.ones((16, 64, 64), np.uint32)
        >>> tiles = ChunkedTileDataset(
        ...     image, labels, chunks=(1, 2, 2), chunk_iterations=10, size=(8, 32, 32), seed=0, length=80
        ... )
        >>> sorted(tiles[i]["chunk"] for i in (0, 10, 20, 30))
        [0, 1, 2, 3]
    """

    def __init__(
        self,
        image: Readable,
        labels: Readable,
        *,
        chunks: Sequence[int],
        chunk_iterations: int,
        size: Sequence[int],
        seed: int,
        length: int,
        batch_size: int = 1,
        overlap: bool = True,
        padding: Sequence[int] = (0, 0, 0),
        min_foreground: float = 0.0,
        rejection_probability: float = 0.95,
        min_voxels: int = 0,
        valid: Readable | None = None,
        min_valid: float = 0.0,
    ) -> None:
        pairs = pair_volumes(image, labels, valid)
        if len(pairs) != 1:
            raise ValueError(f"A chunked dataset reads one volume, but {len(pairs)} were given.")
        for name, value in (("chunk_iterations", chunk_iterations), ("batch_size", batch_size)):
            if not isinstance(value, int | np.integer) or value < 1:
                raise ValueError(f"{name} is {value!r}, but a whole number from 1 was expected.")
        self._pair = pairs[0]
        self._rule = PatchRule(size, (0, 0, 0), min_foreground, rejection_probability, min_voxels, min_valid)
        self._padding = whole_triple(padding, "padding", least=0)
        self._samples_per_chunk = int(chunk_iterations) * int(batch_size)
        self._seed, self._length = seed, checked_length(length)
        self._loaded: tuple[int, VolumePair] | None = None
        self.plan = chunk_plan(self._pair.shape, chunks, overlap)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> dict[str, Any]:
        index = checked_index(index, self._length)
        chunk = self.chunk_of(index)
        pair = self._chunk(chunk)
        patch = draw_patch(numpy_generator(self._seed, "patch", index), [pair], self._rule)
        origin = zip(self.plan[chunk][0], self._padding, patch.start, strict=True)
        return {
            "image": read_image(pair, patch.start, self._rule.size),
            "labels": patch.labels,
            "position": tuple(start - margin + offset for start, margin, offset in origin),
            "chunk": chunk,
            "index": index,
        }

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (self[index] for index in range(self._length))

    def __getstate__(self) -> dict[str, Any]:
        # A worker process reads the chunk itself; sending it along would copy gigabytes.
        return self.__dict__ | {"_loaded": None}

    def chunk_of(self, index: int) -> int:
        """The number, in `plan`, of the chunk that item `index` is taken from."""
        turn, place = divmod(index // self._samples_per_chunk, len(self.plan))
        return int(numpy_generator(self._seed, "chunks", turn).permutation(len(self.plan))[place])

    def _chunk(self, number: int) -> VolumePair:
        if self._loaded is None or self._loaded[0] != number:
            self._loaded = None  # gives the old chunk's memory back before the new one is read
            self._loaded = number, self._read(number)
        return self._loaded[1]

    def _read(self, number: int) -> VolumePair:
        import fastremap

        start, stop = self.plan[number]
        start = tuple(first - margin for first, margin in zip(start, self._padding, strict=True))
        stop = tuple(last + margin for last, margin in zip(stop, self._padding, strict=True))
        image = self._pair.image.read_box(start, stop, padding="reflect")
        labels = self._pair.labels.read_box(start, stop, padding="reflect")
        if labels.dtype.kind == "i" and labels.min() < 0:
            raise ValueError(f"The labels hold the negative id {labels.min()}, but ids start at 0 (background).")
        labels = labels.astype(np.uint8) if labels.dtype == bool else labels
        renumbered, _ = fastremap.renumber(labels, preserve_zero=True, in_place=False)
        valid = None
        if self._pair.valid is not None:
            valid = Volume(np.asarray(self._pair.valid.read_box(start, stop, padding="reflect")))
        return VolumePair(Volume(np.asarray(image)), Volume(renumbered), valid)
