"""Write and read COCO files: images, and their objects as run lengths or polygons."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from emlib.atomic import write_text
from emlib.data.coco_checks import check_coco
from emlib.data.json_reading import read_json


def write_coco(path: str | Path, coco: dict[str, Any], *, overwrite: bool = True) -> Path:
    """Check a COCO dictionary and write it, all or nothing.

    Args:
        path: the JSON file; its folder is made.
        coco: "images", "categories" and, unless it is a set without truth, "annotations"; other parts are kept.
        overwrite: if False, a file that is there is refused.

    Returns:
        `path`.

    Raises:
        FileExistsError: the file is there and `overwrite` is False.
        TypeError: a value that JSON has no form for.
        ValueError: as `read_coco`.
        OSError: it cannot be written.

    Example:
        >>> import tempfile
        >>> from emlib.data.coco_sets import coco_from_labels
        >>> path = write_coco(Path(tempfile.mkdtemp()) / "a.json", coco_from_labels([np.eye(3, dtype=int)], ["a.png"]))
        >>> coco = read_coco(path)
        >>> coco["images"]
        [{'id': 1, 'file_name': 'a.png', 'height': 3, 'width': 3}]
        >>> coco["annotations"][0]["bbox"], coco["annotations"][0]["segmentation"]
        ([0.0, 0.0, 3.0, 3.0], {'size': [3, 3], 'counts': '013000'})
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists already; remove it or allow overwriting.")
    check_coco(coco, path, need_annotations=False)
    try:
        text = json.dumps(coco, default=plain, allow_nan=False, separators=(",", ":"))
    except ValueError as error:
        raise ValueError(f"{path} would hold a number that JSON does not know, such as NaN.") from error
    return write_text(path, text)


def read_coco(path: str | Path, *, need_annotations: bool = True) -> dict[str, Any]:
    """Read a COCO file and check all of it, so that what comes after can rely on it.

    Args:
        path: the JSON file.
        need_annotations: False for a set without truth, such as the `test.json` of a competition.

    Returns:
        The content as it is in the file; segmentations stay run lengths or polygons.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not JSON, or not a sound COCO file: missing keys, ids that occur twice or that nothing has, run
            lengths of another size than the image, an empty segmentation, a negative box, ...; the sentence names the
            entry.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "test.json"
        >>> image = {"id": 7, "file_name": "a.png", "height": 3, "width": 4}
        >>> _ = path.write_text(json.dumps({"images": [image], "categories": []}))
        >>> read_coco(path, need_annotations=False)["images"][0]["id"]
        7
    """
    content = read_json(path)
    check_coco(content, path, need_annotations=need_annotations)
    return content


def plain(value: Any) -> Any:
    """What JSON needs in place of a number or array of numpy's; for `json.dumps(default=plain)`.

    Raises:
        TypeError: anything else.
    """
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, bytes):
        return value.decode("ascii")
    raise TypeError(f"JSON has no form for a {type(value).__name__}.")
