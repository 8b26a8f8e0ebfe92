"""Cross-validation: every image tests exactly once, and the rest is divided as ever."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emlib.data import prepare_image_data
from emlib.data.image_split import folds_by_group
from emlib.recipe import load_recipe

SMALL = {"data.images": 7, "data.shapes": [[48, 48], [48, 64]], "data.modalities": {"stained": 1.0}}


@given(
    groups=st.lists(st.sampled_from("abc"), min_size=5, max_size=30),
    count=st.integers(2, 5),
    seed=st.integers(0, 1000),
)
def test_folds_are_even_in_all_and_in_every_group(groups, count, seed):
    folds = folds_by_group(groups, count, seed=seed)
    assert folds == folds_by_group(groups, count, seed=seed)
    for members in (range(len(groups)), *([n for n, g in enumerate(groups) if g == one] for one in set(groups))):
        sizes = Counter(dict.fromkeys(range(count), 0))
        sizes.update(folds[n] for n in members)
        assert set(sizes) == set(range(count))
        assert max(sizes.values()) - min(sizes.values()) <= 1


def test_what_is_settled_is_in_no_fold():
    fixed = ["train", None, None, "test", None, None]
    folds = folds_by_group(["a"] * 6, 2, seed=1, fixed=fixed)
    assert [fold is None for fold in folds] == [one is not None for one in fixed]
    with pytest.raises(ValueError, match="4 images cannot be divided into 5 folds"):
        folds_by_group(["a"] * 6, 5, seed=1, fixed=fixed)


@pytest.mark.parametrize(("track", "shares"), [("4_nuclei_maskrcnn", (0.7, 0.3)), ("5_cells_flows", (1.0, 0.0))])
def test_every_image_tests_exactly_once(tmp_path, track, shares):
    tested = Counter()
    for fold in range(3):
        changes = {"data.folds": {"count": 3, "fold": fold}}
        changes["data.split"] = {"train": shares[0], "validation": shares[1], "test": 0.0}
        data = prepare_image_data(load_recipe(track, overrides=SMALL | changes), tmp_path / str(fold))
        names = {split: set(data.open(split).names) for split in ("train", "validation", "test")}
        assert sum(map(len, names.values())) == len(set.union(*names.values())) == 7
        assert bool(names["validation"]) == (shares[1] > 0)
        assert len(names["train"]) >= 3
        tested.update(names["test"])
    assert set(tested.values()) == {1}
    assert len(tested) == 7


def test_the_phantom_has_as_many_cells_of_such_sizes_as_said(tmp_path):
    areas = []
    for name, changes in (("plain", {}), ("said", {"data.cells": 3, "data.sizes": [0.5, 0.5]})):
        data = prepare_image_data(load_recipe("4_nuclei_maskrcnn", overrides=SMALL | changes), tmp_path / name)
        areas.append(sum(row.foreground * row.height * row.width for row in data.images) / sum(
            row.cells for row in data.images))  # fmt: skip
    assert all(row.cells <= 3 for row in data.images)
    assert areas[1] < 0.5 * areas[0]
