"""The table of neurons: counted by hand, its terms add up to the variation of information, tables add up."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from oracles.volumes import shifted_segmentation, small_volume

from emlib.evaluation import neuron_errors, overlap_table, variation_of_information


def random_pair(seed, shape=(4, 6, 8)):
    random = np.random.default_rng(seed)
    return tuple(np.repeat(random.integers(0, 5, shape), 2, axis=2).astype(np.uint64) << np.uint64(40) for _ in "ab")


@given(st.integers(0, 10**6), st.integers(1, 30), st.sampled_from([(), (0,)]), st.sampled_from([2, 10]))
def test_rows_equal_loops_and_add_up(seed, min_overlap, ignore_segmentation, base):
    segmentation, truth = random_pair(seed)
    scored = (truth != 0) & ~np.isin(segmentation, ignore_segmentation)
    assume(scored.any())
    errors = neuron_errors(
        segmentation, truth, min_overlap=min_overlap, ignore_segmentation=ignore_segmentation, base=base
    )
    total = variation_of_information(segmentation, truth, ignore_segmentation=ignore_segmentation, base=base)
    assert errors.voi_split == pytest.approx(total.split, rel=1e-12)
    assert errors.voi_merge == pytest.approx(total.merge, rel=1e-12)
    assert sorted(row.neuron for row in errors.neurons) == np.unique(truth[scored]).tolist()
    joint = Counter(zip(truth[scored].tolist(), segmentation[scored].tolist(), strict=True))
    for row in errors.neurons:
        held = {segment: n for (neuron, segment), n in joint.items() if neuron == row.neuron}
        sizes = {segment: sum(n for (_, s), n in joint.items() if s == segment) for segment in held}
        assert row.size == sum(held.values())
        assert row.segments == sum(n >= min_overlap for segment, n in held.items() if segment)
        assert row.voi_split == pytest.approx(
            sum(n * np.log(row.size / n) for n in held.values()) / scored.sum() / np.log(base)
        )
        assert row.voi_merge == pytest.approx(
            sum(n * np.log(sizes[s] / n) for s, n in held.items()) / scored.sum() / np.log(base)
        )
        real = {segment: n for segment, n in held.items() if segment}
        main = min(real, key=lambda segment: (-real[segment], segment), default=0)
        assert row.main_segment == main
        assert row.main_share == (real[main] / row.size if main else 0)
        partners = {
            neuron
            for (neuron, segment), n in joint.items()
            if main and segment == main and neuron != row.neuron and n >= min_overlap
        }
        assert set(row.partners) == partners
        overlaps = [joint[partner, main] for partner in row.partners]
        assert overlaps == sorted(overlaps, reverse=True)
    worst = [row.voi_split + row.voi_merge for row in errors.neurons]
    assert worst == sorted(worst, reverse=True)


@given(st.integers(0, 10**6), st.integers(1, 3))
def test_blocks_add_up_exactly(seed, cut):
    segmentation, truth = random_pair(seed)
    assume(truth.any())
    parts = overlap_table(segmentation[:cut], truth[:cut]) + overlap_table(segmentation[cut:], truth[cut:])
    from_table = neuron_errors(parts, min_overlap=3)
    assert from_table.neurons == neuron_errors(segmentation, truth, min_overlap=3).neurons
    assert from_table.splits is None
    assert from_table.merges is None


def test_the_known_errors_of_a_small_volume():
    truth = small_volume()[0]
    segmentation = truth.astype(np.int64)
    segmentation[truth == 5] = 1
    segmentation[(truth == 3) & (np.indices(truth.shape)[2] >= 24)] = 50
    errors = neuron_errors(segmentation, truth, min_overlap=20)
    wrong = {row.neuron: row for row in errors.neurons if row.voi_split + row.voi_merge > 0}
    assert set(wrong) == {1, 3, 5}
    assert (wrong[1].partners, wrong[5].partners, wrong[3].partners) == ((5,), (1,), ())
    assert (wrong[1].segments, wrong[5].segments, wrong[3].segments) == (1, 1, 2)
    (merge,), (split,) = errors.merges, errors.splits
    assert (merge.neurons, merge.segments) == ((1, 5), (1,))
    assert (split.neurons, split.segments) == ((3,), (3, 50))
    # Each position lies between the two parts that it is about.
    assert truth[split.position] == 3
    around = tuple(slice(max(at - 2, 0), at + 3) for at in merge.position)
    assert {1, 5} <= set(truth[around].ravel().tolist())
    assert errors.rows()[0]["neuron"] == errors.neurons[0].neuron
    assert neuron_errors(truth, truth).splits == []
    assert neuron_errors(shifted_segmentation(), truth).voi_split == pytest.approx(1.3093776, abs=1e-6)


def test_a_neuron_without_a_segment():
    errors = neuron_errors(np.zeros((1, 2, 3), int), np.ones((1, 2, 3), int), min_overlap=1)
    (row,) = errors.neurons
    assert (row.segments, row.main_segment, row.main_share, row.partners) == (0, 0, 0, ())
    assert (errors.splits, errors.merges) == ([], [])


def test_bad_input_stops_with_one_sentence():
    labels = np.ones((2, 3, 3), int)
    with pytest.raises(ValueError, match="min_overlap must be at least 1"):
        neuron_errors(labels, labels, min_overlap=0)
    with pytest.raises(ValueError, match="gap must be 0"):
        neuron_errors(labels, labels, gap=-1)
    with pytest.raises(ValueError, match="base must be"):
        neuron_errors(labels, labels, base=1)
    with pytest.raises(ValueError, match="No voxel is left"):
        neuron_errors(labels, labels * 0)
    with pytest.raises(ValueError, match="must be 3-D"):
        neuron_errors(labels[0], labels[0])
    with pytest.raises(TypeError, match="truth is missing"):
        neuron_errors(labels)
    with pytest.raises(TypeError, match="not both"):
        neuron_errors(overlap_table(labels, labels), labels)
