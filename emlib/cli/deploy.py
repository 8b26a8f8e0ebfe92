"""The command `emlib deploy`: a whole stack from image to instances, block by block."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from emlib.cli.arguments import Device, Key, key_values

Three = tuple[int, int, int]


def deploy(
    volume: Annotated[Path, typer.Argument(help="image: h5, zarr, tif, npy, folder of slices, tile json")],
    out: Annotated[
        Path, typer.Argument(help="folder for prediction.zarr, segmentation.zarr, segmentation.precomputed")
    ],
    checkpoint: Annotated[Path | None, typer.Option(help="network that makes the prediction, block by block")] = None,
    prediction: Annotated[Path | None, typer.Option(help="the volume's prediction, if there is one already")] = None,
    key: Key = None,
    prediction_key: Annotated[str | None, typer.Option(help="the same for the prediction")] = None,
    channel: Annotated[str | None, typer.Option(help="channel that is the heatmap; default: the only one")] = None,
    block: Annotated[Three, typer.Option(help="voxels z y x that are segmented at once")] = (200, 1024, 1024),
    prediction_block: Annotated[
        Three | None, typer.Option(help="voxels z y x that are predicted at once; default: the same")
    ] = None,
    halo: Annotated[Three, typer.Option(help="traced: voxels z y x that a block sees beyond its own")] = (0, 0, 0),
    method: Annotated[
        str, typer.Option(help="exact: the labels of one call on the whole volume; traced: blocks joined by overlap")
    ] = "exact",
    segment: Annotated[
        str | None, typer.Option(help="method for a block; default: the recipe's, or distance_watershed")
    ] = None,
    parameters: Annotated[list[str], typer.Option("--set", "-s", help="argument=value of that method")] = [],  # noqa: B006
    recipe: Annotated[
        list[str], typer.Option("--recipe", help="key=value of the network's recipe, e.g. inference.overlap=0.25")
    ] = [],  # noqa: B006
    rule: Annotated[str, typer.Option(help="traced: union or published")] = "union",
    min_overlap: Annotated[float, typer.Option(help="traced: least share of overlap on the face of two blocks")] = 0.2,
    measure: Annotated[str, typer.Option(help="traced: share of both sizes (sum) or of the smaller one")] = "sum",
    intensity_range: Annotated[
        tuple[float, float] | None, typer.Option(help="low and high value that become 0 and 1; for other than uint8")
    ] = None,
    voxel_size: Annotated[
        tuple[float, float, float] | None, typer.Option(help="nm z y x; default: the volume's")
    ] = None,
    pyramid: Annotated[bool, typer.Option(help="write segmentation.precomputed for Neuroglancer")] = True,
    mips: Annotated[int | None, typer.Option(help="coarser levels of it; default: down to 512 voxels")] = None,
    memory: Annotated[str, typer.Option(help="for one component; of a larger one, arrays go to files")] = "2GiB",
    overwrite: Annotated[bool, typer.Option(help="replace other results in OUT")] = False,
    workers: Annotated[int, typer.Option(help="processes on this machine")] = 1,
    scheduler: Annotated[str | None, typer.Option(help="address of a running dask scheduler")] = None,
    memory_limit: Annotated[str, typer.Option(help="of each process on this machine, such as 4GiB")] = "auto",
    shard: Annotated[int | None, typer.Option(help="number of this job, from 0; it does every OF-th block")] = None,
    of: Annotated[int | None, typer.Option(help="number of jobs that share the blocks")] = None,
    stage: Annotated[str | None, typer.Option(help="do only this stage, such as segments")] = None,
    device: Device = "auto",
) -> None:
    """Predict, segment and number a stack of any size, block by block; run it again to go on where it stopped.

    Jobs that share the blocks (--shard J --of N) are to be run as often as there are stages: emlib slurm FOLDER
    --shards 8 --rounds 7 -- emlib deploy ... writes the scripts. Exit status 1: blocks failed, the others are done.
    """
    from emlib.deployment import CheckpointPredictor
    from emlib.deployment import deploy as run_deployment
    from emlib.postprocessing import SEGMENTATION_METHODS
    from emlib.scaling import BlocksFailed
    from emlib.volume import open_volume

    if (checkpoint is None) == (prediction is None):
        raise ValueError("Give either --checkpoint, which makes a prediction of the volume, or --prediction.")
    if (shard is None) != (of is None):
        raise ValueError("--shard and --of belong together: the number of this job, and how many there are.")
    predict, taken = None, {}
    if checkpoint is not None:
        from emlib.recipe import ImageRecipe
        from emlib.reproduction.stage import resolve_device
        from emlib.training import load_recipe_of

        trained = load_recipe_of(checkpoint, overrides=recipe)
        if isinstance(trained, ImageRecipe):
            raise ValueError(f"{checkpoint} is a network of images, but a stack needs one of volumes.")
        chosen = trained.postprocessing
        segment = segment or chosen.method
        if segment == chosen.method and segment in SEGMENTATION_METHODS:
            known = SEGMENTATION_METHODS[segment].parameters
            taken = {name: value for name, value in chosen.parameters().items() if name in known}
        predict = CheckpointPredictor(
            checkpoint, tuple(recipe), device=resolve_device(device), intensity_range=intensity_range
        )
    elif recipe or intensity_range is not None:
        raise ValueError("--recipe and --intensity-range are for a network, but --prediction was given.")
    try:
        done = run_deployment(
            open_volume(volume, key), out, predict=predict,
            prediction=None if prediction is None else open_volume(prediction, prediction_key),
            channel=int(channel) if channel is not None and channel.isdecimal() else channel,
            block=block, prediction_block=prediction_block, halo=halo, method=method,
            segment=segment or "distance_watershed", parameters=taken | key_values(parameters), rule=rule,
            min_overlap=min_overlap, measure=measure, voxel_size=voxel_size, pyramid=pyramid, mips=mips, memory=memory,
            overwrite=overwrite, stage=stage, shard=None if shard is None else (shard, of), workers=workers,
            scheduler=scheduler, memory_limit=memory_limit,
        )  # fmt: skip
    except BlocksFailed as error:
        print(f"emlib: {' '.join(str(error).split())}", file=sys.stderr)
        raise typer.Exit(1) from None
    except ModuleNotFoundError as error:
        raise ValueError(str(error)) from error
    if done.waiting:
        print(f"not all is done ({len(done.stages)} stages): {done.waiting}")
    for path in (done.prediction, done.segmentation, done.precomputed):
        if path is not None:
            print(f"{path}: {done.objects} objects" if path == done.segmentation else path)
