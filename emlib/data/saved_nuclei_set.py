"""A generated set of nuclei as files, laid out as the data of the CodaLab nuclei competition of 2021."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import imageio.v3 as imageio
import numpy as np

from emlib.atomic import atomic_path
from emlib.data.cell_phantom import CellPhantom

TEST_IDS_NAME = "test_img_ids.json"


def save_nuclei_folders(
    train: Sequence[CellPhantom], root: str | Path, *, test: Sequence[CellPhantom] = (), overwrite: bool = False
) -> Path:
    """Write `train/<id>/images/<id>.png`, `train/<id>/masks/mask_0001.png`, ... and the test images, all or nothing.

    Masks are 0 and 255, of the whole picture's size, in the order of the labels. Test images go to `test/<id>.png`,
    without their truth, and into the list `test_img_ids.json` with ids from 1; `coco_from_labels` makes their truth.

    Args:
        train: at least one; each has at least one nucleus.
        root: the folder to make.
        test: pictures of the test set, if there is to be one.
        overwrite: replace a folder that is there.

    Returns:
        `root`; `find_nuclei_folders(root / "train")` and `read_test_ids(root / "test_img_ids.json")` read it.

    Raises:
        ValueError: nothing to write, or a picture without nuclei.
        FileExistsError: `root` is there and `overwrite` is False.
        OSError: it cannot be written.

    Example:
        >>> import tempfile
        >>> from emlib.data.cell_phantom import make_cell_set
        >>> pictures = make_cell_set(2, modalities=["stained"], shapes=((48, 48), (48, 48)), cells=3)
        >>> root = save_nuclei_folders(pictures[:1], Path(tempfile.mkdtemp()) / "nuclei", test=pictures[1:])
        >>> sorted(path.relative_to(root).as_posix() for path in root.rglob("*.*"))[:3]
        ['test/nuclei_00001.png', 'test_img_ids.json', 'train/nuclei_00000/images/nuclei_00000.png']
    """
    if not len(train):
        raise ValueError("There is no picture to save.")
    for number, phantom in enumerate(train):
        if not phantom.labels.any():
            raise ValueError(f"Picture {number} has no nucleus, but at least one was expected.")
    root = Path(root)
    with atomic_path(root, overwrite=overwrite) as folder:
        for number, phantom in enumerate(train):
            name = f"nuclei_{number:05d}"
            for part in ("images", "masks"):
                (folder / "train" / name / part).mkdir(parents=True)
            _write(folder / "train" / name / "images" / f"{name}.png", phantom.image)
            for place, label in enumerate(np.unique(phantom.labels[phantom.labels > 0]), start=1):
                mask = np.equal(phantom.labels, label).astype(np.uint8) * np.uint8(255)
                _write(folder / "train" / name / "masks" / f"mask_{place:04d}.png", mask)
        images = []
        for number, phantom in enumerate(test):
            file = folder / "test" / f"nuclei_{len(train) + number:05d}.png"
            file.parent.mkdir(exist_ok=True)
            _write(file, phantom.image)
            height, width = phantom.labels.shape
            images.append({"id": number + 1, "file_name": file.name, "height": height, "width": width})
        if images:
            (folder / TEST_IDS_NAME).write_text(json.dumps(images, indent=4), encoding="utf-8")
    return root


def _write(path: Path, array: np.ndarray) -> None:
    # Masks are nearly empty: the quickest compression does as well as the best. Made in memory and written by Python,
    # which says so when the disk is full.
    level = 1 if array.ndim == 2 else 6
    path.write_bytes(imageio.imwrite("<bytes>", array, extension=".png", compress_level=level))
