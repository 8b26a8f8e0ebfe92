"""COCO dictionaries against the COCO programs, mask for mask."""

import contextlib
import io
import json

import imageio.v3 as imageio
import numpy as np
import pytest
from data.nuclei_scene import HEIGHT, IMAGE, LABELS, MASKS, WIDTH, write_folder
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from emlib.data import (
    coco_from_folders,
    coco_from_labels,
    coco_from_masks,
    find_nuclei_folders,
    open_cell_set,
    overlapping_pixels,
    read_coco,
    write_coco,
)


def opened(coco, folder):
    """The COCO programs' own view of what is written."""
    path = write_coco(folder / "a.json", coco)
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(path))


def check(coco, masks_of, folder):
    """Area, box, text and drawn mask of every annotation are what the COCO programs make of the mask."""
    api = opened(coco, folder)
    seen = 0
    for image in coco["images"]:
        annotations = [one for one in coco["annotations"] if one["image_id"] == image["id"]]
        masks = masks_of[image["file_name"]]
        assert len(annotations) == len(masks)
        for one, mask in zip(annotations, masks, strict=True):
            expected = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
            assert list(one) == ["id", "image_id", "category_id", "iscrowd", "area", "bbox", "segmentation"]
            assert (one["category_id"], one["iscrowd"]) == (1, 0)
            assert one["area"] == coco_mask.area(expected)
            assert one["bbox"] == coco_mask.toBbox(expected).tolist()
            if isinstance(one["segmentation"], dict):
                assert one["segmentation"] == {"size": expected["size"], "counts": expected["counts"].decode()}
            assert np.array_equal(api.annToMask(one).astype(bool), mask)
            seen += 1
            assert one["id"] == seen


@pytest.mark.parametrize("polygons", [False, True])
def test_all_ways_to_the_same_dictionary(tmp_path, polygons):
    names = ["b/images/b.png", "a/images/a.png", "a-1/images/a-1.png"]
    masks = {name: np.roll(MASKS, number, axis=2) for number, name in enumerate(names)}
    for name, one in masks.items():
        write_folder(tmp_path / "train", name.split("/")[0], one)
    from_masks = coco_from_masks(masks, polygons=polygons)
    assert [(one["id"], one["file_name"]) for one in from_masks["images"]] == list(enumerate(sorted(names), start=1))
    assert from_masks["images"][0] == {"id": 1, "file_name": "a-1/images/a-1.png", "height": HEIGHT, "width": WIDTH}
    assert from_masks["categories"] == [{"supercategory": "nuclei", "name": "nuclei", "id": 1}]
    check(from_masks, masks, tmp_path)
    kinds = [type(one["segmentation"]) for one in from_masks["annotations"]]
    # The ring has a hole and stays run lengths.
    assert kinds[:6] == ([list, dict, list, list, list, list] if polygons else [dict] * 6)
    assert coco_from_masks(((name, iter(one)) for name, one in masks.items()), polygons=polygons) == from_masks
    labels = [(one * np.arange(1, 7)[:, None, None]).max(axis=0) for one in masks.values()]
    assert coco_from_labels(labels, names, polygons=polygons) == from_masks
    from_folders = coco_from_folders(tmp_path / "train", polygons=polygons)
    # Folders come in the order of their ids: "a" before "a-1".
    assert [one["file_name"] for one in from_folders["images"]] == [names[1], names[2], names[0]]
    check(from_folders, masks, tmp_path)


@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(1, 12), st.integers(1, 5), st.booleans())
def test_random_labels_of_any_type(tmp_path_factory, seed, height, width, count, polygons):
    random = np.random.default_rng(seed)
    dtype = random.choice([np.uint8, np.int32, np.uint32, np.uint64])
    offset = {1: 0, 4: 2**24, 8: 2**63}[np.dtype(dtype).itemsize]
    small = random.integers(0, count + 1, (height, width))
    small[random.integers(height), random.integers(width)] = 1
    labels = np.where(small > 0, small.astype(np.uint64) + np.uint64(offset), np.uint64(0)).astype(dtype)
    labels = np.asfortranarray(labels) if seed % 2 else labels
    before = labels.copy()
    coco = coco_from_labels([labels], ["a"], polygons=polygons)
    check(coco, {"a": [small == one for one in np.unique(small[small > 0])]}, tmp_path_factory.mktemp("coco"))
    assert np.array_equal(labels, before)
    assert overlapping_pixels(coco) == {}


def test_overlapping_masks_are_kept_whole(tmp_path):
    masks = {"a": np.stack([MASKS[1], np.roll(MASKS[1], 2, axis=1)]), "b": MASKS[:1], "c": np.stack([MASKS[0]] * 3)}
    coco = coco_from_masks(masks)
    check(coco, masks, tmp_path)
    assert overlapping_pixels(coco) == {1: int((masks["a"].sum(axis=0) > 1).sum()), 3: int(MASKS[0].sum())}


def test_names_lead_from_the_file_to_the_images(tmp_path):
    write_folder(tmp_path / "data" / "train", "a")
    path = write_coco(tmp_path / "out" / "x" / "train.json", coco_from_folders(
        tmp_path / "data" / "train", relative_to=tmp_path / "out" / "x"))  # fmt: skip
    assert read_coco(path)["images"][0]["file_name"] == "../../data/train/a/images/a.png"
    cells = open_cell_set(path)
    assert np.array_equal(cells[0].labels, LABELS)
    part = coco_from_folders(find_nuclei_folders(tmp_path / "data" / "train"))
    assert part["images"][0]["file_name"] == "a/images/a.png"


def test_a_damaged_image_is_found_beside_its_masks(tmp_path):
    write_folder(tmp_path, "a")
    image = tmp_path / "a" / "images" / "a.png"
    image.write_bytes(image.read_bytes()[:-20])
    with pytest.raises(OSError, match=r"a\.png cannot be read, it is damaged or truncated"):
        coco_from_folders(tmp_path)


def test_whole_pictures_and_single_pixels(tmp_path):
    one = np.zeros((3, 5), bool)
    one[2, 4] = True
    masks = {"full": [np.ones((3, 5), bool)], "pixel": [one], "tiny": [np.ones((1, 1), bool)]}
    for polygons in (False, True):
        check(coco_from_masks(masks, polygons=polygons), masks, tmp_path)


@pytest.mark.parametrize(
    "call, error, match",
    [
        (lambda: coco_from_masks({}), ValueError, "no image to describe"),
        (lambda: coco_from_masks({"a": []}), ValueError, "a has no mask"),
        (lambda: coco_from_masks({"a": [np.ones((2, 2)), np.zeros((2, 2))]}), ValueError, "Mask 1 of a is empty"),
        (lambda: coco_from_masks({"a": [np.ones((2, 2)), np.ones((2, 3))]}), ValueError, r"Mask 1 of a has .*\(2, 3\)"),
        (lambda: coco_from_masks({"a": [np.ones(3)]}), ValueError, r"Mask 0 of a has .*\(y, x\)"),
        (lambda: coco_from_masks([("a", MASKS), ("a", MASKS)]), ValueError, "Two images are named 'a'"),
        (lambda: coco_from_labels([LABELS], ["a", "b"]), ValueError, "2 names, but 1 label"),
        (lambda: coco_from_labels([LABELS] * 2, ["a"]), ValueError, "more label images than names"),
        (lambda: coco_from_labels([LABELS * 0], ["a"]), ValueError, "labels of a hold no object"),
        (lambda: coco_from_labels([LABELS / 2], ["a"]), TypeError, "a: .*integers"),
        (lambda: coco_from_labels([-LABELS.astype(int)], ["a"]), ValueError, "a: .*negative"),
        (lambda: coco_from_labels([IMAGE[None]], ["a"]), ValueError, "a: .*shape"),
    ],
)
def test_faults(call, error, match):
    with pytest.raises(error, match=match) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_images_without_objects_when_allowed(tmp_path):
    coco = coco_from_labels([LABELS * 0, LABELS], ["a", "b"], allow_empty=True)
    assert [one["image_id"] for one in coco["annotations"]] == [2] * 6
    assert json.loads(write_coco(tmp_path / "a.json", coco).read_text()) == coco


def test_the_figures_of_the_published_system():
    """A mask of 1000 x 1000 whose text the COCO programs begin so."""
    mask = np.zeros((1000, 1000), bool)
    mask[100:900, 333], mask[5:40, 700:760] = True, True
    one = coco_from_masks({"a": [mask]})["annotations"][0]
    assert one["segmentation"]["counts"].startswith("\\YU:Pi0i`U;SXO\\]kD000")
    assert (one["area"], one["bbox"]) == (2900, [333.0, 5.0, 427.0, 895.0])


def test_many_nuclei_lose_none(tmp_path):
    """As many objects as the densest pictures have, and pictures as large as theirs."""
    rows, columns = np.mgrid[0:1000, 0:1000]
    labels = (rows // 34) * 30 + columns // 34 + 1
    labels[(rows % 34 > 30) | (columns % 34 == 0)] = 0
    coco = coco_from_labels([labels], ["a.png"])
    assert len(coco["annotations"]) == 900
    assert sum(one["area"] for one in coco["annotations"]) == np.count_nonzero(labels)
    image = read_coco(write_coco(tmp_path / "a.json", coco))["images"][0]
    imageio.imwrite(tmp_path / image["file_name"], np.zeros((1000, 1000), np.uint8))
    assert np.array_equal(open_cell_set(tmp_path / "a.json")[0].labels, labels)
