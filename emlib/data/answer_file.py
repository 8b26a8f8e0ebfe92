"""The file with which one answers the CodaLab nuclei competition of 2021: COCO's results, as JSON or in a zip."""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from emlib.atomic import atomic_path
from emlib.data.coco_checks import check_box, check_size, is_number, is_whole
from emlib.data.json_reading import parse_json, read_json
from emlib.run_lengths import (
    BadSegmentation,
    counts_of_runs,
    encode_counts,
    rle_encode,
    rle_to_bbox,
    runs_of_segmentations,
)

ANSWER_NAME = "answer.json"
CATEGORY = 1
KEYS = ("image_id", "bbox", "score", "category_id", "segmentation")
LARGEST_ANSWER = 1 << 30  # bytes; an answer of 10,000 images would fit
# The same for every file, so that the same detections give the same bytes.
DATE = (1980, 1, 1, 0, 0, 0)


def describe_detections(
    image_id: int, masks: Iterable[ArrayLike], scores: Sequence[float], *, boxes: ArrayLike | None = None
) -> list[dict[str, Any]]:
    """The detections of one image in COCO's form of results, which `write_answer` takes.

    Args:
        image_id: the image's id in the competition's list.
        masks: (y, x) each, anything but 0 is inside.
        scores: 0 to 1, one a mask.
        boxes: (n, 4) left, top, right, bottom in pixels, as networks give them; by default around the masks' pixels.

    Raises:
        ValueError: numbers of masks, scores and boxes that differ, or a mask that is not (y, x) or empty.

    Example:
        >>> describe_detections(5, [[[0, 1, 1], [0, 1, 0]]], [0.5])[0]["bbox"]
        [1.0, 0.0, 2.0, 2.0]
    """
    encoded = [rle_encode(mask) for mask in masks]
    if len(encoded) != len(scores):
        raise ValueError(f"There are {len(encoded)} masks, but {len(scores)} scores.")
    if boxes is None:
        sides = np.array([rle_to_bbox(one) for one in encoded]).reshape(-1, 4)
    else:
        sides = np.array(boxes, dtype=np.float64).reshape(-1, 4)
        sides[:, 2:] -= sides[:, :2]
    if len(sides) != len(encoded):
        raise ValueError(f"There are {len(encoded)} masks, but {len(sides)} boxes.")
    detections = []
    for one, box, score in zip(encoded, sides.tolist(), scores, strict=True):
        values = (int(image_id), box, float(score), CATEGORY, one)
        detections.append(dict(zip(KEYS, values, strict=True)))
    check_detections(detections, f"image {image_id}")
    return detections


def write_answer(
    path: str | Path, detections: Iterable[Mapping[str, Any]], *, images: Sequence[Mapping[str, Any]] | None = None
) -> Path:
    """Write an answer as the competition wants it, all or nothing.

    A list, indented by 4, of {"image_id": int, "bbox": [x, y, width, height] floats, "score": float, "category_id": 1,
    "segmentation": {"size": [height, width], "counts": compressed run lengths as text}}, in the order given.

    Args:
        path: a .json file, or a .zip file, which then holds it as `answer.json`.
        detections: dictionaries with these keys; counts may also be bytes or numbers. Other keys are left out.
        images: the competition's list (`read_test_ids`); ids and sizes are compared with it.

    Returns:
        `path`.

    Raises:
        ValueError: another kind of file; a detection of an unknown image or of another size, without a pixel, with a
            negative box, with a score outside 0 to 1, ...; the sentence names its place.
        OSError: it cannot be written.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "answer.zip"
        >>> _ = write_answer(path, describe_detections(5, [[[0, 1, 1], [0, 1, 0]]], [0.5]))
        >>> read_answer(path)[0]["segmentation"]
        {'size': [2, 3], 'counts': '231'}
    """
    path = Path(path)
    if path.suffix.lower() not in (".json", ".zip"):
        raise ValueError(f"{path} should end in .json or .zip.")
    content = json.dumps(check_detections(list(detections), path, images=images), indent=4).encode()
    if path.suffix.lower() == ".zip":
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:
            entry = zipfile.ZipInfo(ANSWER_NAME, DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
        content = stream.getvalue()
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
    return path


def read_answer(path: str | Path, *, images: Sequence[Mapping[str, Any]] | None = None) -> list[dict[str, Any]]:
    """Read an answer, checked as `write_answer` does it; `coco_evaluate` takes the result.

    Args:
        path: a JSON file, or a zip file with `answer.json` in it.
        images: the competition's list (`read_test_ids`); ids and sizes are compared with it.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a damaged archive, one without `answer.json`, no JSON, or detections that `write_answer` refuses.
    """
    path = Path(path)
    if path.suffix.lower() != ".zip":
        return check_detections(read_json(path), path, images=images)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    try:
        with zipfile.ZipFile(path) as archive:
            if ANSWER_NAME not in archive.namelist():
                names = ", ".join(archive.namelist()[:3]) or "nothing"
                raise ValueError(f"{path} holds no {ANSWER_NAME}, but {names}.")
            if archive.getinfo(ANSWER_NAME).file_size > LARGEST_ANSWER:
                raise ValueError(f"{path} unpacks to more than {LARGEST_ANSWER} bytes, which no answer has.")
            with archive.open(ANSWER_NAME) as file:
                content = file.read(LARGEST_ANSWER)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise ValueError(f"{path} is no zip file, or it is damaged or encrypted ({str(error).rstrip('.')}).") from error
    where = f"{path}/{ANSWER_NAME}"
    return check_detections(parse_json(content, where), where, images=images)


def check_detections(
    detections: Any, where: str | Path, *, images: Sequence[Mapping[str, Any]] | None = None
) -> list[dict[str, Any]]:
    """Check detections and bring them into the form of the file, keys in its order.

    Raises:
        ValueError: the first thing that is wrong; the sentence begins with `where` and the detection's place.

    Example:
        >>> check_detections([{"image_id": 3}], "answer.json")
        Traceback (most recent call last):
        ...
        ValueError: answer.json: detection 0 has no bbox, score, category_id, segmentation.
    """
    if not isinstance(detections, list):
        raise ValueError(f"{where} holds a {type(detections).__name__}, but a list of detections was expected.")
    shapes = None if images is None else {image["id"]: (image["height"], image["width"]) for image in images}
    checked, sizes = [], []
    for number, one in enumerate(detections):
        said = f"{where}: detection {number}"
        if not isinstance(one, Mapping):
            raise ValueError(f"{said} is a {type(one).__name__}, but a dictionary was expected.")
        missing = [key for key in KEYS if key not in one]
        if missing:
            raise ValueError(f"{said} has no {', '.join(missing)}.")
        checked.append(_plain_values(one, said))
        sizes.append(check_size(one["segmentation"], said))
    if shapes is not None:
        _compare_with_list(checked, sizes, shapes, where)
    try:
        heights, widths = ([size[axis] for size in sizes] for axis in (0, 1))
        table = runs_of_segmentations([dict(one["segmentation"]) for one in detections], heights, widths)
    except BadSegmentation as error:
        raise ValueError(
            f"{where}: detection {error.place} has a segmentation that does not fit: {error.reason}"
        ) from error
    for number, (one, size) in enumerate(zip(checked, sizes, strict=True)):
        runs = table.of(number)
        if not runs[0].size:
            raise ValueError(f"{where}: detection {number} has a segmentation without a pixel.")
        one["segmentation"] = {"size": size, "counts": encode_counts(counts_of_runs(*runs, size[0] * size[1]))}
    return checked


def _plain_values(one: Mapping[str, Any], said: str) -> dict[str, Any]:
    """Everything but the segmentation, as numbers of Python's."""
    for key in ("image_id", "category_id"):
        if not is_whole(one[key]):
            raise ValueError(f"{said} has the {key} {one[key]!r}, but a whole number was expected.")
    if one["category_id"] != CATEGORY:
        raise ValueError(f"{said} has the category_id {one['category_id']}, but nuclei are category {CATEGORY}.")
    if not is_number(one["score"]) or not 0 <= one["score"] <= 1:
        raise ValueError(f"{said} has the score {one['score']!r}, but a number from 0 to 1 was expected.")
    values = (int(one["image_id"]), check_box(one["bbox"], said), float(one["score"]), int(one["category_id"]), None)
    return dict(zip(KEYS, values, strict=True))


def _compare_with_list(
    checked: list[dict[str, Any]], sizes: list[list[int]], shapes: dict[int, tuple[int, int]], where: str | Path
) -> None:
    strangers = sorted({one["image_id"] for one in checked} - set(shapes))
    if strangers:
        raise ValueError(
            f"{where} has detections of the image ids {', '.join(map(str, strangers[:5]))}"
            f"{', ...' if len(strangers) > 5 else ''}, which are not in the list of test images (test_img_ids.json)."
        )
    for number, (one, size) in enumerate(zip(checked, sizes, strict=True)):
        shape = shapes[one["image_id"]]
        if tuple(size) != tuple(shape):
            said, image = f"{where}: detection {number}", one["image_id"]
            raise ValueError(f"{said} has the size {size}, but its image {image} has {list(shape)} (y, x).")
