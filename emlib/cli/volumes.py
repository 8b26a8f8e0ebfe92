"""Commands on volumes: predict (also pictures), segment, evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from emlib.cli.arguments import Device, Key, Override, key_values


def predict(
    checkpoint: Annotated[Path, typer.Argument(help="checkpoint folder")],
    image: Annotated[
        Path,
        typer.Argument(help="volume: h5, zarr, tif, npy, folder of slices, tile json; or picture, or folder of them"),
    ],
    out: Annotated[
        Path,
        typer.Argument(
            help="prediction to write: .zarr or .h5; of pictures a folder, of a slide .zarr or .tif; "
            "of test images .json or .zip"
        ),
    ],
    key: Key = None,
    intensity_range: Annotated[
        tuple[float, float] | None, typer.Option(help="low and high value that become 0 and 1; for other than uint8")
    ] = None,
    also: Annotated[
        list[Path],
        typer.Option("--also", help="pictures: another checkpoint, averaged with the first; can be repeated"),
    ] = [],  # noqa: B006
    formats: Annotated[
        str | None, typer.Option(help="pictures: which files to write, of tif,png,rois,geojson,csv; default: all")
    ] = None,
    test_ids: Annotated[
        Path | None, typer.Option(help="test images: the list with their ids (test_img_ids.json), for the answer")
    ] = None,
    device: Device = "auto",
    overrides: Override = [],  # noqa: B006
) -> None:
    """Apply a trained network to a volume of any size, or find the cells of pictures.

    An interrupted run on a volume goes on where it stopped. Of pictures, labels, an overlay, ImageJ regions, GeoJSON
    and a table are written for each; of one image of any size, its labels alone, if OUT is a .zarr or .tif. Of test
    images, detected objects are written as a competition's answer, if OUT is a .json or .zip.

    Examples: emlib predict runs/train pictures results; emlib predict runs/train slide.tif labels.zarr;
    emlib predict runs/train test answer.zip --test-ids test_img_ids.json.
    """
    from emlib.recipe import ImageRecipe
    from emlib.reproduction.stage import resolve_device
    from emlib.training import load_model, load_recipe_of, with_prior
    from emlib.volume import open_volume

    from emlib.inference import predict_from_recipe  # isort: skip

    device = resolve_device(device)
    recipe = load_recipe_of(checkpoint, overrides=overrides)
    if isinstance(recipe, ImageRecipe):
        from emlib.cli.images import ANSWER_SUFFIXES, LABEL_SUFFIXES, predict_answer, predict_images, predict_slide

        if key is not None or intensity_range is not None:
            raise ValueError("--key and --intensity-range are for volumes, but this network is one of images.")
        suffix = out.suffix.lower()
        if test_ids is not None and suffix not in ANSWER_SUFFIXES:
            raise ValueError(f"--test-ids is for an answer, but {out} is neither .json nor .zip.")
        if suffix in (*LABEL_SUFFIXES, *ANSWER_SUFFIXES):
            if formats is not None:
                raise ValueError(f"--formats is for a folder of results, but {out} is one file.")
            if suffix in ANSWER_SUFFIXES:
                predict_answer([checkpoint, *also], recipe, image, out, test_ids=test_ids, device=device)
                return
            predict_slide([checkpoint, *also], recipe, image, out, device=device)
            return
        chosen = "tif,png,rois,geojson,csv" if formats is None else formats
        predict_images([checkpoint, *also], recipe, image, out, formats=chosen, device=device)
        return
    if also or formats is not None or test_ids is not None:
        raise ValueError("--also, --formats and --test-ids are for pictures, but this network is one of volumes.")
    model, volume = with_prior(load_model(checkpoint, device=device), recipe), open_volume(image, key)
    predict_from_recipe(model, volume, recipe, out=out, device=device, intensity_range=intensity_range)
    print(out)


def segment(
    prediction: Annotated[Path, typer.Argument(help="prediction volume with named channels")],
    out: Annotated[Path, typer.Argument(help="label volume to write: .zarr, .h5, .tif or .npy")],
    method: Annotated[str, typer.Option(help="name of the method")] = "contour_watershed",
    key: Key = None,
    overrides: Annotated[list[str], typer.Option("--set", "-s", help="argument=value of the method")] = [],  # noqa: B006
) -> None:
    """Turn a prediction into instances."""
    import numpy as np

    from emlib.formats.saving import SAVED, check_target
    from emlib.postprocessing import SEGMENTATION_METHODS
    from emlib.postprocessing import segment as run_segmentation
    from emlib.volume import open_volume, save_volume

    check_target(out, None, SAVED)
    volume = open_volume(prediction, key)
    if out.resolve() == prediction.resolve():
        raise ValueError(f"{out} is the prediction itself; choose another name for the labels.")
    names, offsets = (volume.attributes.get(name) for name in ("channels", "offsets"))
    parameters = key_values(overrides)
    chosen = SEGMENTATION_METHODS.get(method)
    if chosen is not None and "offsets" in chosen.parameters and names and offsets:
        # The prediction says which offsets its channels affinity_0, affinity_1, ... have.
        wanted = [
            offset for name, offset in zip(names, offsets, strict=True) if name.rpartition("_")[0] in chosen.channels
        ]
        parameters = {"offsets": wanted} | parameters
    labels = run_segmentation(volume, method, channels=names, **parameters)
    save_volume(out, labels, voxel_size=volume.voxel_size)
    print(f"{out}: {np.count_nonzero(np.unique(labels))} objects")


def evaluate(
    segmentation: Annotated[Path, typer.Argument(help="label volume")],
    truth: Annotated[Path, typer.Argument(help="true label volume of the same shape")],
    rules: Annotated[str, typer.Option(help="challenge or one-to-one")] = "challenge",
    drop_truth_below: Annotated[int, typer.Option(help="AP: true objects with fewer voxels are dropped")] = 2000,
    convention: Annotated[
        str, typer.Option(help="of the adapted Rand error: snemi3d, cremi, scikit-image")
    ] = "snemi3d",
    border: Annotated[
        tuple[int, float], typer.Option(help="z and xy: Rand error and VOI leave out voxels this near to a true border")
    ] = (0, 0.0),
    key: Key = None,
    truth_key: Annotated[str | None, typer.Option(help="the same for the truth")] = None,
) -> None:
    """Compare a segmentation with the truth: AP and matches at IoU 0.5; adapted Rand error and VOI."""
    from emlib.evaluation import (
        adapted_rand_error,
        average_precision,
        ignore_border,
        match_instances,
        overlap_table,
        variation_of_information,
    )
    from emlib.volume import open_volume

    found, expected = open_volume(segmentation, key, labels=True), open_volume(truth, truth_key, labels=True)
    table = overlap_table(found, expected)
    scores = average_precision(table, rules=rules, drop_truth_below=drop_truth_below)
    matches = match_instances(table, threshold=0.5)
    print(f"AP {scores.ap:.4f}  AP-50 {scores.ap50:.4f}  AP-75 {scores.ap75:.4f}  ({rules} rules)")
    print(f"at IoU 0.5: {matches.tp} found, {matches.fp} spurious, {matches.fn} missed, F1 {matches.f1:.4f}")
    if not table.truth_ids.any():
        return
    if any(border):
        table = overlap_table(found, ignore_border(expected, border[1], border[0]))
    rand, voi = adapted_rand_error(table, convention=convention), variation_of_information(table)
    print(
        f"adapted Rand error {rand.error:.4f}, precision {rand.precision:.4f}, recall {rand.recall:.4f} ({convention})"
    )
    print(f"VOI {voi.split + voi.merge:.4f}: split {voi.split:.4f}, merge {voi.merge:.4f} (bits)")
