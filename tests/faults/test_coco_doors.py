"""COCO files at the start of a training: refused in one sentence that names the entry, and nothing is left.

What `read_coco` refuses is in tests/data/test_coco_files.py.
"""

import copy
import json
import shutil

import imageio.v3 as imageio
import pytest
from faults.nuclei_doors import HEIGHT, MADE, WIDTH, check_refusal, recipe_of

from emlib.data import coco_from_labels, prepare_image_data

NAMES = [f"n{number}.png" for number in range(len(MADE))]
COCO = coco_from_labels([one.labels for one in MADE], NAMES)
GONE = object()


def at(*keys, to):
    def change(coco):
        *path, last = keys
        part = coco
        for key in path:
            part = part[key]
        if to is GONE:
            del part[last]
        else:
            part[last] = to

    return change


def image(key, to):
    return at("images", 1, key, to=to)


def annotation(key, to):
    return at("annotations", 0, key, to=to)


def lengths(size, counts):
    return annotation("segmentation", {"size": size, "counts": counts})


SIZE, PIXELS = [HEIGHT, WIDTH], HEIGHT * WIDTH
FILES = {
    "no images": (at("images", to=GONE), "is no COCO file: it has no 'images' and 'annotations'"),
    "images is text": (at("images", to="abc"), "there is str in place of a list"),
    "no image": (at("images", to=[]), "there is no image"),
    "annotations is null": (at("annotations", to=None), "there is NoneType in place of a list"),
    "annotations is a number": (at("annotations", to=5), "there is int in place of a list"),
    "annotation is a list": (at("annotations", 0, to=[1]), "entry 0 of 'annotations' is a list"),
    "annotation is a number": (at("annotations", 0, to=1), "entry 0 of 'annotations' is an int"),
    "no height": (image("height", GONE), "entry 1 of 'images' has no height"),
    "height is text": (image("height", "x"), "(id 2) has the height 'x', but a whole number"),
    "height is null": (image("height", None), "(id 2) has the height None"),
    "height is 0": (image("height", 0), "(id 2) has the height 0"),
    "height is negative": (image("height", -4), "(id 2) has the height -4"),
    "height is a float": (image("height", 64.5), "(id 2) has the height 64.5"),
    "height is enormous": (image("height", 10**30), "(id 2) has the height 1000", "from 1 to 2147483647"),
    "height of another picture": (image("height", 999), "n1.png: Object 0", "but the picture has (999,"),
    "id of an image twice": (image("id", 1), "has the id 1, which an entry before it has"),
    "id of an image is null": (image("id", None), "has the id None"),
    "id of an image is a list": (image("id", [3]), "has the id [3]"),
    "name twice": (image("file_name", "n0.png"), "'n0.png', which an image before it has"),
    "name is a number": (image("file_name", 5), "has the file_name 5"),
    "name is empty": (image("file_name", ""), "has the file_name ''"),
    "file missing": (image("file_name", "no.png"), "lists the image no.png, which is not below"),
    "id of an object twice": (at("annotations", 1, "id", to=1), "entry 1 of 'annotations' has the id 1"),
    "no image_id": (annotation("image_id", GONE), "entry 0 of 'annotations' has no image_id"),
    "image_id unknown": (annotation("image_id", 99), "(id 1) has the image_id 99, which the file does not list"),
    "image_id is text": (annotation("image_id", "1"), "has the image_id '1', which"),
    "image_id is a list": (annotation("image_id", [1]), "has the image_id [1], which"),
    "category unknown": (annotation("category_id", 7), "(id 1) has the category_id 7, which the file does not list"),
    "category is null": (annotation("category_id", None), "has the category_id None, which"),
    "iscrowd is 2": (annotation("iscrowd", 2), "has the iscrowd 2, but 0 or 1"),
    "iscrowd is text": (annotation("iscrowd", "no"), "has the iscrowd 'no'"),
    "no segmentation": (annotation("segmentation", GONE), "entry 0 of 'annotations' has no segmentation"),
    "segmentation is null": (annotation("segmentation", None), "n0.png: Object 0", "polygons or run lengths"),
    "two points": (annotation("segmentation", [[1, 2, 3, 4]]), "Object 0", "at least three points"),
    "an odd point": (annotation("segmentation", [[1, 2, 3, 4, 5, 6, 7]]), "Object 0", "at least three points"),
    "points of text": (annotation("segmentation", [["a"] * 6]), "Object 0", "at least three points"),
    "size turned": (lengths([WIDTH, HEIGHT], "0"), "Object 0", f"its size is ({WIDTH}, {HEIGHT})"),
    "size is null": (lengths(None, "0"), "Object 0", "its size is None"),
    "size is text": (lengths("ab", "0"), "Object 0", "its size is 'ab'"),
    "no counts": (annotation("segmentation", {"size": SIZE}), "Object 0", "have no 'counts'"),
    "counts that do not add up": (lengths(SIZE, [5, 5]), "Object 0", f"add up to 10, but the picture has {PIXELS}"),
    "negative counts": (lengths(SIZE, [-5, PIXELS + 5]), "Object 0", "none can be negative"),
    "counts are null": (lengths(SIZE, None), "Object 0", "one list of whole numbers"),
    "no objects": (at("annotations", to=[]), "None of the 3 images has an object"),
    "an empty mask": (lengths(SIZE, [PIXELS]), "n0.png: Object 0 is empty"),
}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for name, one in zip(NAMES, MADE, strict=True):
        imageio.imwrite(folder / name, one.image)
    return folder


@pytest.fixture
def coco(pictures, tmp_path):
    return shutil.copytree(pictures, tmp_path / "coco")


@pytest.mark.parametrize("name", FILES)
def test_coco_files_that_are_refused(coco, tmp_path, name):
    change, *words = FILES[name]
    content = copy.deepcopy(COCO)
    change(content)
    (coco / "train.json").write_text(json.dumps(content))
    check_refusal(coco, "coco", words if name == "no objects" else ["train.json", *words], tmp_path)


TEXT = json.dumps(COCO).encode()
BYTES = {
    "0 bytes": (b"", "is not valid JSON"),
    "cut": (TEXT[: len(TEXT) // 2], "is not valid JSON"),
    "text": (b"hello", "is not valid JSON"),
    "no text": (b"\xff\xfe\x00", "is not valid JSON"),
    "a list": (json.dumps([COCO]).encode(), "is no COCO file"),
    "NaN": (TEXT.replace(b'"area": ', b'"area": NaN, "x": ', 1), "it holds NaN"),
}


@pytest.mark.parametrize("name", BYTES)
def test_files_that_are_no_coco_files(coco, tmp_path, name):
    content, words = BYTES[name]
    (coco / "train.json").write_bytes(content)
    check_refusal(coco, "coco", ["train.json", words], tmp_path)


def test_what_is_not_needed_may_be_missing_and_what_is_not_seen_is_said(coco, tmp_path):
    content = copy.deepcopy(COCO)
    del content["categories"]
    for one in content["annotations"]:
        del one["area"], one["bbox"], one["iscrowd"]
    first = content["annotations"][0]
    content["annotations"] += [first | {"id": 900}, first | {"id": 901, "segmentation": [[5, 5, 5, 5, 5, 5]]}]
    (coco / "train.json").write_bytes(b"\xef\xbb\xbf" + json.dumps(content).encode())
    # Two equal objects: the later is seen. A polygon without area holds no pixel's centre.
    with pytest.warns(UserWarning, match=r"train\.json, image n0\.png: 2 of \d+ objects cannot be seen, .*object 0: "):
        prepared = prepare_image_data(recipe_of(coco, "coco"), tmp_path / "data")
    assert [one.cells for one in prepared.images] == [int(one.labels.max()) for one in MADE]
