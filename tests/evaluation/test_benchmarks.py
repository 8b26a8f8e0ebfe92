"""The benchmark scripts of post-processing and scores run, and their forms agree."""

import importlib
import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def scripts_find_each_other(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def load(name):
    specification = importlib.util.spec_from_file_location(f"benchmark_{name}", BENCHMARKS / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_forms_of_the_contour_watershed_agree():
    script = load("contour_watershed")
    maps = script.make_maps(script.SIZES["tiny"])
    expected = script.with_scikit_image(*maps)
    assert expected.max() > 0
    for form in script.FORMS.values():
        assert script.differing_share(form(*maps), expected) <= 0.02
    seconds, peak, labels = script.run("emlib", script.SIZES["tiny"], 1)
    assert seconds >= 0
    assert peak >= 0
    assert script.differing_share(labels, expected) <= 0.001


@pytest.mark.parametrize("kind", ["partition", "instances"])
def test_forms_of_the_scores_agree(kind):
    script = load("scores")
    labels = script.make_labels(script.SIZES["tiny"])
    figures = [form(*labels) for form in script.JOBS.values() if form.__name__.startswith(kind)]
    assert len(figures) == 2
    assert figures[0] == pytest.approx(figures[1])
    assert len(script.run(next(iter(script.JOBS)), script.SIZES["tiny"], 1)[2]) == 3


def test_forms_of_the_agglomeration_agree(tmp_path):
    script = load("affinities")
    affinities, truth = script.make_affinities(script.SIZES["tiny"])
    assert truth.max() > 1
    np.save(tmp_path / "affinities.npy", affinities)
    np.save(tmp_path / "truth.npy", truth)
    errors = {form: script.run(form, str(tmp_path), 1, "float32")[2] for form in script.FORMS}
    for (step, form), error in errors.items():
        assert 0 <= error <= 1
        if form == "emlib" and step != "fragments":
            assert error == pytest.approx(errors[step, "waterz"], abs=0.05)


@pytest.mark.parametrize("form", ["text", "polygons"])
def test_forms_of_the_coco_figures_agree(form):
    script = load("coco")
    found = {}
    for name in ("emlib", "pycocotools"):
        seconds, peak, found[name] = script.run(name, "segm", (2, 12), form, [1, 10, 100], 1, None)
        assert seconds >= 0
        assert peak >= 0
    assert found["emlib"][0].max() > 0.5
    for ours, theirs in zip(found["emlib"], found["pycocotools"], strict=True):
        assert np.array_equal(ours, theirs)


def test_a_contestant_that_dies_is_reported():
    # Under its own name, by which the other process imports it.
    measuring = importlib.import_module("measuring")
    assert measuring.in_fresh_process(max, 3, 4) == 4
    with pytest.raises(RuntimeError, match="died"):
        measuring.in_fresh_process(os._exit, 1)
