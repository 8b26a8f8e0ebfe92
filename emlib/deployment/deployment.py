"""A whole stack, block by block: prediction, instances, one numbering, and a pyramid to look at."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from emlib.deployment.component_tables import GROUP_VOXELS
from emlib.deployment.instances import InstanceStages
from emlib.deployment.prediction_blocks import PredictBlock, Predictor
from emlib.deployment.pyramid import Pyramid
from emlib.deployment.settings import channel_names, segmentation_settings
from emlib.deployment.stages import Stages
from emlib.formats.fingerprint import volume_fingerprint
from emlib.formats.memory_size import memory_in_bytes
from emlib.scaling import BlockLedger, create_block_volume, plan_blocks, worker_pool
from emlib.scaling.blocks import whole_numbers
from emlib.volume import Volume, open_volume


@dataclass(frozen=True)
class Deployment:
    """What a call of `deploy` left.

    Attributes:
        out: the folder.
        prediction, segmentation, precomputed: what lies in it and is whole; None for what is not, or was not asked for.
        objects: how many there are; None until the segmentation is whole.
        blocks: into which the volume was cut for the segmentation.
        crossing: components that lie in several blocks and were large enough (traced: links between blocks).
        stages: all stages, in their order; as many rounds are enough for jobs that share the blocks.
        seconds: wall time that each stage took in this call.
        waiting: why not all is done, in a few words; empty if it is.
    """

    out: Path
    prediction: Path | None
    segmentation: Path | None
    precomputed: Path | None
    objects: int | None
    blocks: int
    crossing: int | None
    stages: tuple[str, ...]
    seconds: Mapping[str, float]
    waiting: str


def deploy(
    volume: Volume | np.ndarray | str | Path | None,
    out: str | Path,
    *,
    predict: Predictor | None = None,
    prediction: Volume | np.ndarray | str | Path | None = None,
    channel: int | str | None = None,
    block: int | Sequence[int] = (200, 1024, 1024),
    prediction_block: int | Sequence[int] | None = None,
    halo: int | Sequence[int] = 0,
    method: str = "exact",
    segment: str = "distance_watershed",
    parameters: Mapping[str, Any] | None = None,
    rule: str = "union",
    min_overlap: float = 0.2,
    measure: str = "sum",
    voxel_size: Sequence[float] | None = None,
    pyramid: bool = True,
    mips: int | None = None,
    chunk: int | Sequence[int] = 64,
    memory: int | str = "2GiB",
    overwrite: bool = False,
    stage: str | None = None,
    shard: tuple[int, int] | None = None,
    workers: int = 1,
    scheduler: str | None = None,
    cluster: Any = None,
    memory_limit: str | int = "auto",
    retries: int = 2,
    progress: bool = True,
) -> Deployment:
    """Take a stack of any size from image to instances with consistent ids, and to something to look at.

    Stages, each over blocks: `prediction` (if a network is given), `segments` (each block), `links` (across the faces
    of blocks), `components` (method "exact" only), `labels` (one numbering), `pyramid_0` and further ones.

    "exact": **the labels equal `distance_watershed` of the whole prediction, ids included**, whatever the blocks are.
    The foreground's 26-connected components do not see each other: one that reaches no other block is finished in its
    block, and one that does is put together from its pieces, judged by its whole size, and flooded whole, in a job
    that takes about 16 bytes for each of its voxels (not of its box). If that is more than `memory`, the job keeps its
    arrays in temporary files in `out`: slower, with the same result. Nothing is approximated, so there is no halo.

    "traced", the published way: each block is segmented by itself (with what its halo shows), and objects go on in the
    next block where they overlap enough on the two sections that touch. Sizes, seeds and floods end with the
    block, so the labels are **not** those of the whole volume where objects cross faces. "union" joins all that hang
    together by links, in any grid of blocks; its ids are in the order of first voxels. "published" goes along z, with
    the ids of the block before, as `trace_blocks` called for one block after the other.

    In both cases the result has the same bytes for any number of workers, in any order, however often it was killed;
    a later call goes on from what is there, and repairs what was damaged. Each stage's ledger lies in `out/work`;
    another network, input, or parameter is refused in a sentence that names it. When all is done, `out/work` may be
    removed, and then so may be the ability to find damage.

    Args:
        volume: (z, y, x) image; may be None if `prediction` is given, else both must have one size.
        out: folder for prediction.zarr (c, z, y, x; uint8), segmentation.zarr (z, y, x; uint64),
            segmentation.precomputed (for Neuroglancer), and work.
        predict: a `CheckpointPredictor`, a `NetworkPredictor`, or anything like `Predictor`.
        prediction: (z, y, x) or (c, z, y, x), uint8 0-255 or float 0-1, in place of `predict`.
        channel: name or number of the prediction's channel that is the heatmap; None takes the only one, or the one of
            the name that `segment` looks for.
        block: voxels (z, y, x) that are segmented at once. A worker takes about 8 bytes for each.
        prediction_block: voxels (z, y, x) that are predicted at once; None is `block`. Published: heatmaps of 20
            sections, blocks of 200.
        halo: voxels (z, y, x) that a block sees beyond its own; "traced" only.
        method: "exact" or "traced".
        segment: a name of `SEGMENTATION_METHODS`; "exact" knows `distance_watershed` only.
        parameters: of that method, such as `{"min_size": 2000}`.
        rule, min_overlap, measure: of the tracing, see `trace_blocks`; "published" needs blocks of whole sections.
        voxel_size: nm (z, y, x); None takes that of the volume or the prediction.
        pyramid: whether to write segmentation.precomputed, for which a voxel size is needed.
        mips: coarser levels; None ends when no side is above 512 voxels.
        chunk: voxels (z, y, x) of a chunk there, multiples of 8.
        memory: of a component that is flooded whole, in one worker; see above.
        overwrite: whether other results in `out` may be replaced.
        stage: do only this one, whose predecessors must be done; None does all.
        shard: (job, jobs): do every jobs-th block of each stage. A stage begins when all jobs have done the one before,
            so all jobs are to be run as often as there are stages; `waiting` says what is missing.
        workers, scheduler, cluster, memory_limit, retries, progress: as for `emlib.scaling.run_blocks`.

    Returns:
        Deployment.

    Raises:
        BlocksFailed: some blocks failed, all others of that stage are done.
        ValueError: a setting is wrong, or the work in `out` was begun with another; the sentence names it.
        FileExistsError: something else lies where a result goes, and `overwrite` is False.
        TypeError, OSError, ModuleNotFoundError: as `run_blocks`.

    Example:
        >>> import tempfile
        >>> heatmap = np.zeros((4, 6, 20), np.uint8)
        >>> heatmap[:, 1:5, 1:9], heatmap[1:3, 2:4, 11:18] = 200, 250
        >>> done = deploy(None, tempfile.mkdtemp(), prediction=heatmap, block=(2, 6, 7), voxel_size=(30, 8, 8),
        ...               parameters={"min_size": 4, "min_seed_size": 1, "sigma": 0}, progress=False)
        >>> done.objects, done.crossing, done.stages
        (2, 2, ('segments', 'links', 'components', 'labels', 'pyramid_0'))
        >>> np.unique(open_volume(done.segmentation)[:])
        array([0, 1, 2], dtype=uint64)
    """
    settings = segmentation_settings(
        method=method, segment=segment, parameters=parameters, rule=rule, min_overlap=min_overlap, measure=measure,
        block=block, halo=halo,
    )  # fmt: skip
    image, prediction = _inputs(volume, predict, prediction)
    shape = tuple(int(length) for length in (image if image is not None else prediction).shape[-3:])
    if voxel_size is None:
        voxel_size = next((one.voxel_size for one in (image, prediction) if one is not None and one.voxel_size), None)
        voxel_size = None if voxel_size is None else voxel_size[-3:]
    names = tuple(predict.channels) if predict is not None else channel_names(prediction)
    taken = settings.channel(names, 4 if predict is not None else prediction.ndim, channel)
    plan, out, budget = settings.plan(shape), Path(out).absolute(), memory_in_bytes(memory)
    chunk = whole_numbers("chunk", chunk, 3, 8)
    if pyramid and voxel_size is None:
        raise ValueError("A pyramid needs a voxel size in nm (z, y, x); give voxel_size=..., or pyramid=False.")
    if pyramid and (any(side % 8 for side in chunk) or (mips is not None and mips < 0)):
        raise ValueError(f"chunk must be multiples of 8 and mips 0 or more, got chunk={chunk} and mips={mips}.")

    work = out / "work"
    common = {"voxel_size": voxel_size if voxel_size is None else list(map(float, voxel_size))}
    if predict is not None:
        whole = plan_blocks(shape, block if prediction_block is None else prediction_block)
        identity = {"volume": volume_fingerprint(image), **predict.identity, "channels": list(names), **common}
        ledger = BlockLedger(work / "prediction", identity | {"prediction_block": list(whole[0].shape)})
        made_from = ledger.digest
    else:
        made_from = volume_fingerprint(prediction)
    identity = {"prediction": made_from, "channel": taken, **settings.identity, **common, "group_voxels": GROUP_VOXELS}
    instances = InstanceStages(settings, plan, out, BlockLedger(work / "segmentation", identity), budget)
    view, passes = None, []
    if pyramid:
        digest = instances.ledger.digest
        view_ledger = BlockLedger(work / "pyramid", {"segmentation": digest, "mips": mips, "chunk": list(chunk)})
        view = Pyramid(out / "segmentation.precomputed", shape, common["voxel_size"], mips, chunk, view_ledger.digest)
        passes = view.passes()
    stages = tuple(["prediction"] * (predict is not None)) + instances.names + tuple(one.name for one in passes)
    if stage is not None and stage not in stages:
        raise ValueError(f"stage must be one of {', '.join(stages)}, got {stage!r}.")

    def result(done: Sequence[Path | None], run: Stages) -> Deployment:
        paths = [*done, None, None, None][:3]
        objects = instances.objects if paths[1] is not None else None
        return Deployment(out, *paths, objects, len(plan), instances.crossing, stages, dict(run.seconds), run.waiting)

    with worker_pool(workers, scheduler, cluster, memory_limit) as pool:
        run = Stages(stages, stage, {"shard": shard, "cluster": pool, "retries": retries, "progress": progress})
        done: list[Path | None] = [None]
        if predict is not None:
            target = create_block_volume(
                out / "prediction.zarr", whole, "uint8", channels=len(names), made_from=made_from,
                voxel_size=voxel_size, attributes={"channels": list(names)}, overwrite=overwrite,
            )  # fmt: skip
            if not run.done("prediction", PredictBlock(image, predict, target), whole, ledger):
                return result([], run)
            done = [target.finish(overwrite=overwrite)]
            ledger.tidy()
            prediction = open_volume(done[0])
        labels = instances.run(run, prediction, names, taken, voxel_size, overwrite=overwrite)
        if labels is None:
            return result(done, run)
        done.append(labels.finish(overwrite=overwrite))
        if view is not None:
            view.begin(overwrite=overwrite)
            for one in passes:
                if not run.done(one.name, one.of(labels), one.plan, view_ledger):
                    return result(done, run)
            done.append(view.finish())
            view_ledger.tidy()
        return result(done, run)


def _inputs(
    volume: Any, predict: Callable[..., np.ndarray] | None, prediction: Any
) -> tuple[Volume | None, Volume | None]:
    """The image and the prediction, as far as they are given, checked against each other."""
    if (predict is None) == (prediction is None):
        raise ValueError("Give either predict, which makes a prediction of the volume, or prediction, which is one.")
    if volume is None and predict is not None:
        raise ValueError("There is no volume to predict.")
    image = None if volume is None else open_volume(volume)
    if image is not None and image.ndim != 3:
        raise ValueError(f"The volume must have three axes (z, y, x), not the shape {image.shape}.")
    if prediction is None:
        return image, None
    prediction = open_volume(prediction)
    if prediction.ndim not in (3, 4):
        raise ValueError(f"The prediction must be (z, y, x) or (c, z, y, x), not of the shape {prediction.shape}.")
    if image is not None and image.shape != prediction.shape[-3:]:
        raise ValueError(f"The volume has {image.shape} voxels, but the prediction {prediction.shape[-3:]}.")
    return image, prediction
