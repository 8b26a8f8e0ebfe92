"""The benchmark scripts of post-processing, scores and flows run, and their forms agree."""

import importlib
import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest

from emlib.evaluation import cell_f1
from emlib.volume import open_volume, save_volume

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


def test_flows_are_measured_and_missing_contestants_are_named(tmp_path):
    script = load("flows")
    cells = script.make_cells(*script.SIZES["tiny"])
    assert cells.max() == script.SIZES["tiny"][1]
    for job in script.JOBS:
        figures = script.run("emlib", job, script.SIZES["tiny"], 1)
        assert figures["seconds"] > 0
        assert figures["megabytes"] >= 0
    found = script.contestant("emlib", "masks", cells)()
    assert cell_f1(found, cells, remove_border=0).f1 > 0.9
    (tmp_path / "cellpose-9.9.dist-info").mkdir()
    (tmp_path / "cellpose-9.9.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: cellpose\nVersion: 9.9\n"
    )
    said = script.run("cellpose4", "masks", script.SIZES["tiny"], 1, str(tmp_path))
    assert said == f"skipped: cellpose 9.9 in {tmp_path}"


def test_a_slide_has_no_seams_and_a_seam_would_be_seen(tmp_path):
    script = load("slide")
    side, paths = 320, [str(tmp_path / f"cells_{number}.zarr") for number in range(2)]
    script.generate(str(tmp_path / "slide.zarr"), side)
    # Drawn tile by tile, the slide is what it is when drawn at once.
    whole, part = np.empty((side, side, 3), np.uint8), np.empty((50, 70, 3), np.uint8)
    script.draw(0, 0, whole)
    script.draw(111, 95, part)
    np.testing.assert_array_equal(open_volume(tmp_path / "slide.zarr")[:], whole)
    np.testing.assert_array_equal(part, whole[111:161, 95:165])
    for path, block in zip(paths, (150, 110), strict=True):
        *_, peak, objects = script.segment(str(tmp_path / "slide.zarr"), path, block)
        assert peak > 0
        assert 80 < objects < 130
    (count, matched), again = script.compare(*paths, [150, 110])
    assert count == matched > 20
    assert again == (count, matched)
    # Cells cut along a line are no longer those of the other run.
    cut = open_volume(paths[0])[:]
    cut[150:][cut[150:] > 0] += cut.max()
    save_volume(paths[0], cut)
    assert script.compare(*paths, [150, 110])[1][1] < count


def test_a_contestant_that_dies_is_reported():
    # Under its own name, by which the other process imports it.
    measuring = importlib.import_module("measuring")
    assert measuring.in_fresh_process(max, 3, 4) == 4
    with pytest.raises(RuntimeError, match="died"):
        measuring.in_fresh_process(os._exit, 1)
