"""Label a volume that does not fit in memory, block by block, and make the labels agree over the whole volume."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from emlib.atomic import atomic_path
from emlib.scaling.block_ledger import BlockLedger
from emlib.scaling.block_run import run_blocks
from emlib.scaling.block_volume import create_block_volume
from emlib.scaling.blocks import Block, plan_fingerprint
from emlib.scaling.equivalences import unite
from emlib.scaling.label_faces import LabelBlock, LinkBlock, WriteBlock, grid_of
from emlib.scaling.worker_pool import worker_pool
from emlib.volume import Volume, open_volume


def label_in_blocks(
    source: Volume | np.ndarray | str | Path,
    out: str | Path,
    plan: Sequence[Block],
    *,
    label_block: Callable[[np.ndarray, Block], np.ndarray],
    link_faces: Callable[[np.ndarray, np.ndarray], np.ndarray],
    identity: Mapping[str, Any],
    reach: int = 0,
    dtype: Any = "uint64",
    chunks: Sequence[int] | None = None,
    voxel_size: Sequence[float] | None = None,
    attributes: Mapping[str, Any] | None = None,
    work: str | Path | None = None,
    overwrite: bool = False,
    shard: tuple[int, int] | None = None,
    workers: int = 1,
    scheduler: str | None = None,
    cluster: Any = None,
    memory_limit: str | int = "auto",
    retries: int = 2,
    progress: bool = True,
) -> Path | None:
    """Three passes over the blocks of a volume, each of which can be interrupted and goes on where it was.

    1. `label_block` labels each block by itself.
    2. `link_faces` says, for each face between two blocks, which labels are one object; union-find joins them.
    3. Each block is written with the joined labels.

    Objects are numbered 1, 2, 3, ... in the order of their first voxels (z, then y, then x), so the labels do not
    depend on the blocks, on the workers or on the order, provided that the objects do not. For connected components
    they equal those of `scipy.ndimage.label` on the whole volume.

    Args:
        source: (z, y, x), (c, z, y, x) or (y, x): a Volume, a path, or a (small) array.
        out: .zarr to write, labels of the plan's shape; seen there when all is done.
        plan: of `plan_blocks`, of the shape of the source without its channels; its halo is what `label_block` sees.
        label_block: gets the source in `block.outer` and the block; returns labels of the same shape without channels,
            0 for background. Those in the halo are not used.
        link_faces: gets the labels of the last plane of a block and of the first plane of the next, as numbers of
            the whole volume (uint64, the axis between them left out); returns pairs (n, 2) of those that are one.
        identity: what the labels depend on, by name: hashes of source, recipe and weights; see `BlockLedger`.
        reach: voxels by which both planes go beyond the block's face. 1 is needed for links across edges and corners.
        dtype: of the labels.
        chunks: of `out`; no chunk may belong to two blocks. None chooses them.
        voxel_size: nm, (z, y, x); None takes that of the source.
        attributes: anything JSON can hold, stored with `out`.
        work: folder for the ledger and the labels of single blocks; it is kept, so that a later call finds and repairs
            damage in `out`. None takes a hidden one beside `out`, and removes it at the end.
        overwrite: whether something else at `out` may be replaced.
        shard: (job, jobs), as for `run_blocks`; needs `work`. A job does its share of the first pass, and of each
            further one if all other jobs have done theirs of the pass before. When each was run three times, `out`
            is there.
        workers, scheduler, cluster, memory_limit, retries, progress: as for `run_blocks`.

    Returns:
        The path; None if other jobs have yet to do their shares.

    Raises:
        BlocksFailed: some blocks failed, all others of that pass are done.
        ValueError: a plan of another shape, unfinished work of another identity, more objects than `dtype` can hold, a
            shard without a folder for the work.
        FileExistsError: something else is at `out` and `overwrite` is False.
        TypeError, OSError, ModuleNotFoundError: as `run_blocks`.

    Memory: of a worker, one block: the source, what `label_block` needs, and 16 bytes a voxel. Of this process, 40
        bytes for each label of a single block, all blocks together.

    Example:
        >>> import scipy.ndimage, tempfile
        >>> from emlib.scaling import plan_blocks
        >>> mask = np.array([[1, 1, 0, 1], [0, 1, 0, 1], [0, 1, 1, 1]], np.uint8)
        >>> path = label_in_blocks(
        ...     mask, tempfile.mkdtemp() + "/labels.zarr", plan_blocks(mask.shape, 2),
        ...     label_block=lambda array, block: scipy.ndimage.label(array)[0],
        ...     link_faces=lambda near, far: np.stack([near, far], axis=1)[(near > 0) & (far > 0)],
        ...     identity={"input": "0a1b"}, progress=False)
        >>> open_volume(path)[:].tolist()
        [[1, 1, 0, 1], [0, 1, 0, 1], [0, 1, 1, 1]]
    """
    source, grid = open_volume(source), grid_of(plan)
    if source.shape[-len(grid.shape) :] != grid.shape:
        raise ValueError(f"The plan is for a volume of {grid.shape} voxels, but the source has {source.shape}.")
    if isinstance(reach, bool) or not hasattr(reach, "__index__") or reach < 0:
        raise ValueError(f"reach must be a whole number of voxels of at least 0, got {reach!r}.")
    if shard is not None and work is None:
        raise ValueError("Jobs that share the blocks need work=, a folder that all of them see and that stays.")
    dtype = np.dtype(dtype)
    if dtype.kind != "u":
        raise TypeError(f"Labels are unsigned whole numbers; dtype is {dtype}.")
    path = Path(out).absolute()
    folder = Path(work).absolute() if work is not None else path.with_name(f".{path.name}.blocks")
    identity = dict(identity) | {
        "plan": plan_fingerprint(plan), "reach": int(reach), "dtype": str(dtype),
        "label_block": _name_of(label_block), "link_faces": _name_of(link_faces),
    }  # fmt: skip
    if voxel_size is None:
        voxel_size = source.voxel_size
    ledger = BlockLedger(folder, identity)
    settings = {"voxel_size": voxel_size, "made_from": ledger.digest}
    final = create_block_volume(
        path, plan, dtype, chunks=chunks, attributes=attributes, overwrite=overwrite, **settings
    )
    if final.finished and work is None:
        shutil.rmtree(folder, ignore_errors=True)
        return final.path
    local = create_block_volume(folder / "local.zarr", plan, "uint32", chunks=chunks, **settings)
    offsets, table = folder / "offsets.npy", folder / "table.npy"
    with worker_pool(workers, scheduler, cluster, memory_limit) as pool:
        running = {"shard": shard, "cluster": pool, "retries": retries, "progress": progress}

        def all_done(name: str, function: Callable[[Block], Any]) -> bool:
            part = ledger.part(name)
            run_blocks(function, plan, ledger=part, label=f"{path.name} {name}", **running)
            left = part.survey(plan, thorough=False).todo if shard is not None else ()
            if left and progress:
                print(f"{path.name} {name}: {len(left)} of {len(plan)} blocks are left to other jobs.", flush=True)
            return not left

        if not all_done("1_labels", LabelBlock(source, label_block, local, grid.shape)):
            return None
        _save(offsets, _count(ledger.part("1_labels"), plan))
        if not all_done("2_links", LinkBlock(local, grid, offsets, link_faces, int(reach))):
            return None
        _save(table, _number(ledger, plan, np.load(offsets), dtype))
        if not all_done("3_writing", WriteBlock(local, grid, offsets, table, final, dtype)):
            return None
    # The local labels keep their hidden name: a parallel run may still read them.
    local.tidy()
    final.finish(overwrite=overwrite)
    if work is None:
        shutil.rmtree(folder, ignore_errors=True)
    return final.path


def _count(ledger: BlockLedger, plan: Sequence[Block]) -> np.ndarray:
    """How many labels all blocks before each one have; (blocks + 1,)."""
    counts = [ledger.load(block)["count"] for block in plan]
    return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])


def _number(ledger: BlockLedger, plan: Sequence[Block], offsets: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The object that each label of each block belongs to, numbered in the order of the objects' first voxels."""
    links, labels = ledger.part("2_links"), ledger.part("1_labels")

    def pairs() -> Iterator[np.ndarray]:
        for block in plan:
            yield links.load(block)["pairs"].astype(np.int64) - 1

    roots = unite(int(offsets[-1]), pairs())
    first = np.full(roots.size, np.iinfo(np.int64).max)
    for block, start, stop in zip(plan, offsets[:-1], offsets[1:], strict=True):
        np.minimum.at(first, roots[start:stop], labels.load(block)["first"])
    objects = np.flatnonzero(roots == np.arange(roots.size))
    if objects.size > np.iinfo(dtype).max:
        raise ValueError(f"There are {objects.size} objects, more than {dtype} can number; choose a wider dtype.")
    numbers = np.zeros(roots.size, dtype)
    numbers[objects[np.argsort(first[objects], kind="stable")]] = np.arange(1, objects.size + 1, dtype=dtype)
    return numbers[roots]


def _save(path: Path, array: np.ndarray) -> None:
    with atomic_path(path) as temporary:
        np.save(temporary, array)


def _name_of(function: Callable[..., Any]) -> str:
    return getattr(function, "__qualname__", type(function).__qualname__)
