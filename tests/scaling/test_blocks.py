"""Block plans: every voxel belongs to exactly one block, and the halo is where it says."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emlib.scaling import plan_blocks, plan_fingerprint, plan_shape, shard_of


@st.composite
def volumes(draw):
    shape = draw(st.lists(st.integers(1, 12), min_size=1, max_size=4))
    sizes = st.lists(st.integers(1, 15), min_size=len(shape), max_size=len(shape))
    halos = st.lists(st.integers(0, 5), min_size=len(shape), max_size=len(shape))
    return tuple(shape), draw(sizes), draw(halos)


@given(volumes())
def test_the_blocks_cover_every_voxel_exactly_once(volume):
    shape, size, halo = volume
    plan = plan_blocks(shape, size, halo)
    owners = np.zeros(shape, int)
    places = np.arange(np.prod(shape)).reshape(shape)
    for block in plan:
        owners[block.inner] += 1
        assert places[block.inner].shape == block.shape
        assert places[block.outer].shape == block.outer_shape
        np.testing.assert_array_equal(places[block.outer][block.within], places[block.inner])
        for axis, (inner, outer) in enumerate(zip(block.inner, block.outer, strict=True)):
            assert outer.start == max(0, inner.start - halo[axis])
            assert outer.stop == min(shape[axis], inner.stop + halo[axis]) or inner.stop == shape[axis]
    assert (owners == 1).all()
    assert plan_shape(plan) == shape
    assert [block.index for block in plan] == list(np.ndindex(*(-(-n // s) for n, s in zip(shape, size, strict=True))))
    assert plan == plan_blocks(shape, size, halo)


@given(volumes(), st.integers(1, 9))
def test_shards_share_the_plan_out_round_robin(volume, jobs):
    plan = plan_blocks(*volume)
    shards = [shard_of(plan, job, jobs) for job in range(jobs)]
    assert sorted(block for shard in shards for block in shard) == list(plan)
    assert all(plan.index(block) % jobs == job for job, shard in enumerate(shards) for block in shard)


def test_the_fingerprint_knows_every_place():
    plans = [plan_blocks((8, 8), 4), plan_blocks((8, 8), 4, 1), plan_blocks((8, 9), 4), plan_blocks((8, 8), (4, 8))]
    assert len({plan_fingerprint(plan) for plan in plans}) == 4


@pytest.mark.parametrize(
    "arguments, kind, words",
    [
        (((4, 4), 0), ValueError, "block must be at least 1"),
        (((4, 4), (2, 2, 2)), ValueError, "that is 2"),
        (((4, 0), 2), ValueError, "shape must be at least 1"),
        (((), 2), ValueError, "shape must be"),
        (((4, 4), 2.5), TypeError, "whole number"),
        (((4, 4), 2, -1), ValueError, "halo must be at least 0"),
    ],
)
def test_what_is_no_plan_is_refused(arguments, kind, words):
    with pytest.raises(kind, match=words):
        plan_blocks(*arguments)


def test_shards_that_do_not_exist_are_refused():
    plan = plan_blocks((4,), 1)
    with pytest.raises(ValueError, match="counted from 0"):
        shard_of(plan, 2, 2)
    with pytest.raises(ValueError, match="of must be at least 1"):
        shard_of(plan, 0, 0)
    with pytest.raises(ValueError, match="no blocks"):
        plan_shape(())
