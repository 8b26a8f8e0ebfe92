"""A list of image and label files as JSON, checked when it is written and when it is read."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emlib.atomic import write_text
from emlib.data.image_files import image_size
from emlib.data.image_pairs import ImagePair, check_pair, check_shapes, find_image_pairs
from emlib.progress import progress

MAPPING_NAME = "mapping.json"


def write_mapping(
    root: str | Path,
    out: str | Path | None = None,
    *,
    key: str = "official",
    images: str = "images",
    labels: str = "labels",
    need_labels: bool = True,
    decode: bool = True,
    overwrite: bool = False,
    show_progress: bool = True,
) -> MappingSummary:
    """Pair images and labels below a folder, check every pair, and write the list.

    The file is `{key: [{"img": path, "label": path}, ...]}`, as MEDIAR's, with paths relative to the folder of the
    file itself, so that data and list can be moved together.

    Args:
        root: holds the folders `images` and `labels`; see `find_image_pairs`.
        out: the file to write; by default mapping.json in `root`.
        key: the name of the list.
        images, labels, need_labels: as in `find_image_pairs`.
        decode: read every file and count cells; False compares the headers' sizes only.
        overwrite: replace a file that is there.
        show_progress: show a bar while reading.

    Returns:
        MappingSummary.

    Raises:
        FileExistsError: `out` is there and `overwrite` is False.
        FileNotFoundError, OSError, TypeError, ValueError: pairs that are incomplete, unreadable or of unequal shape.

    Example:
        >>> import imageio.v3, numpy, tempfile
        >>> root = Path(tempfile.mkdtemp())
        >>> for name in ("images/cell.png", "labels/cell_label.png"):
        ...     (root / name).parent.mkdir()
        ...     imageio.v3.imwrite(root / name, numpy.eye(4, dtype=numpy.uint8))
        >>> summary = write_mapping(root, show_progress=False)
        >>> summary.images, summary.labelled, summary.cells
        (1, 1, 1)
        >>> [pair.name for pair in load_mapping(summary.path)]
        ['cell']
    """
    root = Path(root)
    target = root / MAPPING_NAME if out is None else Path(out)
    if not key or not isinstance(key, str):
        raise ValueError(f"key is {key!r}, but a name was expected.")
    if target.exists() and not overwrite:
        raise FileExistsError(f"{target} exists already; allow overwriting to make the list anew.")
    pairs = find_image_pairs(root, images=images, labels=labels, need_labels=need_labels)
    cells, sizes = 0, []
    for pair in progress(pairs, label="checking images", unit="image", show=show_progress):
        cells += check_pair(pair) if decode else _check_sizes(pair)
        sizes.append(image_size(pair.image))
    items = []
    for pair in pairs:
        item = {"img": _relative(pair.image, target.parent)}
        if pair.label is not None:
            item["label"] = _relative(pair.label, target.parent)
        items.append(item)
    write_text(target, json.dumps({key: items}, indent=1, ensure_ascii=False) + "\n")
    labelled = sum(pair.label is not None for pair in pairs)
    return MappingSummary(target, len(pairs), labelled, cells if decode else None, min(sizes), max(sizes))


def load_mapping(
    path: str | Path, *, key: str | None = None, root: str | Path | None = None, check: bool = True
) -> list[ImagePair]:
    """Read a list that `write_mapping` made, or one of MEDIAR's.

    Args:
        path: the JSON file.
        key: which list, if the file has several.
        root: the folder that its paths are relative to; by default the file's own.
        check: look whether every file is there and whether the sizes of image and label agree.

    Returns:
        Pairs in the order of the file; a label that is not listed is None.

    Raises:
        FileNotFoundError: the list, or a file of it, is missing.
        ValueError: not such a list, an unknown or missing key, an image listed twice, or sizes that differ.
    """
    path = Path(path)
    items = _items(path, key)
    base = path.parent if root is None else Path(root)
    pairs = []
    for number, item in enumerate(items):
        if not isinstance(item, dict) or not isinstance(item.get("img"), str) or set(item) - {"img", "label"}:
            raise ValueError(f"{path}: entry {number} is {item!r}, but {{'img': path, 'label': path}} was expected.")
        if not isinstance(item.get("label"), str | None):
            raise ValueError(f"{path}: the label of entry {number} is {item['label']!r}, but a path was expected.")
        # Lists made on Windows have backslashes.
        image, label = (base / item[name].replace("\\", "/") if item.get(name) else None for name in ("img", "label"))
        pairs.append(ImagePair(image.stem, image, label))
    image, times = Counter(pair.image for pair in pairs).most_common(1)[0] if pairs else (None, 0)
    if times > 1:
        raise ValueError(f"{path} lists {image} {times} times.")
    if check:
        gone = [file for pair in pairs for file in (pair.image, pair.label) if file is not None and not file.is_file()]
        if gone:
            raise FileNotFoundError(f"{len(gone)} files that {path} lists are not there, the first is {gone[0]}.")
        for pair in pairs:
            _check_sizes(pair)
    return pairs


def _items(path: Path, key: str | None) -> list[Any]:
    if not path.is_file():
        raise FileNotFoundError(f"There is no list of images {path}; write_mapping makes one.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_unique(path))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not valid JSON ({error}).") from error
    if not isinstance(content, dict) or not content or not all(isinstance(one, list) for one in content.values()):
        raise ValueError(f"{path} is no list of images: {{name: [{{'img': path, 'label': path}}, ...]}} was expected.")
    if key is None and len(content) > 1:
        raise ValueError(f"{path} holds the lists {', '.join(content)}; say which with key=.")
    if key is not None and key not in content:
        raise ValueError(f"{path} has no list '{key}'; it holds {', '.join(content)}.")
    return content[key if key is not None else next(iter(content))]


def _unique(path: Path) -> Callable[[list[tuple[str, Any]]], dict[str, Any]]:
    def build(items: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in items]
        if len(set(names)) != len(names):
            raise ValueError(f"{path} has a name twice in one object: {', '.join(names)}.")
        return dict(items)

    return build


def _check_sizes(pair: ImagePair) -> int:
    if pair.label is not None:
        check_shapes(pair, image_size(pair.image), image_size(pair.label))
    return 0


def _relative(path: Path, folder: Path) -> str:
    return Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix()


@dataclass(frozen=True)
class MappingSummary:
    """What `write_mapping` found.

    Attributes:
        path: the file that was written.
        images, labelled: number of images, and of those with a label.
        cells: ids in all labels, or None if the files were not decoded.
        smallest, largest: shapes (y, x) of the images, compared by height and then by width.
    """

    path: Path
    images: int
    labelled: int
    cells: int | None
    smallest: tuple[int, int]
    largest: tuple[int, int]
