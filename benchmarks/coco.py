"""COCO figures: emlib beside pycocotools and, where it can be imported, faster-coco-eval, in one run.

    python benchmarks/coco.py [--size tiny|small|medium] [--form text|polygons] [--max-dets 1 10 100] [--repeats 3]
                              [--faster-coco-eval FOLDER]

faster-coco-eval may lie in a folder of its own, made with `pip install --no-deps --target FOLDER
faster-coco-eval==1.8.0`. Every contestant runs alone in a fresh process on the same truth and results, given as dicts
in memory, and does all of it: read them, compare, summarize. The table gives medians of process CPU seconds, how many
times as long as emlib it took, the peak memory above the inputs, AP, and the largest difference of any entry of
precision and recall to pycocotools'. Compare ratios, not seconds.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from measuring import in_fresh_process, measure

SIZES = {"tiny": (3, 20), "small": (20, 100), "medium": (100, 200)}
SIDE = 1000


def make_set(images: int, objects: int, form: str = "text", seed: int = 0) -> tuple[dict[str, Any], list[dict]]:
    """Round cells on a shaken grid; of the results some are shifted, missed, found twice or spurious."""
    from emlib.run_lengths import counts_of_runs, encode_counts, object_runs

    random = np.random.default_rng(seed)
    directions = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    truth = {
        "images": [{"id": image + 1, "height": SIDE, "width": SIDE} for image in range(images)],
        "categories": [{"id": 1, "name": "cell"}],
        "annotations": [],
    }
    results = []
    across = int(np.ceil(np.sqrt(objects)))

    def describe(image: int, centre: np.ndarray, radii: np.ndarray, as_text: bool) -> tuple[dict[str, Any], int]:
        outline = centre + radii[:, np.newaxis] * np.stack([np.cos(directions), np.sin(directions)], axis=1)
        outline = np.clip(outline, 0, SIDE)
        low, high = outline.min(axis=0), outline.max(axis=0)
        one = {"image_id": image + 1, "category_id": 1, "bbox": [float(side) for side in (*low, *(high - low))]}
        starts, stops = object_runs([outline.ravel().tolist()], (SIDE, SIDE))
        counts = encode_counts(counts_of_runs(starts, stops, SIDE * SIDE))
        text = {"size": [SIDE, SIDE], "counts": counts}
        one["segmentation"] = text if as_text else [outline.ravel().tolist()]
        return one, int((stops - starts).sum())

    for image in range(images):
        for cell in range(objects):
            centre = (np.array(divmod(cell, across)) + 0.5 + random.uniform(-0.2, 0.2, 2)) * SIDE / across
            radii = random.uniform(6, 30) * random.uniform(0.8, 1.2, directions.size)
            one, area = describe(image, centre, radii, form == "text")
            number = len(truth["annotations"]) + 1
            truth["annotations"].append({**one, "id": number, "iscrowd": int(random.random() < 0.01), "area": area})
            for _ in range(random.choice(3, p=[0.1, 0.8, 0.1])):
                shifted = centre + random.normal(0, 2, 2), radii * random.uniform(0.8, 1.2)
                if random.random() < 0.1:
                    shifted = random.uniform(40, SIDE - 40, 2), radii
                results.append({**describe(image, *shifted, True)[0], "score": round(random.random(), 3)})
    return truth, results


def with_emlib(truth: dict, results: list, kind: str, max_dets: list[int]) -> tuple[np.ndarray, np.ndarray]:
    from emlib.evaluation import coco_curves

    curves = coco_curves(truth, results, kind=kind, max_dets=max_dets)
    curves.summary()
    return curves.precision, curves.recall


def with_pycocotools(truth: dict, results: list, kind: str, max_dets: list[int]) -> tuple[np.ndarray, np.ndarray]:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    dataset = COCO()
    dataset.dataset = truth
    return _score(dataset, results, kind, max_dets, COCOeval)


def with_faster_coco_eval(truth: dict, results: list, kind: str, max_dets: list[int]) -> tuple[np.ndarray, np.ndarray]:
    from faster_coco_eval import COCO, COCOeval_faster

    dataset = COCO()
    dataset.dataset = truth
    return _score(dataset, results, kind, max_dets, COCOeval_faster)


def _score(dataset: Any, results: list, kind: str, max_dets: list[int], scorer: Any) -> tuple[np.ndarray, np.ndarray]:
    with contextlib.redirect_stdout(io.StringIO()):
        dataset.createIndex()
        scorer = scorer(dataset, dataset.loadRes(results), kind)
        scorer.params.maxDets = list(max_dets)
        scorer.evaluate()
        scorer.accumulate()
        if list(max_dets) == [1, 10, 100]:
            scorer.summarize()
    return np.asarray(scorer.eval["precision"]), np.asarray(scorer.eval["recall"])


FORMS: dict[str, Callable[..., tuple[np.ndarray, np.ndarray]]] = {
    "emlib": with_emlib,
    "pycocotools": with_pycocotools,
    "faster-coco-eval": with_faster_coco_eval,
}


def run(name: str, kind: str, size: tuple[int, int], form: str, max_dets: list[int], repeats: int, folder: str | None):
    """One contestant: CPU seconds, peak bytes above the inputs, and precision and recall; None if not installed."""
    if folder:
        sys.path.insert(0, folder)
    if name == "faster-coco-eval" and importlib.util.find_spec("faster_coco_eval") is None:
        return None
    inputs = make_set(*size, form)
    FORMS[name](*make_set(*SIZES["tiny"], form), kind, max_dets)  # imports and compilation
    return measure(lambda: FORMS[name](*inputs, kind, max_dets), repeats)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--form", choices=("text", "polygons"), default="text", help="how the truth is stored")
    parser.add_argument("--max-dets", type=int, nargs="+", default=[1, 10, 100])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--faster-coco-eval", metavar="FOLDER", help="where it is installed, if not here")
    options = parser.parse_args()
    images, objects = SIZES[options.size]
    print(f"COCO, {images} images x {objects} objects, truth as {options.form}, max_dets {options.max_dets}")
    print(f"{'kind':6s} {'contestant':18s} {'CPU s':>8s} {'times':>7s} {'MB above input':>15s} {'AP':>9s}  difference")
    for kind in ("segm", "bbox"):
        expected: tuple[np.ndarray, np.ndarray] | None = None
        lines = []
        for name in ("pycocotools", "faster-coco-eval", "emlib"):
            found = in_fresh_process(
                run, name, kind, (images, objects), options.form, options.max_dets, options.repeats,
                options.faster_coco_eval,
            )  # fmt: skip
            if found is None:
                print(f"{kind:6s} {name:18s} is not installed here and not in a folder that was named.")
                continue
            seconds, peak, arrays = found
            expected = expected or arrays
            difference = max(float(np.abs(one - other).max()) for one, other in zip(arrays, expected, strict=True))
            known = arrays[0][:, :, :, 0, -1]
            lines.append((name, seconds, peak, float(known[known > -1].mean()), difference))
        for name, seconds, peak, precision, difference in lines:
            times = seconds / lines[-1][1]
            shown = f"{seconds:8.3f} {times:7.1f} {peak / 1e6:15.0f} {precision:9.6f}  {difference:.1e}"
            print(f"{kind:6s} {name:18s} {shown}", flush=True)


if __name__ == "__main__":
    main()
