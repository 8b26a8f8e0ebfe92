"""Scores over thresholds: equal to the single scores, from volumes or from one table that is merged by lookups."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from emlib.evaluation import (
    adapted_rand_error,
    overlap_table,
    partition_curve,
    rand_split_merge,
    variation_of_information,
)

THRESHOLDS = [0.1, 0.3, 0.6]


@given(st.integers(0, 10**6), st.sampled_from(["snemi3d", "cremi", "scikit-image"]), st.sampled_from([(), (0,)]))
def test_one_count_serves_all_thresholds(seed, convention, ignore_segmentation):
    random = np.random.default_rng(seed)
    truth = random.integers(0, 4, (3, 5, 6))
    fragments = random.integers(0, 12, truth.shape).astype(np.uint64)
    assume(((truth != 0) & (fragments != 0)).any())
    ids = random.permutation(np.arange(1, 12))
    lookups = [np.append(0, random.integers(0, 6, 11)) for _ in THRESHOLDS]
    volumes = []
    for lookup in lookups:
        whole = np.zeros(12, np.uint64)
        whole[np.append(0, ids)] = lookup
        volumes.append(whole[fragments] << np.uint64(50))
    table = overlap_table(fragments, truth)
    tables = (table.relabel(ids, lookup[1:].astype(np.uint64) << np.uint64(50)) for lookup in lookups)
    options = {"convention": convention, "ignore_segmentation": ignore_segmentation}
    assume(all(((truth != 0) & (volume != 0)).any() for volume in volumes))
    from_tables = partition_curve(tables, None, THRESHOLDS, **options)
    from_volumes = partition_curve(iter(volumes), truth, THRESHOLDS, **options)
    assert from_tables.rows() == from_volumes.rows()
    for index, volume in enumerate(volumes):
        row = from_volumes.rows()[index]
        information = variation_of_information(volume, truth, ignore_segmentation=ignore_segmentation)
        rand = rand_split_merge(volume, truth, ignore_segmentation=ignore_segmentation)
        assert row == {
            "threshold": THRESHOLDS[index],
            "adapted_rand_error": adapted_rand_error(volume, truth, convention=convention).error,
            "voi_split": information.split,
            "voi_merge": information.merge,
            "rand_split": rand.split,
            "rand_merge": rand.merge,
        }
    errors = [row["adapted_rand_error"] for row in from_volumes.rows()]
    assert from_volumes.best == errors.index(min(errors))
    totals = [row["voi_split"] + row["voi_merge"] for row in from_volumes.rows()]
    assert from_volumes.best_voi == totals.index(min(totals))


def test_bad_input_stops_with_one_sentence():
    labels = np.ones((2, 2), int)
    for thresholds in ([], [np.nan], [0.1, np.inf]):
        with pytest.raises(ValueError, match="one or more finite numbers"):
            partition_curve([labels], labels, thresholds)
    with pytest.raises(ValueError, match="2 thresholds, but 1 segmentations"):
        partition_curve([labels], labels, [0.1, 0.2])
    with pytest.raises(ValueError, match="1 thresholds, but more segmentations"):
        partition_curve([labels, labels], labels, [0.1])
    with pytest.raises(ValueError, match="'cremi'"):
        partition_curve([labels], labels, [0.1], convention="waterz")
    with pytest.raises(TypeError, match="truth is missing"):
        partition_curve([labels], None, [0.1])
    with pytest.raises(TypeError, match="not both"):
        partition_curve([overlap_table(labels, labels)], labels, [0.1])
