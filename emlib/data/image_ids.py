"""The test images of a competition: a list of names and sizes, with the ids that an answer must use."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from emlib.data.coco_checks import check_images
from emlib.data.coco_sets import nuclei_category
from emlib.data.image_files import image_size
from emlib.data.json_reading import read_json


def read_test_ids(path: str | Path, *, folder: str | Path | None = None) -> list[dict[str, Any]]:
    """Read `test_img_ids.json`: [{"id": 1, "file_name": "a.png", "height": 1000, "width": 1000}, ...].

    Args:
        path: the JSON file.
        folder: if given, the pictures are looked for in it, and their sizes compared.

    Returns:
        The entries in the order of the file, with the competition's ids; the form of COCO's "images".

    Raises:
        FileNotFoundError: the list, or a picture of it, is missing.
        ValueError: not such a list, an id or name twice, or a picture of another size.

    Example:
        >>> import json, tempfile
        >>> path = Path(tempfile.mkdtemp()) / "test_img_ids.json"
        >>> _ = path.write_text(json.dumps([{"id": 5, "file_name": "a.png", "height": 30, "width": 40}]))
        >>> read_test_ids(path)
        [{'id': 5, 'file_name': 'a.png', 'height': 30, 'width': 40}]
    """
    path = Path(path)
    content = read_json(path)
    if not isinstance(content, list):
        raise ValueError(
            f"{path} holds a {type(content).__name__}, but a list of {{id, file_name, height, width}} was expected."
        )
    check_images(content, f"{path}: entry {{}}")
    if folder is not None:
        for image in content:
            file, said = Path(folder) / image["file_name"], (image["height"], image["width"])
            if not file.is_file():
                raise FileNotFoundError(f"{path} lists {image['file_name']}, which is not in {folder}.")
            if image_size(file) != said:
                raise ValueError(f"{path} says that {file} has {said} pixels (y, x), but it has {image_size(file)}.")
    return content


def coco_test_set(images: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The `test.json` of these images: "images" with their ids, "categories" (nuclei), and no annotations.

    Raises:
        ValueError: as `read_test_ids`.

    Example:
        >>> coco_test_set([{"id": 5, "file_name": "a.png", "height": 30, "width": 40}])["categories"]
        [{'supercategory': 'nuclei', 'name': 'nuclei', 'id': 1}]
    """
    check_images(images, "entry {} of the test images")
    return {"images": [dict(image) for image in images], "categories": [nuclei_category()]}
