"""Neuroglancer's two chunk encodings: raw, and compressed_segmentation for labels.

The formats are described in Neuroglancer's documentation of its precomputed volumes. A chunk is an (x, y, z) box; x
varies fastest. compressed_segmentation cuts it into 8 x 8 x 8 blocks; a block is a table of its distinct labels and an
index into it of 0, 1, 2, 4, 8, 16 or 32 bits a voxel.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

BLOCK = 8  # side of a block, in voxels
_VOXELS = BLOCK**3
_WIDTHS = np.array([0, 1, 2, 4, 8, 16])


def encode_raw(chunk: np.ndarray) -> bytes:
    """A (z, y, x) chunk as little-endian numbers, x fastest."""
    return np.ascontiguousarray(chunk, chunk.dtype.newbyteorder("<")).tobytes()


def decode_raw(data: bytes, shape: Sequence[int], dtype: np.dtype) -> np.ndarray:
    """The (z, y, x) chunk that `encode_raw` wrote.

    Raises:
        ValueError: `data` is not as long as the shape and type need.
    """
    wanted = int(np.prod(shape)) * np.dtype(dtype).itemsize
    if len(data) != wanted:
        raise ValueError(f"A raw chunk of shape {tuple(shape)} has {wanted} bytes; this one has {len(data)}.")
    return np.frombuffer(data, np.dtype(dtype).newbyteorder("<")).reshape(shape).astype(dtype)


def encode_compressed_segmentation(chunk: np.ndarray) -> bytes:
    """A (z, y, x) uint32 or uint64 label chunk in compressed_segmentation with 8 x 8 x 8 blocks.

    Raises:
        TypeError: another dtype.

    Example:
        >>> chunk = np.full((8, 8, 8), 2**40, np.uint64)
        >>> len(encode_compressed_segmentation(chunk))  # channel offset, one block header, one label
        20
    """
    if chunk.dtype not in (np.uint32, np.uint64):
        raise TypeError(f"compressed_segmentation holds uint32 or uint64, not {chunk.dtype}.")
    blocks = _to_blocks(chunk)
    count = len(blocks)
    order = np.argsort(blocks, axis=1, kind="stable")
    ordered = np.take_along_axis(blocks, order, axis=1)
    first = np.ones(ordered.shape, bool)
    first[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    ranks = np.cumsum(first, axis=1) - 1
    index = np.empty(ranks.shape, np.uint32)
    np.put_along_axis(index, order, ranks.astype(np.uint32), axis=1)
    distinct = ranks[:, -1] + 1
    # The narrowest index that counts all distinct labels of the block; 512 voxels never need more than 16 bits.
    bits = _WIDTHS[np.searchsorted(2**_WIDTHS, distinct)]

    words_of_index = _VOXELS * bits // 32
    words_of_table = distinct * (chunk.dtype.itemsize // 4)
    starts = 2 * count + np.concatenate([[0], np.cumsum(words_of_index + words_of_table)])
    words = np.zeros(int(starts[-1]), np.uint32)
    index_at, table_at = starts[:-1], starts[:-1] + words_of_index
    if int(table_at.max()) >= 2**24:
        raise ValueError(
            f"A chunk of shape {chunk.shape} is too varied for compressed_segmentation; use smaller chunks."
        )
    words[0 : 2 * count : 2] = table_at | (bits << 24)
    words[1 : 2 * count : 2] = index_at
    for width in np.unique(bits[bits > 0]):
        chosen = np.nonzero(bits == width)[0]
        packed = _pack(index[chosen], int(width))
        words[index_at[chosen][:, None] + np.arange(packed.shape[1])] = packed
    tables = ordered[first].astype(chunk.dtype.newbyteorder("<")).view("<u4")
    words[np.repeat(table_at - np.cumsum(words_of_table) + words_of_table, words_of_table) + np.arange(tables.size)] = (
        tables
    )
    # One channel, which begins right after this word.
    return np.concatenate([np.array([1], "<u4"), words.astype("<u4")]).tobytes()


def decode_compressed_segmentation(data: bytes, shape: Sequence[int], dtype: np.dtype) -> np.ndarray:
    """The (z, y, x) labels of a compressed_segmentation chunk with 8 x 8 x 8 blocks.

    Raises:
        ValueError: the data is too short or points outside itself.

    Example:
        >>> chunk = np.arange(600, dtype=np.uint64).reshape(6, 10, 10) // 7
        >>> back = decode_compressed_segmentation(encode_compressed_segmentation(chunk), chunk.shape, np.uint64)
        >>> bool((back == chunk).all())
        True
    """
    dtype = np.dtype(dtype)
    grid = [-(-size // BLOCK) for size in shape]
    count = int(np.prod(grid))
    if len(data) % 4 or len(data) < 4 * (1 + 2 * count):
        raise ValueError(f"A compressed_segmentation chunk of shape {tuple(shape)} cannot have {len(data)} bytes.")
    words = np.frombuffer(data, "<u4").astype(np.uint32)[1:]
    wide = dtype.itemsize // 4
    blocks = np.empty((count, _VOXELS), dtype)
    for number in range(count):
        header, index_at = int(words[2 * number]), int(words[2 * number + 1])
        table_at, width = header & 0xFFFFFF, header >> 24
        if width == 0:
            index = np.zeros(_VOXELS, np.uint32)
        else:
            index = _unpack(words[index_at : index_at + _VOXELS * width // 32], width)
        entries = int(index.max()) + 1 if index.size == _VOXELS else 0
        table = words[table_at : table_at + entries * wide]
        if entries == 0 or table.size != entries * wide:
            raise ValueError("A compressed_segmentation chunk points outside itself; the file is damaged.")
        blocks[number] = np.ascontiguousarray(table).view(dtype)[index]
    whole = blocks.reshape(*grid, BLOCK, BLOCK, BLOCK).transpose(0, 3, 1, 4, 2, 5)
    whole = whole.reshape([size * BLOCK for size in grid])
    return np.ascontiguousarray(whole[tuple(slice(size) for size in shape)])


def _to_blocks(chunk: np.ndarray) -> np.ndarray:
    """(blocks, 512): blocks and voxels both with x fastest. Blocks over the edge repeat the last voxel."""
    grid = [-(-size // BLOCK) for size in chunk.shape]
    excess = [(0, n * BLOCK - size) for n, size in zip(grid, chunk.shape, strict=True)]
    whole = np.pad(chunk, excess, mode="edge") if any(after for _, after in excess) else chunk
    split = whole.reshape(grid[0], BLOCK, grid[1], BLOCK, grid[2], BLOCK)
    return split.transpose(0, 2, 4, 1, 3, 5).reshape(-1, _VOXELS)


def _pack(index: np.ndarray, width: int) -> np.ndarray:
    """(blocks, 512) indices as (blocks, 512 * width / 32) words; the first voxel is in the lowest bits."""
    shifts = (np.arange(32 // width) * width).astype(np.uint32)
    return np.bitwise_or.reduce(index.reshape(len(index), -1, 32 // width) << shifts, axis=-1)


def _unpack(words: np.ndarray, width: int) -> np.ndarray:
    shifts = (np.arange(32 // width) * width).astype(np.uint32)
    mask = np.uint32((1 << width) - 1)
    return ((words[:, None] >> shifts) & mask).ravel()
