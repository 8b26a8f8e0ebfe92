"""Nuclei as the Data Science Bowl of 2018 laid them out: a folder an image, in it one mask file a nucleus."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from emlib.data.coco_masks import paint_objects
from emlib.data.coco_objects import count_overlap
from emlib.data.image_decoding import decode_picture
from emlib.data.image_files import IMAGE_SUFFIXES, image_size
from emlib.run_lengths import counts_of_mask, runs_of_segmentations

COPY_MARK = "-checkpoint"


def find_nuclei_folders(root: str | Path, *, need_masks: bool = True) -> list[NucleiFolder]:
    """The images below a folder: `<root>/<id>/images/*.png` with `<root>/<id>/masks/*.png`, one nucleus each.

    Also the layout of the CodaLab nuclei competition of 2021 (its folder `train`). Hidden files and folders and the
    copies `*-checkpoint.png`, which editors leave behind and which lie in that competition's archive, are not seen;
    folders that have neither `images` nor `masks` are no images.

    Args:
        root: the folder that holds one folder an image.
        need_masks: whether every image has to have masks.

    Returns:
        NucleiFolder, at least one, sorted by id; nothing is decoded yet. Masks are sorted by file name.

    Raises:
        FileNotFoundError: no such folder, or a link in it that leads nowhere.
        ValueError: no image in it, an id with no or several pictures, or without a mask.

    Example:
        >>> import imageio.v3, tempfile
        >>> root = Path(tempfile.mkdtemp())
        >>> for name in ("a/images/a.png", "a/masks/mask_0001.png", "a/masks/.ipynb_checkpoints/mask-checkpoint.png"):
        ...     (root / name).parent.mkdir(parents=True)
        ...     imageio.v3.imwrite(root / name, np.full((2, 3), 255, np.uint8))
        >>> [(one.name, one.image.name, len(one.masks)) for one in find_nuclei_folders(root)]
        [('a', 'a.png', 1)]
    """
    root = Path(root)
    if not root.is_dir():
        raise FileNotFoundError(f"There is no folder {root}.")
    found = []
    for folder in sorted(_visible(root)):
        if not any((folder / part).is_dir() for part in ("images", "masks")):
            continue
        images, masks = _pictures(folder / "images"), _pictures(folder / "masks")
        if len(images) != 1:
            names = f" ({', '.join(path.name for path in images[:3])})" if images else ""
            raise ValueError(f"{folder / 'images'} holds {len(images)} pictures{names}, but one was expected.")
        if need_masks and not masks:
            raise ValueError(f"{folder / 'masks'} holds no mask, but one for each nucleus was expected.")
        found.append(NucleiFolder(folder.name, images[0], tuple(masks)))
    if not found:
        below = next((child for child in sorted(_visible(root)) if _has_images(child)), None)
        hint = f"; did you mean {below}?" if below else "."
        raise ValueError(f"{root} holds no folder <id> with <id>/images and <id>/masks{hint}")
    return found


def read_nuclei_masks(folder: NucleiFolder) -> Iterator[np.ndarray]:
    """Decode the masks of an image one by one, in their order; whole even where they overlap.

    Returns:
        Iterator of bool (y, x), of the picture's height and width.

    Raises:
        OSError: a mask that is no picture, damaged or truncated; the sentence names the file.
        ValueError: a mask of another size than its image, an empty one, or one of more values than 0 and one other.

    Example:
        >>> import imageio.v3, tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.png"
        >>> imageio.v3.imwrite(path, np.array([[0, 255, 255]], np.uint8))
        >>> [mask.tolist() for mask in read_nuclei_masks(NucleiFolder("a", path, (path,)))]
        [[[False, True, True]]]
    """
    shape = image_size(folder.image)
    for file in folder.masks:
        values = decode_picture(file).values
        values = values[..., :3].max(axis=-1) if values.ndim == 3 else values
        if values.shape != shape:
            turned = "; the mask seems to be transposed" if values.shape == shape[::-1] else ""
            raise ValueError(
                f"Mask {file} has shape {values.shape}, but its image {folder.image} has {shape} (y, x){turned}."
            )
        mask = values != 0
        inside = values[mask]
        if not inside.size:
            raise ValueError(f"Mask {file} is empty, but one nucleus was expected.")
        if inside.min() != inside.max():
            number = len(np.unique(inside))
            raise ValueError(f"Mask {file} holds {number} values beside 0, but one nucleus in 0 and 255 was expected.")
        yield mask


def read_nuclei_labels(folder: NucleiFolder) -> NucleiLabels:
    """One label image from all masks of an image.

    A label image cannot show two nuclei in one pixel. Where masks overlap, the smaller one is seen (of equal ones the
    later), because a small nucleus below a large one would be lost, and a large one below a small one is not. The
    COCO files that `coco_from_folders` makes keep every mask whole.

    Raises:
        OSError, ValueError: as in `read_nuclei_masks`; a mask that smaller ones hide entirely, such as a copy.

    Example:
        >>> import imageio.v3, tempfile
        >>> root = Path(tempfile.mkdtemp())
        >>> for name, row in (("a.png", [0, 255, 0, 0]), ("b.png", [255, 255, 255, 0])):
        ...     imageio.v3.imwrite(root / name, np.array([row], np.uint8))
        >>> labels = read_nuclei_labels(NucleiFolder("a", root / "a.png", (root / "a.png", root / "b.png")))
        >>> labels.labels.tolist(), labels.overlap
        ([[2, 1, 2, 0]], 1)
    """
    shape = image_size(folder.image)
    objects = [{"size": shape, "counts": counts_of_mask(mask)} for mask in read_nuclei_masks(folder)]
    labels = paint_objects(objects, shape)
    seen = np.bincount(labels.ravel(), minlength=len(objects) + 1)[1:]
    if not seen.all():
        hidden = folder.masks[int(np.argmin(seen))]
        raise ValueError(
            f"Mask {hidden} is hidden by smaller or equal ones, so a label image cannot show it; is it a copy?"
        )
    return NucleiLabels(labels, count_overlap(runs_of_segmentations(objects, *shape), shape))


def _visible(folder: Path) -> list[Path]:
    return [path for path in _entries(folder) if path.is_dir()]


def _pictures(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    files = (path for path in _entries(folder) if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())
    return sorted(path for path in files if not path.stem.endswith(COPY_MARK))


def _entries(folder: Path) -> Iterator[Path]:
    """What is not hidden. A link that leads nowhere is neither file nor folder: a nucleus would be missing silently."""
    for path in folder.iterdir():
        if path.name.startswith("."):
            continue
        if path.is_symlink() and not path.exists():
            raise FileNotFoundError(f"{path} is a link to {path.readlink()}, which is not there.")
        yield path


def _has_images(folder: Path) -> bool:
    return any((child / "images").is_dir() for child in _visible(folder))


@dataclass(frozen=True)
class NucleiFolder:
    """The files of one image.

    Attributes:
        name: its id, the folder's name.
        image: the picture.
        masks: one file a nucleus, sorted by name.
    """

    name: str
    image: Path
    masks: tuple[Path, ...]


@dataclass(frozen=True)
class NucleiLabels:
    """A label image and what it could not show.

    Attributes:
        labels: uint32 (y, x), ids 1 ... n in the order of the masks, 0 = background.
        overlap: pixels that lie in more than one mask.
    """

    labels: np.ndarray
    overlap: int
