"""What the commands do with images instead of volumes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from emlib.recipe import ImageRecipe, InstanceRecipe

LABEL_SUFFIXES = (".zarr", ".tif", ".tiff")
ANSWER_SUFFIXES = (".json", ".zip")
LABEL_FILES = "a .zarr or .tif file for the labels of one image"
# Folders may have a dot in their names, but not these.
FILE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".h5", ".hdf5", ".npy", ".npz", ".csv", ".geojson", *ANSWER_SUFFIXES)


def predict_images(
    checkpoints: Sequence[Path], recipe: ImageRecipe, source: Path, out: Path, *, formats: str, device: str
) -> None:
    """Segment a picture, or all pictures of a folder, and write the results of each to `out`.

    Args:
        checkpoints: of one network, or of several that are averaged.
        recipe: that of the first checkpoint, with changes.
        source: a picture, or a folder of pictures.
        out: folder; made if missing.
        formats: names of `CELL_FORMATS`, separated by commas.
        device: "cpu" or "cuda".

    Raises:
        ValueError: an unknown format, an `out` that is named like a file, a folder without pictures, two pictures of
            one name, a network of volumes, several networks that detect objects.
        OSError: a picture is damaged (all are looked at before the first is segmented), or `out` cannot be written.
    """
    import numpy as np

    from emlib.data import normalize_percentiles, read_image
    from emlib.inference import predict_image_from_recipe
    from emlib.visualization.cells import CELL_FORMATS, save_cell_results

    chosen = [one.strip() for one in formats.split(",")]
    for one in chosen:
        if one not in CELL_FORMATS:
            raise ValueError(f"--formats holds '{one}', but some of {','.join(CELL_FORMATS)} were expected.")
    if out.is_file():
        raise ValueError(f"{out} is a file, but a folder for the results was expected.")
    if out.suffix.lower() in FILE_SUFFIXES and not out.is_dir():
        raise ValueError(f"{out} is named like a file, but a folder for the results, or {LABEL_FILES}, was expected.")
    pictures = _pictures(source)
    models = _load_models(checkpoints, recipe, device)
    for path in pictures:
        started = time.perf_counter()
        image = _naming(path, normalize_percentiles, read_image(path), **recipe.data.normalization.model_dump())
        labels = predict_image_from_recipe(models, image, recipe, normalize=None, device=device, progress=False)
        save_cell_results(labels, out, path.stem, image=image, formats=chosen)
        cells = np.count_nonzero(np.unique(labels))
        print(f"{path.name}: {cells} cells in {time.perf_counter() - started:.1f} s")
    print(out)


def predict_slide(checkpoints: Sequence[Path], recipe: ImageRecipe, source: Path, out: Path, *, device: str) -> None:
    """Segment one image of any size and write its labels to `out`; it is never read whole where its file allows that.

    Args:
        checkpoints, recipe, device: as in `predict_images`.
        source: what `emlib.data.open_image` opens.
        out: .zarr, .tif or .tiff.

    Raises:
        ValueError: another file name, a network of volumes, an image that does not fit.
        OSError: the image is damaged, or `out` cannot be written.
    """
    from emlib.inference import predict_image_from_recipe

    started = time.perf_counter()
    models = _load_models(checkpoints, recipe, device)
    predict_image_from_recipe(models, source, recipe, out=out, device=device)
    print(f"{out}: labels of {source.name} in {time.perf_counter() - started:.1f} s")


def predict_answer(
    checkpoints: Sequence[Path], recipe: ImageRecipe, source: Path, out: Path, *, test_ids: Path | None, device: str
) -> None:
    """Detect the objects of a competition's test images and write the answer, whole or not at all.

    Args:
        checkpoints, recipe, device: as in `predict_images`.
        source: the folder of the test images.
        out: .json, or .zip with `answer.json` in it.
        test_ids: the competition's list (`read_test_ids`), whose ids the answer has.

    Raises:
        ValueError: no list, or one that does not fit the pictures; a network that does not detect objects.
        OSError: a picture is missing or damaged, or `out` cannot be written.
    """
    from emlib.data import normalize_percentiles, read_image, read_test_ids, write_answer
    from emlib.inference import instances_as_coco, predict_instances_from_recipe

    if not isinstance(recipe, InstanceRecipe):
        raise ValueError(f"{out} would be an answer of detected objects, but the network of {recipe.track} has none.")
    if test_ids is None:
        raise ValueError(f"The answer {out} needs the ids of the test images: give --test-ids test_img_ids.json.")
    if out.is_dir():
        raise ValueError(f"{out} is a folder, but a file for the answer was expected.")
    if not source.is_dir():
        raise ValueError(f"{source} is no folder, but that of the test images was expected.")
    images = read_test_ids(test_ids, folder=source)
    (model,) = _load_models(checkpoints, recipe, device)
    detections = []
    for one in images:
        started = time.perf_counter()
        path = source / one["file_name"]
        image = _naming(path, normalize_percentiles, read_image(path), **recipe.data.normalization.model_dump())
        found = predict_instances_from_recipe(model, image, recipe, normalize=None, device=device, progress=False)
        detections += instances_as_coco(found, one["id"])
        print(f"{path.name}: {len(found)} objects in {time.perf_counter() - started:.1f} s")
    print(f"{write_answer(out, detections, images=images)}: {len(detections)} objects of {len(images)} images")


def _naming(path: Path, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """What the function returns; its refusals begin with the file's name."""
    try:
        return function(*arguments, **options)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{path}: {error}") from None


def _load_models(checkpoints: Sequence[Path], recipe: ImageRecipe, device: str) -> list[Any]:
    """The networks, which all predict what the recipe says."""
    from emlib.training import load_model, read_checkpoint

    if isinstance(recipe, InstanceRecipe) and len(checkpoints) > 1:
        raise ValueError("--also averages maps of pixels, but this network detects objects, which cannot be averaged.")
    for checkpoint in checkpoints[1:]:
        content = read_checkpoint(checkpoint)
        names = content["model"]["channel_names"]
        kinds = [output.get("kind") for output in content["recipe"]["target"]["outputs"]]
        if kinds != [output.kind for output in recipe.target.outputs]:
            raise ValueError(f"{checkpoint} predicts {', '.join(names)}, so it cannot be averaged with the first.")
    return [load_model(checkpoint, device=device) for checkpoint in checkpoints]


def _pictures(source: Path) -> list[Path]:
    """The picture, or those of the folder; all have a header that can be read, and PNG files are whole."""
    from emlib.data import image_size
    from emlib.data.image_files import IMAGE_SUFFIXES
    from emlib.formats.png_parts import check_png

    if not source.exists():
        raise FileNotFoundError(f"There is no picture or folder {source}.")
    found = [source]
    if source.is_dir():
        inside = sorted(path for path in source.iterdir() if not path.name.startswith("."))
        named = [path for path in inside if path.suffix.lower() in IMAGE_SUFFIXES]
        found = [path for path in named if path.is_file() or (path.is_symlink() and not path.exists())]
    if not found:
        raise ValueError(f"{source} holds no picture ({', '.join(IMAGE_SUFFIXES)}).")
    stems: dict[str, Path] = {}
    for path in found:
        if path.stem in stems:
            raise ValueError(f"{source} holds both {stems[path.stem].name} and {path.name}; names must be unique.")
        stems[path.stem] = path
        image_size(path)
        check_png(path)
    return found
