"""The command `emlib data coco`: folders of images and masks as COCO files."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer


def data_coco(
    root: Annotated[Path, typer.Argument(help="folder with <id>/images/*.png and <id>/masks/*.png, one nucleus each")],
    out: Annotated[Path, typer.Option(help="folder for train.json and test.json")],
    test_ids: Annotated[
        Path | None, typer.Option(help="list of test images with their ids (test_img_ids.json), for test.json")
    ] = None,
    test_images: Annotated[
        Path | None, typer.Option(help="folder of the test images: every listed one must be there, of the listed size")
    ] = None,
    polygons: Annotated[bool, typer.Option(help="outlines instead of run lengths where a mask has no holes")] = False,
    overwrite: Annotated[bool, typer.Option(help="replace files that are there")] = False,
) -> None:
    """Check every image and mask, and write them as COCO JSON: train.json, and test.json with --test-ids."""
    from emlib.data import coco_from_folders, coco_test_set, overlapping_pixels, read_test_ids, write_coco

    if test_images is not None and test_ids is None:
        raise ValueError("--test-images are compared with a list of test images, which --test-ids would give.")
    files = {"train": out / "train.json"} | ({} if test_ids is None else {"test": out / "test.json"})
    there = [path for path in files.values() if path.exists()]
    if there and not overwrite:
        raise FileExistsError(f"{there[0]} exists already; allow overwriting to make it anew.")
    # Both are made before either is written.
    test = None if test_ids is None else coco_test_set(read_test_ids(test_ids, folder=test_images))
    train = coco_from_folders(root, relative_to=out, polygons=polygons, progress=True)
    write_coco(files["train"], train)
    counts = Counter(one["image_id"] for one in train["annotations"]).values()
    print(
        f"{files['train']}: {len(train['images'])} images, {len(train['annotations'])} nuclei "
        f"({min(counts)} to {max(counts)} an image)"
    )
    if overlap := overlapping_pixels(train):
        print(f"masks overlap in {sum(overlap.values())} pixels of {len(overlap)} images; each is kept whole")
    if test is not None:
        write_coco(files["test"], test)
        print(f"{files['test']}: {len(test['images'])} images")
