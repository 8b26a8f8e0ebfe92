"""COCO files read back as they were written, and every broken rule named with its entry."""

import contextlib
import copy
import io
import json

import numpy as np
import pytest
from data.nuclei_scene import LABELS
from pycocotools.coco import COCO

from emlib.data import coco_from_labels, coco_test_set, read_coco, read_test_ids, write_coco

SOUND = coco_from_labels([LABELS, LABELS[::-1]], ["a.png", "b.png"])


@pytest.fixture
def file(tmp_path):
    return tmp_path / "sets" / "train.json"


@pytest.mark.parametrize("polygons", [False, True])
def test_what_is_written_is_read(file, polygons):
    coco = coco_from_labels([LABELS, LABELS[::-1]], ["a.png", "b.png"], polygons=polygons)
    coco["info"] = {"description": "näher"}
    before = copy.deepcopy(coco)
    assert write_coco(file, coco) == file
    assert read_coco(file) == coco == before
    with pytest.raises(FileExistsError, match="exists already"):
        write_coco(file, coco, overwrite=False)
    write_coco(file, SOUND)
    assert read_coco(file) == SOUND
    assert [path.name for path in file.parent.iterdir()] == ["train.json"]


def test_numbers_of_numpy_and_texts_as_bytes(file):
    coco = copy.deepcopy(SOUND)
    for one in coco["annotations"]:
        one["area"], one["id"], one["bbox"] = np.float32(one["area"]), np.int64(one["id"]), np.array(one["bbox"])
        one["segmentation"]["counts"] = one["segmentation"]["counts"].encode()
    write_coco(file, coco)
    assert read_coco(file) == SOUND
    coco["info"] = {"made by": object()}
    with pytest.raises(TypeError, match="no form for a object"):
        write_coco(file, coco)
    assert read_coco(file) == SOUND


def test_sets_without_truth(file):
    images = [{"id": 40, "file_name": "x.png", "height": 5, "width": 6}]
    test = coco_test_set(images)
    assert test == {"images": images, "categories": SOUND["categories"]}
    write_coco(file, test)
    assert read_coco(file, need_annotations=False) == test
    with pytest.raises(ValueError, match=r"train\.json has no 'annotations', which"):
        read_coco(file)
    with contextlib.redirect_stdout(io.StringIO()):
        assert COCO(str(file)).getImgIds() == [40]


def change(part, number, **values):
    def apply(coco):
        for key, value in values.items():
            coco[part][number][key] = value

    return apply


def drop(part, number, key):
    return lambda coco: coco[part][number].pop(key)


def image(**values):
    return change("images", 1, **values)


def annotation(**values):
    return change("annotations", 7, **values)


BROKEN = {
    r"json has no 'images', which": lambda coco: coco.pop("images"),
    r"has no 'annotations', 'categories', which": lambda coco: (coco.pop("annotations"), coco.pop("categories")),
    r"entry 1 of 'images' has no file_name, width": lambda c: (
        c["images"][1].pop("file_name"),
        c["images"][1].pop("width"),
    ),
    r"entry 7 of 'annotations' has no segmentation": drop("annotations", 7, "segmentation"),
    r"entry 7 of 'annotations' has no iscrowd": drop("annotations", 7, "iscrowd"),
    r"entry 0 of 'categories' has no name": drop("categories", 0, "name"),
    r"entry 1 of 'images' is a str": lambda coco: coco["images"].__setitem__(1, "b.png"),
    r"there is dict in place of a list": lambda coco: coco.update(annotations={}),
    r"there is no image": lambda coco: coco.update(images=[], annotations=[]),
    r"entry 1 of 'images' has the id 1, which an entry before": image(id=1),
    r"entry 1 of 'images' has the id '2'": image(id="2"),
    r"entry 1 of 'images' has the id True": image(id=True),
    r"\(id 2\) has the file_name 'a.png', which an image before": image(file_name="a.png"),
    r"\(id 2\) has the file_name ''": image(file_name=""),
    r"\(id 2\) has the height 0": image(height=0),
    r"\(id 2\) has the width 14.0": image(width=14.0),
    r"\(id 2\) has the width 1000.*, but a whole number from 1 to 2147483647": image(width=10**30),
    r"\(id 8\) has the area 1000": annotation(area=10**400),
    r"entry 7 .*three points as|entry 7 .*three points": annotation(segmentation=[["a"] * 6]),
    r"entry 7 of 'annotations' has the id 3, which an entry before": annotation(id=3),
    r"\(id 8\) has the image_id 9, which the file does not list": annotation(image_id=9),
    r"\(id 8\) has the image_id \[\]": annotation(image_id=[]),
    r"\(id 8\) has the category_id 2, which": annotation(category_id=2),
    r"\(id 8\) has the iscrowd 2": annotation(iscrowd=2),
    r"\(id 8\) has the iscrowd 'no'": annotation(iscrowd="no"),
    r"\(id 8\) has the area -1": annotation(area=-1),
    r"\(id 8\) has the area '5'": annotation(area="5"),
    r"\(id 8\) has the bbox \[1.0, 1.0, -3.0, 2.0\], but a width and height above 0": annotation(bbox=[1, 1, -3, 2]),
    r"\(id 8\) has the bbox \[1, 1, 3\], but four": annotation(bbox=[1, 1, 3]),
    r"\(id 8\) has the bbox \[1, 1, 3, None\], but four": annotation(bbox=[1, 1, 3, None]),
    r"\(id 8\) has the bbox 5, but four": annotation(bbox=5),
    r"\(id 8\) has the bbox \[-4, 0, 5, 2\], which reaches beyond its image of 9 x 14": annotation(bbox=[-4, 0, 5, 2]),
    r"\(id 8\) has the bbox \[10, 0, 6, 2\], which reaches": annotation(bbox=[10, 0, 6, 2]),
    r"entry 7 .*its size is \(14, 9\), but the picture has \(9, 14\)": annotation(
        segmentation={"size": [14, 9], "counts": "n2b0"}
    ),
    r"entry 7 .*has the size 9": annotation(segmentation={"size": 9, "counts": "n2b0"}),
    r"entry 7 .*add up to 125": annotation(segmentation={"size": [9, 14], "counts": [25, 100]}),
    r"entry 7 .*add up to 2,|entry 7 .*add up to 2": annotation(segmentation={"size": [9, 14], "counts": "2"}),
    r"entry 7 .*character": annotation(segmentation={"size": [9, 14], "counts": "\u00e9"}),
    r"entry 7 .*break off": annotation(segmentation={"size": [9, 14], "counts": "P"}),
    r"entry 7 .*without a pixel": annotation(segmentation={"size": [9, 14], "counts": [126]}),
    r"entry 7 .*three points": annotation(segmentation=[[1, 2, 3, 4]]),
    r"entry 7 .*polygons or run lengths": annotation(segmentation=None),
}


@pytest.mark.parametrize("match", BROKEN)
def test_broken_rules(tmp_path, match):
    coco = copy.deepcopy(SOUND)
    BROKEN[match](coco)
    (tmp_path / "a.json").write_text(json.dumps(coco))
    with pytest.raises(ValueError, match=match) as caught:
        read_coco(tmp_path / "a.json")
    assert str(caught.value).startswith(f"{tmp_path / 'a.json'}")
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)
    if "annotations" in coco:
        with pytest.raises(ValueError, match=match):
            write_coco(tmp_path / "b.json", coco)
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize(
    "content, match",
    [
        (b"", "not valid JSON"),
        (b'{"images": [', "not valid JSON"),
        (b"\xff\xfe", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b'{"images": NaN}', "it holds NaN"),
        (b"[1, 2]", "holds a list, but a COCO file is an object"),
        (b"null", "holds a NoneType"),
    ],
)
def test_no_json(tmp_path, content, match):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ValueError, match=match) as caught:
        read_coco(tmp_path / "a.json")
    assert "\n" not in str(caught.value)


def test_values_that_json_has_no_number_for(tmp_path):
    coco = copy.deepcopy(SOUND)
    coco["info"] = float("nan")
    with pytest.raises(ValueError, match="a number that JSON does not know"):
        write_coco(tmp_path / "a.json", coco)
    assert list(tmp_path.iterdir()) == []


def test_missing_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="no file"):
        read_coco(tmp_path / "a.json")
    with pytest.raises(FileNotFoundError, match="no file"):
        read_test_ids(tmp_path / "a.json")
