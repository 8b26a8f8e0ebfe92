"""The same targets on the CPU and on a CUDA device."""

import numpy as np
import pytest
import torch
from oracles.volumes import small_volume

from emlib.targets import affinities, build_target, class_weights, erode_labels

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.mark.cuda
@needs_cuda
@pytest.mark.parametrize("option", ["0", "0-1-2", "1", "2", "2-1-1-1-v2", "4-1-0", "4-2-1", "9-13"])
def test_targets_and_weights_are_equal_on_cuda(option):
    labels = torch.from_numpy(small_volume()[0].astype(np.int64))
    there = build_target(labels.cuda(), option)
    assert there.is_cuda
    here = build_target(labels, option)
    assert torch.equal(there.cpu(), here)
    assert torch.equal(class_weights(there, "1-1").cpu(), class_weights(here, "1-1"))


@pytest.mark.cuda
@needs_cuda
def test_erosion_and_affinities_are_equal_on_cuda():
    labels = torch.from_numpy(small_volume()[0].astype(np.int64))
    assert torch.equal(erode_labels(labels.cuda(), 2).cpu(), erode_labels(labels, 2))
    offsets = [(-1, 0, 0), (0, 3, -2)]
    for there, here in zip(affinities(labels.cuda(), offsets), affinities(labels, offsets), strict=True):
        assert torch.equal(there.cpu(), here)
