"""COCO figures against pycocotools, entry by entry, and the ceiling of its limit of 100 results an image."""

import contextlib
import copy
import io
import json

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from emlib.evaluation import coco_curves, coco_evaluate
from emlib.run_lengths import counts_of_mask, rle_encode

NAMES = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")


def by_pycocotools(truth, results, kind, max_dets=(1, 10, 100)):
    truth, results = copy.deepcopy((truth, results))
    with contextlib.redirect_stdout(io.StringIO()):
        dataset = COCO()
        dataset.dataset = truth
        dataset.createIndex()
        if results:
            found = dataset.loadRes(results)
        else:
            found = COCO()
            found.dataset = {**truth, "annotations": []}
            found.createIndex()
        scorer = COCOeval(dataset, found, kind)
        scorer.params.maxDets = list(max_dets)
        scorer.evaluate()
        scorer.accumulate()
        if tuple(max_dets) == (1, 10, 100):
            scorer.summarize()
    return scorer


def random_set(seed, size=40):
    """Truth and results: categories, crowds, ties, empty images, duplicates, degenerate boxes, ids with gaps."""
    random = np.random.default_rng(seed)
    images = [
        {"id": int(one), "height": int(size), "width": int(size + 3 * (place % 2))}
        for place, one in enumerate(random.permutation(30)[: random.integers(1, 5)] * 7)
    ]
    categories = [{"id": int(one), "name": str(one)} for one in random.permutation(9)[: random.integers(1, 4)]]
    with_boxes = bool(random.integers(2))
    ids = iter(random.permutation(10**4) + 1)

    def shape(image, near=None):
        height, width = image["height"], image["width"]
        side = random.integers(0, 13, 2) if near is None else np.maximum(near[2:] + random.integers(-2, 3, 2), 0)
        x, y = (
            (random.integers(0, width), random.integers(0, height))
            if near is None
            else near[:2] + random.integers(-1, 2, 2)
        )
        box = np.array([x, y, *side])
        mask = np.zeros((height, width), np.uint8)
        x0, y0 = np.maximum(box[:2], 0)
        mask[y0 : max(y + side[1], 0), x0 : max(x + side[0], 0)] = 1
        if random.random() < 0.5:
            mask &= random.random(mask.shape) < 0.9
        if random.random() < 0.2:
            mask |= random.random(mask.shape) < 0.01
        return box, mask

    def entry(image, category, box, mask):
        form = random.integers(4)
        rle = coco_mask.encode(np.asfortranarray(mask))
        segmentation = {"size": list(rle["size"]), "counts": rle["counts"].decode()}
        one = {"image_id": image["id"], "category_id": category}
        one["bbox"] = [float(side) for side in box] if form else [side + 0.25 for side in box.tolist()]
        one["segmentation"] = segmentation
        return one, form, rle

    annotations, results, boxes = [], [], []
    for image in images:
        for _ in range(random.integers(0, 14)):
            category = categories[random.integers(len(categories))]["id"]
            box, mask = shape(image)
            one, form, rle = entry(image, category, box, mask)
            if form == 1:
                x, y, width, height = box.tolist()
                one["segmentation"] = [[x, y, x + width, y, x + width, y + height + 0.5, x, y + height]]
            elif form == 2:
                one["segmentation"] = {"size": list(mask.shape), "counts": counts_of_mask(mask).tolist()}
            area = int(coco_mask.area(rle)) if random.random() < 0.8 else int(random.choice([1024, 9216]))
            one |= {"id": int(next(ids)), "iscrowd": int(random.random() < 0.15), "area": area}
            annotations.append(one)
            boxes.append((image, category, box))
    for image, category, box in boxes:
        for _ in range(random.integers(0, 3)):
            other = categories[random.integers(len(categories))]["id"] if random.random() < 0.1 else category
            one, _, _ = entry(image, other, *shape(image, box))
            results.append(one)
    for image in images:
        for _ in range(random.integers(0, 4)):
            one, _, _ = entry(image, categories[0]["id"], *shape(image))
            results.append(one)
    results += [copy.deepcopy(result) for result in results[:: int(random.integers(2, 9))]]
    random.shuffle(results)
    for result in results:
        result["score"] = float(random.choice([0.1, 0.25, 0.5, 0.75, 1.0, random.random()]))
        if not with_boxes:
            del result["bbox"]
    truth = {"images": images, "annotations": annotations, "categories": categories}
    return truth, results


def check_against_pycocotools(truth, results, kind, max_dets):
    expected = by_pycocotools(truth, results, kind, max_dets)
    curves = coco_curves(truth, results, kind=kind, max_dets=max_dets)
    assert np.array_equal(curves.precision, expected.eval["precision"])
    assert np.array_equal(curves.recall, expected.eval["recall"])
    figures = coco_evaluate(truth, results, kind=kind, max_dets=max_dets)
    if max_dets == (1, 10, 100):
        assert [figures[name] for name in NAMES] == pytest.approx(expected.stats.tolist(), abs=1e-12)
    return figures


@given(st.integers(0, 10**9), st.sampled_from(["segm", "bbox"]), st.sampled_from([(1, 10, 100), (2,), (3, 1, 7)]))
def test_every_entry_is_that_of_pycocotools(seed, kind, max_dets):
    truth, results = random_set(seed)
    kept = copy.deepcopy((truth, results))
    check_against_pycocotools(truth, results, kind, tuple(sorted(max_dets)))
    assert (truth, results) == kept


@given(st.integers(0, 10**9), st.sampled_from(["segm", "bbox"]))
def test_ranges_of_area(seed, kind):
    """Large objects, with areas of exactly 32 x 32 and 96 x 96 among those of results, too."""
    random = np.random.default_rng(seed)
    images = [{"id": 5, "height": 120, "width": 130}, {"id": 2, "height": 120, "width": 130}]
    truth = {"images": images, "annotations": [], "categories": [{"id": 1}]}
    results = []
    for number in range(24):
        side = int(random.choice([31, 32, 33, 64, 95, 96, 97]))
        mask = np.zeros((120, 130), bool)
        x, y = random.integers(0, 12, 2)
        mask[y : y + side, x : x + side] = True
        one = {"image_id": int(random.choice([5, 2])), "category_id": 1, "bbox": [int(x), int(y), side, side],
               "segmentation": rle_encode(mask)}  # fmt: skip
        if number % 3:
            results.append({**one, "score": float(random.integers(5))})
        else:
            truth["annotations"].append({**one, "id": number + 1, "iscrowd": 0, "area": int(mask.sum())})
    check_against_pycocotools(truth, results, kind, (1, 10, 100))


@given(st.integers(0, 10**9), st.sampled_from(["segm", "bbox"]))
@example(0, "segm")
def test_no_results(seed, kind):
    truth, _ = random_set(seed)
    figures = check_against_pycocotools(truth, [], kind, (1, 10, 100))
    some = any(not annotation["iscrowd"] for annotation in truth["annotations"])
    assert figures["AP"] == (0 if some else -1)


def test_no_truth_and_no_images():
    truth = {"images": [{"id": 1, "height": 4, "width": 4}], "annotations": [], "categories": [{"id": 1}]}
    result = {"image_id": 1, "category_id": 1, "score": 1.0, "bbox": [0, 0, 2, 2]}
    figures = coco_evaluate(truth, [result], kind="bbox")
    assert {figures[name] for name in NAMES} == {-1.0}
    assert (figures["capped_images"], figures["AP_ceiling"]) == ([], 1.0)
    assert coco_evaluate({"images": [], "annotations": [], "categories": []}, [])["AP"] == -1


def test_result_area_is_that_of_pycocotools_or_as_asked():
    """pycocotools takes the box's area as soon as the first result has one: here 33 x 33 around 800 pixels."""
    mask = np.zeros((40, 40), bool)
    mask[:33, :20] = mask[:10, :33] = mask[32, 32] = True
    truth = {"images": [{"id": 1, "height": 40, "width": 40}], "categories": [{"id": 1}], "annotations": [
        {"id": 1, "image_id": 1, "category_id": 1, "iscrowd": 0, "area": 1, "bbox": [0, 0, 1, 1],
         "segmentation": [[0, 0, 1, 0, 1, 1, 0, 1]]}]}  # fmt: skip
    alone = {"image_id": 1, "category_id": 1, "score": 0.5, "segmentation": rle_encode(mask)}
    hit = {**alone, "score": 0.4, "segmentation": rle_encode(np.pad([[1]], ((0, 39), (0, 39))))}
    with_boxes = [{**alone, "bbox": [0, 0, 33, 33]}, {**hit, "bbox": [0, 0, 1, 1]}]
    for results, expected in (([alone, hit], 0.5), (with_boxes, 1.0)):
        assert coco_evaluate(truth, results)["APs"] == pytest.approx(expected)
        assert by_pycocotools(truth, results, "segm").stats[3] == pytest.approx(expected)
        assert coco_evaluate(truth, results, result_area="segm")["APs"] == pytest.approx(0.5)
        assert coco_evaluate(truth, results, result_area="bbox")["APs"] == pytest.approx(1.0)


def squares():
    """Six images of 393 and 394 squares, found perfectly."""
    truth = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "nucleus"}]}
    for image in range(1, 7):
        truth["images"].append({"id": image, "height": 1000, "width": 1000})
        for place in range(393 + image % 2):
            y, x = divmod(place, 20)
            counts = [50 * x * 1000 + 50 * y] + [20, 980] * 19 + [20]
            counts.append(10**6 - sum(counts))
            one = {"image_id": image, "category_id": 1, "segmentation": {"size": [1000, 1000], "counts": counts}}
            truth["annotations"].append({**one, "id": len(truth["annotations"]) + 1, "iscrowd": 0, "area": 400})
    results = [
        {**{key: one[key] for key in ("image_id", "category_id", "segmentation")}, "score": 1.0}
        for one in truth["annotations"]
    ]
    return truth, results


def test_the_ceiling_of_a_hundred_results():
    truth, results = squares()
    capped = coco_evaluate(truth, results)
    assert [round(capped[name], 6) for name in ("AP", "AP50", "AP75")] == [0.257426] * 3
    assert capped["capped_images"] == [1, 2, 3, 4, 5, 6]
    assert capped["AP_ceiling"] == capped["AP"]
    for max_dets in (600, None):
        free = coco_evaluate(truth, results, max_dets=max_dets)
        assert (free["AP"], free["AP50"], free["AP75"], free["AP_ceiling"]) == (1.0, 1.0, 1.0, 1.0)
        assert (free["capped_images"], free["max_dets"]) == ([], max_dets)
    assert free["AR"] == 1.0


def test_images_are_capped_by_category():
    truth = {"images": [{"id": 1}, {"id": 2}], "categories": [{"id": 1}, {"id": 2}], "annotations": [
        {"image_id": image, "category_id": category, "bbox": [x, 0, 1, 1], "iscrowd": crowd}
        for x, (image, category, crowd) in enumerate([(1, 1, 0), (1, 2, 0), (2, 1, 0), (2, 1, 0), (2, 2, 1), (2, 2, 0)])
    ]}  # fmt: skip
    assert coco_evaluate(truth, [], kind="bbox", max_dets=1)["capped_images"] == [2]
    assert coco_evaluate(truth, [], kind="bbox", max_dets=2)["capped_images"] == []


@given(st.integers(0, 10**9), st.integers(1, 6))
def test_perfect_results_reach_the_ceiling(seed, limit):
    truth, _ = random_set(seed)
    for annotation in truth["annotations"]:
        annotation |= {"iscrowd": 0, "area": 5, "bbox": [10 * annotation["id"], 0, 5, 5]}
    results = [{**annotation, "score": 1.0} for annotation in truth["annotations"]]
    figures = coco_evaluate(truth, results, kind="bbox", max_dets=limit)
    if results:
        assert figures["AP"] == pytest.approx(figures["AP_ceiling"], abs=1e-12)
    assert (figures["AP_ceiling"] < 1) <= bool(figures["capped_images"])


def test_without_a_limit_all_count():
    truth, results = random_set(11)
    most = len(results)
    free = coco_curves(truth, results, max_dets=None)
    limited = coco_curves(truth, results, max_dets=(1, most))
    assert np.array_equal(free.precision[..., 0], limited.precision[..., 1])
    assert np.array_equal(free.recall[..., 0], limited.recall[..., 1])


def test_missing_keys_that_are_not_needed():
    truth, results = random_set(5)
    for annotation in truth["annotations"]:
        annotation |= {"iscrowd": 0, "area": int(coco_mask.area(rle_of(annotation, truth)))}
    expected = coco_evaluate(truth, results)
    bare = copy.deepcopy(truth)
    for annotation in bare["annotations"]:
        for key in ("iscrowd", "area", "bbox", "id"):
            del annotation[key]
    assert coco_evaluate(bare, results) == expected


def rle_of(annotation, truth):
    image = next(one for one in truth["images"] if one["id"] == annotation["image_id"])
    dataset = COCO()
    dataset.imgs = {image["id"]: image}
    return dataset.annToRLE(annotation)


def test_boxes_of_masks_where_none_are_given():
    truth, results = random_set(4)
    bare = [{key: result[key] for key in result if key != "bbox"} for result in results]
    assert bare
    check_against_pycocotools(truth, bare, "bbox", (1, 10, 100))
    boxed = [{**result, "bbox": coco_mask.toBbox(result["segmentation"]).tolist()} for result in bare]
    assert coco_evaluate(truth, bare, kind="bbox", result_area="bbox") == coco_evaluate(truth, boxed, kind="bbox")


def test_an_annotation_of_id_0_can_be_found():
    truth = {"images": [{"id": 1}], "categories": [{"id": 1}], "annotations": [
        {"id": 0, "image_id": 1, "category_id": 1, "bbox": [0, 0, 2, 2], "area": 4, "iscrowd": 0}]}  # fmt: skip
    results = [{"image_id": 1, "category_id": 1, "bbox": [0, 0, 2, 2], "score": 1.0}]
    assert coco_evaluate(truth, results, kind="bbox")["AP50"] == pytest.approx(1)
    assert by_pycocotools(truth, results, "bbox").stats[1] == 0


def test_files(tmp_path):
    truth, results = random_set(3)
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    (tmp_path / "answer.json").write_text(json.dumps(results))
    expected = coco_evaluate(truth, results)
    assert coco_evaluate(tmp_path / "truth.json", str(tmp_path / "answer.json")) == expected
    assert json.loads(json.dumps(expected)) == expected


def test_figures_of_one_category_area_and_threshold():
    truth, results = random_set(8)
    curves, expected = coco_curves(truth, results), by_pycocotools(truth, results, "segm")
    assert curves.categories == tuple(expected.params.catIds)
    for place, category in enumerate(curves.categories):
        part = expected.eval["precision"][5, :, place, 2, 1]
        assert curves.average_precision(iou=0.75, area="medium", max_dets=10, category=category) == part.mean()
        recall = expected.eval["recall"][0, place, 0, 0]
        assert curves.average_recall(iou=0.5, max_dets=1, category=category) == recall
    for key, value in (("iou", 0.52), ("area", "tiny"), ("max_dets", 5), ("category", "x")):
        with pytest.raises(ValueError, match=f"{key} must be one of"):
            curves.average_precision(**{key: value})
