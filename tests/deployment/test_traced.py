"""Blocks that are joined by overlap: the rules of `trace_blocks`, over a whole stack."""

import numpy as np
import pytest
from deployment.scene import EASY, heatmap, run

from emlib.postprocessing import BlockTracer, distance_watershed, segment, trace_blocks
from emlib.scaling import plan_blocks
from emlib.volume import open_volume

VOLUME = heatmap((26, 40, 44), 5, (0.9, 1.6, 1.6))


def traced(tmp_path, **options):
    done = run(VOLUME, tmp_path / "out", method="traced", pyramid=False, **options)
    return open_volume(done.segmentation)[:], done


def test_published_is_one_call_after_the_other(tmp_path):
    found, done = traced(tmp_path, rule="published", block=(6, 40, 44))
    parts = [distance_watershed(VOLUME[start : start + 6], **EASY) for start in range(0, 26, 6)]
    expected, given = [parts[0]], int(parts[0].max())
    for part in parts[1:]:
        expected.append(trace_blocks(expected[-1], part, rule="published", first_new_id=given + 1))
        given = max(given, int(expected[-1].max()))
    np.testing.assert_array_equal(found, np.concatenate(expected))
    assert (done.objects, done.blocks) == (given, 5)
    # Ids go on from block to block, which is the point of it.
    assert len(np.intersect1d(expected[0][-1], expected[1][0])) > 5


@pytest.mark.parametrize(("min_overlap", "measure"), [(0.2, "sum"), (0.5, "smaller"), (0.0, "sum")])
def test_union_joins_what_a_tracer_joins(tmp_path, min_overlap, measure):
    found, done = traced(tmp_path, min_overlap=min_overlap, measure=measure, block=(9, 22, 44), halo=(2, 3, 0))
    plan = plan_blocks(VOLUME.shape, (9, 22, 44), (2, 3, 0))
    tracer, parts = BlockTracer(min_overlap=min_overlap, measure=measure), {}
    for block in plan:
        parts[block.index] = distance_watershed(VOLUME[block.outer], **EASY)[block.within]
        tracer.add(block.index, parts[block.index])
    expected = np.zeros(VOLUME.shape, np.uint64)
    for block in plan:
        expected[block.inner] = tracer.relabel(block.index, parts[block.index])
    # The same partition; here ids are in the order of first voxels.
    ids, first = np.unique(expected, return_index=True)
    order = np.argsort(first[ids > 0])
    numbers = np.zeros(ids.size, np.uint64)
    numbers[np.flatnonzero(ids > 0)[order]] = np.arange(1, order.size + 1)
    np.testing.assert_array_equal(found, numbers[np.searchsorted(ids, expected)])
    assert done.objects == order.size


def test_other_methods_take_their_channels_by_name(tmp_path):
    maps = np.stack([VOLUME, 255 - VOLUME, np.roll(VOLUME, 3, 1) // 3])
    parameters = {"seed_mask": 0.5, "seed_contour": 0.4, "foreground": 0.4, "min_size": 5}
    from emlib.volume import Volume

    source = Volume(maps, attributes={"channels": ["mask", "other", "contour"]})
    done = run(source, tmp_path / "out", method="traced", segment="contour_watershed", parameters=parameters,
               block=VOLUME.shape, pyramid=False)  # fmt: skip
    expected = segment(maps, "contour_watershed", channels=["mask", "other", "contour"], **parameters)
    found = open_volume(done.segmentation)[:]
    assert done.objects == len(np.unique(expected)) - 1 > 2
    pairs = np.unique(np.stack([found.ravel(), expected.ravel()]), axis=1)
    assert pairs.shape[1] == done.objects + 1


def test_the_published_rule_needs_whole_sections(tmp_path):
    with pytest.raises(ValueError, match=r"blocks must hold whole sections of 40 x 44, not 40 x 20"):
        traced(tmp_path, rule="published", block=(6, 40, 20))
    assert not (tmp_path / "out").exists()
