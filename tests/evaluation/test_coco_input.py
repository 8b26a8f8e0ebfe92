"""Bad truth and bad results: one sentence that names the entry. And label images as truth and results."""

import copy
import json

import numpy as np
import pytest
from pycocotools import mask as coco

from emlib.evaluation import coco_evaluate, coco_results_from_labels, coco_truth_from_labels

NAN = float("nan")
TRUTH = {
    "images": [{"id": 3, "height": 8, "width": 9}, {"id": 7, "height": 8, "width": 9}],
    "categories": [{"id": 1, "name": "cell"}],
    "annotations": [
        {"id": 1, "image_id": 3, "category_id": 1, "bbox": [0, 0, 2, 2], "area": 4, "iscrowd": 0,
         "segmentation": [[0, 0, 2, 0, 2, 2, 0, 2]]},
        {"id": 2, "image_id": 7, "category_id": 1, "bbox": [0, 0, 1, 8], "area": 8, "iscrowd": 0,
         "segmentation": {"size": [8, 9], "counts": [0, 8, 64]}},
    ],
}  # fmt: skip
RESULTS = [
    {"image_id": 3, "category_id": 1, "score": 0.5, "bbox": [0, 0, 2, 2], "segmentation": [[0, 0, 2, 0, 2, 2, 0, 2]]},
    {"image_id": 7, "category_id": 1, "score": 1, "bbox": [0, 0, 1, 8],
     "segmentation": {"size": [8, 9], "counts": "08P2"}},
]  # fmt: skip
GONE = object()


def changed(content, *keys, to):
    content = copy.deepcopy(content)
    part = content
    for key in keys[:-1]:
        part = part[key]
    if to is GONE:
        del part[keys[-1]]
    else:
        part[keys[-1]] = to
    return content


def result(*keys, to, match, kind="segm"):
    return TRUTH, changed(RESULTS, *keys, to=to), kind, match


def truth(*keys, to, match, kind="segm"):
    return changed(TRUTH, *keys, to=to), RESULTS, kind, match


def test_the_good_case():
    for kind in ("segm", "bbox"):
        assert coco_evaluate(TRUTH, RESULTS, kind=kind)["AP"] == pytest.approx(1)
    assert coco_evaluate({**TRUTH, "images": {"a": TRUTH["images"][0], "b": TRUTH["images"][1]}}, RESULTS)["AP"] > 0.99


@pytest.mark.parametrize(
    "truth, results, kind, match",
    [
        result(1, "score", to=GONE, match=r"results\[1\] has no 'score'"),
        result(1, "score", to=NAN, match=r"results\[1\] has score nan, but a finite number"),
        result(0, "score", to="0.5", match=r"results\[0\] has score '0.5'"),
        result(0, "score", to=None, match=r"results\[0\] has score None"),
        result(1, "score", to=[1], match=r"results\[1\] has score \[1\]"),
        result(1, "score", to=10**400, match=r"results\[1\] has score 1000"),
        result(1, "image_id", to=GONE, match=r"results\[1\] has no 'image_id'"),
        result(1, "image_id", to=99, match=r"results\[1\] is of image 99, which the truth does not list"),
        result(1, "image_id", to=3.5, match=r"results\[1\] has image_id 3.5"),
        result(1, "image_id", to="7", match=r"results\[1\] has image_id '7', and results\[0\] has 3"),
        result(0, "category_id", to=2, match=r"results\[0\] is of category 2, which the truth does not list"),
        result(0, "category_id", to=[1], match=r"results\[0\] has category_id \[1\]"),
        result(1, "bbox", to=[0, 0, -1, 2], kind="bbox", match=r"results\[1\] has bbox \[0, 0, -1, 2\], whose width"),
        result(1, "bbox", to=[0, 0, NAN, 2], kind="bbox", match=r"results\[1\] has bbox .*finite"),
        result(1, "bbox", to=[0, 0, 2], kind="bbox", match=r"results\[1\] has bbox \[0, 0, 2\]"),
        result(1, "bbox", to="0022", kind="bbox", match=r"results\[1\] has bbox '0022'"),
        result(1, "bbox", to=[0, 0, NAN, 2], match=r"results\[1\] has bbox"),
        result(0, "segmentation", to=GONE, match=r"results\[0\] has no 'segmentation'"),
        result(1, "segmentation", to={"size": [9, 8], "counts": "08P2"}, match=r"results\[1\].*\(9, 8\).*\(8, 9\)"),
        result(1, "segmentation", "size", to=None, match=r"results\[1\].*its size is None"),
        result(0, "segmentation", to=[["a"] * 6], match=r"results\[0\].*three points"),
        result(1, "segmentation", "counts", to="08", match=r"results\[1\].*add up to 8, but the picture has 72"),
        result(1, "segmentation", "counts", to="08\u00ff", match=r"results\[1\].*character"),
        result(1, "segmentation", "counts", to=[72.5], match=r"results\[1\].*whole numbers"),
        result(0, "segmentation", to=[[0, 0, 1, NAN, 1, 1]], match=r"results\[0\].*coordinate nan"),
        result(0, "segmentation", to=[[0, 0, 1, 1]], match=r"results\[0\].*three points"),
        result(1, to=7, match=r"results\[1\] must be a dict, got int"),
        (TRUTH, {"annotations": RESULTS}, "segm", "results must be a list of dicts, got dict"),
        (TRUTH, None, "segm", "results must be a list of dicts, got NoneType"),
        truth("images", to=GONE, match="truth has no 'images'"),
        truth("categories", to=GONE, match="truth has no 'categories'"),
        truth("annotations", to=4, match=r"truth\['annotations'\] must be a list"),
        truth("images", 1, "id", to=3, match=r"truth\['images'\]\[0\] and \[1\] have the same id 3"),
        truth("images", 1, "id", to=GONE, match=r"truth\['images'\]\[1\] has no 'id'"),
        truth("images", 1, "height", to=GONE, match=r"truth\['annotations'\]\[1\] needs the size of image 7"),
        truth("images", 1, "height", to=-3, match=r"truth\['images'\]\[1\] has height -3"),
        truth("images", 1, "width", to="9", match=r"truth\['images'\]\[1\] has width '9'"),
        truth("annotations", 1, "image_id", to=5, match=r"truth\['annotations'\]\[1\] is of image 5"),
        truth("annotations", 1, "category_id", to=5, match=r"truth\['annotations'\]\[1\] is of category 5"),
        truth("annotations", 1, "id", to=1, match=r"truth\['annotations'\]\[0\] and \[1\] have the same id 1"),
        truth("annotations", 1, "id", to=[1], match=r"truth\['annotations'\]\[1\] has id \[1\]"),
        truth("annotations", 1, "id", to=GONE, match=r"truth\['annotations'\]\[1\] has no 'id'"),
        truth("annotations", 1, "iscrowd", to=2, match=r"truth\['annotations'\]\[1\] has iscrowd 2"),
        truth("annotations", 1, "area", to=NAN, match=r"truth\['annotations'\]\[1\] has area nan"),
        truth("annotations", 1, "segmentation", to=GONE, match=r"truth\['annotations'\]\[1\] has no 'segmentation'"),
        truth("annotations", 1, "segmentation", to=[], match=r"truth\['annotations'\]\[1\].*polygons or run lengths"),
        truth("annotations", 1, "bbox", to=[0, 0, -2, 1], kind="bbox", match=r"truth\['annotations'\]\[1\] has bbox"),
        (7, RESULTS, "segm", "truth must be a COCO dict or the path of its JSON file, got int"),
        (TRUTH, RESULTS, "keypoints", "kind must be one of 'segm', 'bbox', got 'keypoints'"),
    ],
)
def test_one_sentence_that_names_the_entry(truth, results, kind, match):
    with pytest.raises((ValueError, TypeError), match=match) as caught:
        coco_evaluate(truth, results, kind=kind)
    assert "\n" not in str(caught.value)


def test_no_box_and_no_mask():
    bare = changed(changed(RESULTS, 1, "bbox", to=GONE), 1, "segmentation", to=GONE)
    with pytest.raises(ValueError, match=r"results\[1\] has no 'bbox', and no 'segmentation'"):
        coco_evaluate(TRUTH, bare, kind="bbox")


@pytest.mark.parametrize("max_dets", [(), (0,), (1, -5), 2.5, "100", (True,), (1, None)])
def test_limits(max_dets):
    with pytest.raises(ValueError, match="max_dets must be"):
        coco_evaluate(TRUTH, RESULTS, max_dets=max_dets)


def test_areas():
    with pytest.raises(ValueError, match="result_area must be one of"):
        coco_evaluate(TRUTH, RESULTS, result_area="mask")


def test_files_that_are_missing_or_no_json(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"results is the path .*answer\.json"):
        coco_evaluate(TRUTH, tmp_path / "answer.json")
    (tmp_path / "answer.json").write_text("[{")
    with pytest.raises(ValueError, match=r"answer\.json \(results\) is not valid JSON"):
        coco_evaluate(TRUTH, tmp_path / "answer.json")
    (tmp_path / "answer.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match=r"answer\.json \(results\) is not valid JSON \(it is nested too deeply\)\.$"):
        coco_evaluate(TRUTH, tmp_path / "answer.json")
    (tmp_path / "answer.zip").write_bytes(b"PK\x03\x04\xff")
    with pytest.raises(ValueError, match=r"answer\.zip \(results\) is not valid JSON .*; it is an archive"):
        coco_evaluate(TRUTH, tmp_path / "answer.zip")
    (tmp_path / "answer.json").write_bytes(b"\xef\xbb\xbf" + json.dumps(RESULTS).encode())
    assert coco_evaluate(TRUTH, tmp_path / "answer.json")["AP"] == pytest.approx(1)


def test_label_images():
    random = np.random.default_rng(0)
    images = {
        9: random.integers(0, 4, (6, 7)).repeat(3, 0),
        4: np.zeros((5, 5), np.uint8),
        5: random.integers(0, 9, (3, 3)),
    }
    truth = coco_truth_from_labels(images)
    assert [(image["id"], image["height"], image["width"]) for image in truth["images"]] == [
        (9, 18, 7),
        (4, 5, 5),
        (5, 3, 3),
    ]
    assert [one["id"] for one in truth["annotations"]] == list(range(1, len(truth["annotations"]) + 1))
    places = iter(truth["annotations"])
    for image, labels in images.items():
        for label in np.unique(labels[labels > 0]):
            one, expected = next(places), coco.encode(np.asfortranarray(labels == label, dtype=np.uint8))
            assert one["image_id"] == image
            assert one["segmentation"] == {"size": list(labels.shape), "counts": expected["counts"].decode()}
            assert (one["area"], one["bbox"]) == (coco.area(expected), coco.toBbox(expected).tolist())
    assert next(places, None) is None
    results = coco_results_from_labels(images)
    assert {one["score"] for one in results} == {1.0}
    assert coco_evaluate(truth, results)["AP"] == pytest.approx(1)
    scores = {
        image: {int(label): label / 10 for label in np.unique(labels) if label} for image, labels in images.items()
    }
    by_label = coco_results_from_labels(images, scores)
    in_order = coco_results_from_labels(images, {image: list(own.values()) for image, own in scores.items()})
    assert by_label == in_order
    assert [one["score"] for one in by_label] == [score for own in scores.values() for score in own.values()]


@pytest.mark.parametrize(
    "labels, scores, error, match",
    [
        (np.zeros((2, 2), int), None, TypeError, "one entry an image"),
        ([np.zeros((2, 2))], None, TypeError, "Image 1: Labels must be integers"),
        ([np.zeros((2, 2, 2), int)], None, ValueError, "Image 1: Labels must be"),
        ({5: np.array([[-3]])}, None, ValueError, "Image 5.*-3"),
        ([np.ones((2, 2), int)], [], ValueError, "scores are of the images "),
        ([np.ones((2, 2), int)], [[0.5, 0.5]], ValueError, "1 finite scores"),
        ([np.ones((2, 2), int)], [[NAN]], ValueError, "1 finite scores"),
        ([np.ones((2, 2), int)], [["a"]], ValueError, "1 finite scores"),
        ([np.ones((2, 2), int)], [{2: 0.5, 1: 1}], ValueError, "object 2 has a score, but"),
        ([np.ones((2, 2), int)], [{}], ValueError, "object 1 has no score"),
    ],
)
def test_label_images_that_do_not_fit(labels, scores, error, match):
    with pytest.raises(error, match=match):
        coco_results_from_labels(labels, scores)
