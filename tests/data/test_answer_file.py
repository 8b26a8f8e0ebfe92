"""The answer of the competition: byte for byte its form, for the ids of its list, in a zip or not."""

import contextlib
import copy
import io
import json
import zipfile

import imageio.v3 as imageio
import numpy as np
import pytest
from data.nuclei_scene import HEIGHT, IMAGE, LABELS, MASKS, WIDTH
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from emlib.data import (
    coco_from_labels,
    coco_test_set,
    describe_detections,
    read_answer,
    read_test_ids,
    write_answer,
    write_coco,
)

SCORES = [0.9, 0.8, 0.7, 0.6, 0.5, 0.25]
LIST = [
    {"id": 17, "file_name": "x.png", "height": HEIGHT, "width": WIDTH},
    {"id": 5, "file_name": "a.png", "height": HEIGHT, "width": WIDTH},
]
SOUND = describe_detections(17, MASKS, SCORES) + describe_detections(5, MASKS[:, ::-1], SCORES)


def test_every_letter_of_the_file(tmp_path):
    detections = describe_detections(3, [[[0, 1, 1], [0, 1, 0]]], [0.5], boxes=[[1, 0, 2.5, 2]])
    text = write_answer(tmp_path / "answer.json", detections).read_text()
    assert (
        text
        == """[
    {
        "image_id": 3,
        "bbox": [
            1.0,
            0.0,
            1.5,
            2.0
        ],
        "score": 0.5,
        "category_id": 1,
        "segmentation": {
            "size": [
                2,
                3
            ],
            "counts": "231"
        }
    }
]"""
    )


@pytest.mark.parametrize("name", ["answer.json", "answer.zip", "ANSWER.ZIP"])
def test_what_is_written_is_read(tmp_path, name):
    before = copy.deepcopy(SOUND)
    path = write_answer(tmp_path / "out" / name, iter(SOUND), images=LIST)
    assert read_answer(path, images=LIST) == SOUND == before
    again = write_answer(tmp_path / f"again_{name}", SOUND)
    assert again.read_bytes() == path.read_bytes()
    assert [one.name for one in path.parent.iterdir()] == [name]
    if name == "answer.zip":
        with zipfile.ZipFile(path) as archive:
            assert archive.namelist() == ["answer.json"]
            assert json.loads(archive.read("answer.json")) == SOUND


def test_the_coco_programs_take_it_and_find_every_object(tmp_path):
    truth = coco_from_labels([LABELS[::-1], LABELS], ["a.png", "x.png"])
    ids = {1: 5, 2: 17}
    for one in truth["images"]:
        one["id"] = ids[one["id"]]
    for one in truth["annotations"]:
        one["image_id"] = ids[one["image_id"]]
    with contextlib.redirect_stdout(io.StringIO()):
        api = COCO(str(write_coco(tmp_path / "truth.json", truth | {"info": {}})))
        for kind in ("segm", "bbox"):
            found = api.loadRes(str(write_answer(tmp_path / "answer.json", SOUND, images=LIST)))
            score = COCOeval(api, found, kind)
            score.evaluate()
            score.accumulate()
            score.summarize()
            assert score.stats[0] == 1.0
    for one in SOUND[:6]:
        mask = MASKS[SCORES.index(one["score"])]
        assert np.array_equal(coco_mask.decode(one["segmentation"]).astype(bool), mask)
        assert one["bbox"] == coco_mask.toBbox(one["segmentation"]).tolist()


def test_every_form_of_run_lengths_and_of_numbers(tmp_path):
    text = SOUND[1]["segmentation"]["counts"]
    flat = MASKS[1].ravel("F")
    numbers = [len(run) for run in np.split(flat, np.flatnonzero(np.diff(flat)) + 1)]
    assert not flat[0]
    other = [
        {
            "bbox": np.array(SOUND[1]["bbox"], np.float32),
            "image_id": np.int64(17),
            "score": np.float32(0.5),
            "category_id": np.uint8(1),
            "segmentation": {"size": np.array([HEIGHT, WIDTH]), "counts": counts},
            "kind": "left out",
        }
        for counts in (text, text.encode(), numbers, np.array(numbers))
    ]
    expected = SOUND[1] | {"score": 0.5}
    assert read_answer(write_answer(tmp_path / "a.json", other)) == [expected] * 4


def test_nothing_found_is_an_answer(tmp_path):
    assert read_answer(write_answer(tmp_path / "a.zip", [], images=LIST), images=LIST) == []
    assert describe_detections(1, [], []) == []


def at(place, **values):
    def apply(detections):
        detections[place] |= values

    return apply


RLE = SOUND[1]["segmentation"]
BROKEN = {
    "detection 1 has no bbox, score": lambda d: (d[1].pop("bbox"), d[1].pop("score")),
    "detection 1 is a list": lambda d: d.__setitem__(1, []),
    "detection 1 has the image_id '17'": at(1, image_id="17"),
    "detection 1 has the image_id True": at(1, image_id=True),
    "detection 1 has the category_id 2, but nuclei are category 1": at(1, category_id=2),
    "detection 1 has the score 1.5": at(1, score=1.5),
    "detection 1 has the score nan|it holds NaN": at(1, score=float("nan")),
    "detection 1 has the score None": at(1, score=None),
    "detection 1 has the score -0.1": at(1, score=-0.1),
    "detection 1 has the score 1000": at(1, score=10**400),
    "detection 1 has the bbox .* four finite": at(1, bbox=[1, 2, 3, 10**400]),
    "detection 1 has the bbox .*-3.0.* above 0": at(1, bbox=[1, 2, -3, 4]),
    "detection 1 has the bbox .* above 0": at(1, bbox=[1, 2, 3, 0]),
    "detection 1 has the bbox .* four finite|it holds Infinity": at(1, bbox=[1, 2, 3, float("inf")]),
    "detection 1 has a segmentation that is no": at(1, segmentation=[[0, 0, 5, 0, 5, 5]]),
    "detection 1 has the size 9": at(1, segmentation=RLE | {"size": 9}),
    r"detection 1 has the size \[9, 0\]": at(1, segmentation=RLE | {"size": [9, 0]}),
    r"detection 1 has the size \[14, 9\], but its image 17 has \[9, 14\]": at(1, segmentation=RLE | {"size": [14, 9]}),
    "detection 1 has a segmentation that does not fit: .*add up": at(1, segmentation=RLE | {"counts": "231"}),
    "detection 1 has a segmentation that does not fit: .*character": at(1, segmentation=RLE | {"counts": "~~"}),
    "detection 1 has a segmentation without a pixel": at(1, segmentation=RLE | {"counts": [HEIGHT * WIDTH]}),
    "detections of the image ids 6, which are not in the list of test images": at(1, image_id=6),
}


@pytest.mark.parametrize("match", BROKEN)
def test_broken_answers(tmp_path, match):
    detections = copy.deepcopy(SOUND)
    BROKEN[match](detections)
    with pytest.raises(ValueError, match=match):
        write_answer(tmp_path / "a.zip", detections, images=LIST)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "a.json").write_text(json.dumps(detections))
    with pytest.raises(ValueError, match=match) as caught:
        read_answer(tmp_path / "a.json", images=LIST)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(".")


def test_many_strange_ids_are_not_all_named(tmp_path):
    detections = [SOUND[0] | {"image_id": number} for number in range(100, 300)]
    with pytest.raises(ValueError, match=r"ids 100, 101, 102, 103, 104, \.\.\., which"):
        write_answer(tmp_path / "a.json", detections, images=LIST)


def spoil_zip(path, content):
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in content.items():
            archive.writestr(name, text)


@pytest.mark.parametrize(
    "spoil, error, match",
    [
        (lambda path: None, FileNotFoundError, "no file"),
        (lambda path: path.write_bytes(b"no zip"), ValueError, "is no zip file"),
        (lambda path: path.write_bytes(write_answer(path, SOUND).read_bytes()[:-9]), ValueError, "damaged"),
        (lambda path: spoil_zip(path, {"other.json": "[]"}), ValueError, r"holds no answer\.json, but other\.json"),
        (lambda path: spoil_zip(path, {}), ValueError, r"holds no answer\.json, but nothing"),
        (lambda path: spoil_zip(path, {"answer.json": "[{"}), ValueError, r"answer\.json is not valid JSON"),
        (lambda path: spoil_zip(path, {"answer.json": "{}"}), ValueError, "holds a dict, but a list"),
    ],
)
def test_broken_archives(tmp_path, spoil, error, match):
    spoil(tmp_path / "a.zip")
    with pytest.raises(error, match=match) as caught:
        read_answer(tmp_path / "a.zip")
    assert "\n" not in str(caught.value)


def test_flipped_bits_of_an_archive_are_found(tmp_path):
    path = write_answer(tmp_path / "a.zip", SOUND)
    content = path.read_bytes()
    for place in range(45, 75):
        path.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
        with pytest.raises(ValueError, match=r"damaged|JSON"):
            read_answer(path)


def test_faults_of_detections(tmp_path):
    with pytest.raises(ValueError, match=r"should end in \.json or \.zip"):
        write_answer(tmp_path / "answer.txt", SOUND)
    with pytest.raises(ValueError, match="6 masks, but 5 scores"):
        describe_detections(1, MASKS, SCORES[:5])
    with pytest.raises(ValueError, match="6 masks, but 2 boxes"):
        describe_detections(1, MASKS, SCORES, boxes=[[0, 0, 1, 1]] * 2)
    with pytest.raises(ValueError, match="image 1: detection 0 has a segmentation without a pixel"):
        describe_detections(1, [np.zeros((3, 4))], [0.5], boxes=[[0, 0, 1, 1]])
    with pytest.raises(ValueError, match="image 1: detection 0 has the bbox"):
        describe_detections(1, [np.ones((3, 4))], [0.5], boxes=[[2, 0, 1, 1]])


def write_list(folder, content):
    path = folder / "test_img_ids.json"
    path.write_text(json.dumps(content))
    return path


def test_the_competition_s_ids_are_kept(tmp_path):
    path = write_list(tmp_path, LIST)
    assert read_test_ids(path) == LIST
    assert [one["id"] for one in coco_test_set(read_test_ids(path))["images"]] == [17, 5]
    for one in LIST:
        imageio.imwrite(tmp_path / one["file_name"], IMAGE)
    assert read_test_ids(path, folder=tmp_path) == LIST
    imageio.imwrite(tmp_path / "a.png", IMAGE.T)
    with pytest.raises(ValueError, match=r"says that .*a\.png has \(9, 14\) pixels \(y, x\), but it has \(14, 9\)"):
        read_test_ids(path, folder=tmp_path)
    (tmp_path / "a.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"lists a\.png, which is not in"):
        read_test_ids(path, folder=tmp_path)


@pytest.mark.parametrize(
    "content, match",
    [
        ({"images": LIST}, "holds a dict, but a list"),
        ([], "there is no image"),
        ([LIST[0], LIST[0]], "entry 1 has the id 17, which an entry before it has"),
        ([LIST[0], LIST[0] | {"id": 2}], r"entry 1 \(id 2\) has the file_name 'x.png', which an image before"),
        ([{"id": 1, "file_name": "a.png"}], "entry 0 has no height, width"),
        ([LIST[0] | {"height": "9"}], "has the height '9'"),
        ([LIST[0] | {"height": 10**30}], "has the height 1000+, but a whole number from 1 to 2147483647"),
        ([LIST[0] | {"id": None}], "has the id None"),
        ([LIST[0] | {"id": -1}], "has the id -1"),
        ([1, 2], "entry 0 is an int, but an object"),
        (None, "holds a NoneType, but a list"),
    ],
)
def test_lists_that_are_none(tmp_path, content, match):
    with pytest.raises(ValueError, match=match) as caught:
        read_test_ids(write_list(tmp_path, content))
    assert str(caught.value).startswith(str(tmp_path))
