"""Adapted Rand error and variation of information: published figures, scikit-image, plain loops, edges."""

import math
from collections import Counter

import numpy as np
import pytest
import waterz
from hypothesis import assume, given
from hypothesis import strategies as st
from oracles.volumes import shifted_segmentation, small_volume
from skimage.metrics import adapted_rand_error as skimage_rand
from skimage.metrics import variation_of_information as skimage_information

from emlib.evaluation import adapted_rand_error, overlap_table, rand_split_merge, variation_of_information
from emlib.evaluation.partition_scores import _sum_of_squares


def random_pair(seed):
    random = np.random.default_rng(seed)
    truth = np.repeat(random.integers(0, 5, (4, 6)), 3, axis=1)
    segmentation = np.repeat(random.integers(0, 5, (4, 9)), 2, axis=1)
    return segmentation, truth


def rand_by_loops(segmentation, truth, singletons):
    inside = truth > 0
    joint = Counter(zip(truth[inside].tolist(), segmentation[inside].tolist(), strict=True))
    rows, columns = Counter(truth[inside].tolist()), Counter(segmentation[inside].tolist())
    extra = columns.pop(0, 0) * singletons
    both = sum(n * n for (_, s), n in joint.items() if s) + extra
    precision = both / (sum(n * n for n in columns.values()) + extra) if columns or extra else 1.0
    recall = both / sum(n * n for n in rows.values())
    return 1 - 2 * precision * recall / (precision + recall) if precision + recall else 1.0


def test_published_figures():
    truth, segmentation = small_volume()[0], shifted_segmentation()
    assert round(adapted_rand_error(segmentation, truth).error, 7) == 0.4802175
    assert round(adapted_rand_error(segmentation, truth, convention="scikit-image").error, 7) == 0.5196870
    information = variation_of_information(segmentation, truth)
    assert (round(information.split, 7), round(information.merge, 7)) == (1.3093776, 1.3618206)
    assert information.total == information.split + information.merge


@given(st.integers(0, 10**6))
def test_rand_error_equals_loops(seed):
    segmentation, truth = random_pair(seed)
    assume(truth.any())
    snemi3d = adapted_rand_error(segmentation, truth, convention="snemi3d").error
    assert snemi3d == pytest.approx(rand_by_loops(segmentation, truth, 1 / truth.size))
    cremi = adapted_rand_error(segmentation, truth, convention="cremi").error
    assert cremi == pytest.approx(rand_by_loops(segmentation, truth, 1))
    # Voxels left out by the segmentation are segments of their own in CREMI's convention.
    alone = segmentation.copy()
    alone[segmentation == 0] = np.arange(10, 10 + (segmentation == 0).sum())
    assert cremi == pytest.approx(adapted_rand_error(alone, truth, convention="cremi").error)


@given(st.integers(0, 10**6))
def test_equal_to_scikit_image(seed):
    segmentation, truth = random_pair(seed)
    assume(truth.any())
    ours = adapted_rand_error(segmentation, truth, convention="scikit-image")
    theirs = skimage_rand(truth, segmentation, ignore_labels=(0,))
    # scikit-image 0.26 divides its "precision" by the truth's pairs, contrary to its text and to the paper.
    assert (ours.error, ours.recall, ours.precision) == pytest.approx(theirs)
    information = variation_of_information(segmentation, truth)
    assert (information.split, information.merge) == pytest.approx(
        tuple(skimage_information(truth, segmentation, ignore_labels=(0,))), abs=1e-12
    )
    everything = variation_of_information(segmentation, truth, ignore_truth=(), base=math.e)
    theirs = tuple(skimage_information(truth, segmentation))
    assert (everything.split, everything.merge) == pytest.approx([bits * math.log(2) for bits in theirs], abs=1e-12)


@given(st.integers(0, 10**6))
def test_equal_to_waterz(seed):
    random = np.random.default_rng(seed)
    truth, segmentation = (random.integers(0, 5, (3, 4, 5)).astype(np.uint64) for _ in range(2))
    assume(truth.any())
    theirs = waterz.evaluate(segmentation, truth)
    rand, information = rand_split_merge(segmentation, truth), variation_of_information(segmentation, truth)
    assert (rand.split, rand.merge) == pytest.approx((theirs["rand_split"], theirs["rand_merge"]), rel=1e-12)
    assert (information.split, information.merge) == pytest.approx(
        (theirs["voi_split"], theirs["voi_merge"]), abs=1e-12
    )
    # Without background in the segmentation, all conventions but scikit-image's are this one.
    error = adapted_rand_error(segmentation + 1, truth, convention="snemi3d").error
    assert error == pytest.approx(1 - rand.f_score)


@given(st.integers(0, 10**6), st.sampled_from([(), (0,), (0, 1)]), st.sampled_from([(), (0,), (0, 2)]))
def test_rand_split_and_merge_equal_pairs_of_voxels(seed, ignore_truth, ignore_segmentation):
    segmentation, truth = random_pair(seed)
    kept = ~np.isin(truth, ignore_truth) & ~np.isin(segmentation, ignore_segmentation)
    assume(kept.any())
    same_truth = truth[kept][:, None] == truth[kept]
    same_segment = segmentation[kept][:, None] == segmentation[kept]
    scores = rand_split_merge(segmentation, truth, ignore_truth=ignore_truth, ignore_segmentation=ignore_segmentation)
    both = (same_truth & same_segment).sum()
    assert (scores.split, scores.merge) == (both / same_truth.sum(), both / same_segment.sum())


@given(st.integers(0, 10**6), st.integers(1, 3))
def test_scores_of_added_blocks_are_those_of_the_whole(seed, cut):
    segmentation, truth = random_pair(seed)
    assume(truth.any())
    parts = overlap_table(segmentation[:cut], truth[:cut]) + overlap_table(segmentation[cut:], truth[cut:])
    for score in (adapted_rand_error, variation_of_information, rand_split_merge):
        assert score(parts) == score(segmentation, truth)


def test_ignored_segments():
    segmentation, truth = np.array([[0, 1, 2, 2]]), np.array([[1, 1, 1, 2]])
    assert variation_of_information(segmentation, truth, ignore_segmentation=(0, 1)) == variation_of_information(
        segmentation[:, 2:], truth[:, 2:]
    )


@given(st.integers(0, 10**6))
def test_order_of_ids_does_not_matter(seed):
    segmentation, truth = random_pair(seed)
    assume(truth.any())
    random = np.random.default_rng(seed)
    table = np.append(0, random.permutation(np.arange(1, 5))).astype(np.uint64) << np.uint64(60)
    for convention in ("snemi3d", "cremi", "scikit-image"):
        first = adapted_rand_error(segmentation, truth, convention=convention)
        assert first == adapted_rand_error(table[segmentation], table[truth], convention=convention)
    assert variation_of_information(segmentation, truth) == variation_of_information(table[segmentation], table[truth])


def test_perfect_and_exchange_of_roles():
    segmentation, truth = random_pair(4)
    labels = truth + 1
    for convention in ("snemi3d", "cremi", "scikit-image"):
        assert adapted_rand_error(labels, labels, convention=convention).error == 0
    assert variation_of_information(labels, labels).total == 0
    forward = variation_of_information(segmentation + 1, labels)
    backward = variation_of_information(labels, segmentation + 1)
    assert (forward.split, forward.merge) == pytest.approx((backward.merge, backward.split))


def test_squares_beyond_64_bits_are_exact():
    counts = np.array([2**39 + 12345, 3 * 2**34 + 1, 7])
    assert _sum_of_squares(counts) == sum(int(count) ** 2 for count in counts)
    table = overlap_table(np.array([[1, 2]]), np.array([[1, 1]]))
    for _ in range(36):
        table = table + table
    assert adapted_rand_error(table, convention="cremi").recall == pytest.approx(0.5)


def test_what_cannot_be_scored():
    nothing, something = np.zeros((2, 2), dtype=int), np.ones((2, 2), dtype=int)
    with pytest.raises(ValueError, match="0 everywhere"):
        adapted_rand_error(something, nothing)
    with pytest.raises(ValueError, match="No voxel"):
        variation_of_information(something, nothing)
    with pytest.raises(ValueError, match="No voxel"):
        rand_split_merge(something, nothing)
    with pytest.raises(ValueError, match="'cremi'"):
        adapted_rand_error(something, something, convention="skimage")
    with pytest.raises(ValueError, match="base"):
        variation_of_information(something, something, base=1)
    assert adapted_rand_error(nothing, something, convention="cremi").recall == pytest.approx(0.25)
