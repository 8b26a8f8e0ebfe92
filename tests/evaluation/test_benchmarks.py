"""The benchmark scripts of post-processing and scores run, and their forms agree."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def load(name):
    specification = importlib.util.spec_from_file_location(f"benchmark_{name}", BENCHMARKS / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


class Received:
    """Stands for the pipe to the parent process."""

    def send(self, message):
        self.message = message


def test_forms_of_the_contour_watershed_agree():
    script, pipe = load("contour_watershed"), Received()
    maps = script.make_maps(script.SIZES["tiny"])
    expected = script.with_scikit_image(*maps)
    assert expected.max() > 0
    for form in script.FORMS.values():
        assert script.differing_share(form(*maps), expected) <= 0.02
    script.measure("emlib", script.SIZES["tiny"], 1, pipe)
    seconds, peak, path = pipe.message
    assert seconds >= 0
    assert peak >= 0
    assert script.differing_share(np.load(path), expected) <= 0.001
    Path(path).unlink()


@pytest.mark.parametrize("kind", ["partition", "instances"])
def test_forms_of_the_scores_agree(kind):
    script, pipe = load("scores"), Received()
    labels = script.make_labels(script.SIZES["tiny"])
    figures = [form(*labels) for form in script.JOBS.values() if form.__name__.startswith(kind)]
    assert len(figures) == 2
    assert figures[0] == pytest.approx(figures[1])
    script.measure(next(iter(script.JOBS)), script.SIZES["tiny"], 1, pipe)
    assert len(pipe.message[2]) == 3
