"""Losses of two outputs: the sum, the target on the coarser grid, and a prediction without its auxiliary."""

import numpy as np
import pytest
import torch

from emlib.losses import build_loss, takes_auxiliary
from emlib.losses.auxiliary import resized

# name, loss of the output, loss of the auxiliary one, options
LOSSES = [
    ("AuxBCE", "WeightedBCE", "WeightedBCE", {}),
    ("AuxMSE", "WeightedMSE", "WeightedMSE", {}),
    ("AuxOhemBCE", "OhemBCE", "WeightedBCE", {"kept": 7, "threshold": 0.2}),
    ("AuxOhemMSE", "OhemMSE", "WeightedMSE", {"kept": 7}),
    ("AuxOhemMSE2", "WeightedMSE", "OhemMSE", {"kept": 7}),
]
every_loss = pytest.mark.parametrize(("name", "fine", "coarse", "options"), LOSSES)


@pytest.fixture
def tensors():
    generator = torch.Generator().manual_seed(0)
    target = (torch.rand(2, 1, 2, 8, 12, generator=generator) > 0.6).double()
    output = 0.05 + 0.9 * torch.rand(target.shape, generator=generator, dtype=torch.float64)
    auxiliary = 0.05 + 0.9 * torch.rand(2, 1, 2, 2, 3, generator=generator, dtype=torch.float64)
    return auxiliary, output, target, torch.rand(target.shape, generator=generator) + 0.5


def options_of(name, options):
    return {} if name.startswith("Weighted") else options


@every_loss
@pytest.mark.parametrize("resize", ["nearest", "published"])
def test_the_sum_of_both(name, fine, coarse, options, resize, tensors):
    auxiliary, output, target, weight = tensors
    small = [resized(volume.double(), (2, 2, 3), resize=resize) for volume in (target, weight)]
    first = build_loss(fine, **options_of(fine, options))(output, target, weight)
    second = build_loss(coarse, **options_of(coarse, options))(auxiliary, *small)
    loss = build_loss(name, resize=resize, **options)
    assert float(loss((auxiliary, output), target, weight)) == pytest.approx(float(first + 0.5 * second), rel=1e-6)
    third = build_loss(name, resize=resize, factor=2, **options)((auxiliary, output), target, weight)
    assert float(third) == pytest.approx(float(first + 2 * second), rel=1e-6)
    assert float(loss(output, target, weight)) == float(first)
    assert takes_auxiliary(name)
    assert not takes_auxiliary(fine)


def test_coarse_voxels_take_the_target_at_their_centre():
    """Centre of four voxels: between the second and the third, of which it takes the latter."""
    target = torch.arange(2 * 8 * 12.0).view(1, 1, 2, 8, 12)
    assert torch.equal(resized(target, (2, 2, 3)), target[..., 2::4, 2::4])
    odd = resized(torch.arange(15.0).view(1, 1, 1, 15), (1, 5))
    assert odd.flatten().tolist() == [1, 4, 7, 10, 13]


def test_targets_stay_classes_and_the_published_ones_become_fractions(tensors):
    *_, target, _ = tensors
    assert set(resized(target, (2, 2, 3)).unique().tolist()) == {0.0, 1.0}
    published = resized(target, (2, 2, 3), resize="published")
    assert ((published > 0) & (published < 1)).any()
    corners = published[0, 0, 0, [0, 0, 1, 1], [0, 2, 0, 2]]
    assert torch.equal(corners, target[0, 0, 0, [0, 0, 7, 7], [0, 11, 0, 11]])
    line = np.interp(np.linspace(0, 11, 3), np.arange(12), target[0, 0, 0, 0].numpy())
    np.testing.assert_allclose(published[0, 0, 0, 0].numpy(), line)


def test_images_too():
    target = (torch.rand(2, 3, 8, 8) > 0.5).float()
    for resize in ("nearest", "published"):
        value = build_loss("AuxBCE", resize=resize)((torch.full((2, 3, 2, 2), 0.5), target), target)
        assert float(value) == pytest.approx(0.5 * np.log(2), rel=1e-5)


@every_loss
@pytest.mark.parametrize("resize", ["nearest", "published"])
def test_gradients_reach_both(name, fine, coarse, options, resize, tensors):
    auxiliary, output, target, weight = tensors
    loss = build_loss(name, resize=resize, **options)
    both = (auxiliary.requires_grad_(), output.requires_grad_())
    assert torch.autograd.gradcheck(lambda a, o: loss((a, o), target, weight), both)


def test_a_masked_voxel_does_not_count_on_the_coarse_grid(tensors):
    auxiliary, output, target, _ = tensors
    mask = torch.ones(1, 1, 1, 1, 12)
    mask[..., :4] = 0
    changed, other = auxiliary.clone(), output.clone()
    changed[..., 0], other[..., :4] = 0.5, 0.5
    loss = build_loss("AuxBCE")
    assert float(loss((auxiliary, output), target, mask)) == float(loss((changed, other), target, mask))


def test_outputs_that_do_not_fit_are_refused(tensors):
    auxiliary, output, target, _ = tensors
    loss = build_loss("AuxMSE")
    with pytest.raises(ValueError, match="samples and channels must be the same"):
        loss((auxiliary[:1], output), target)
    with pytest.raises(ValueError, match="put out 3 predictions"):
        loss((auxiliary, output, output), target)
    with pytest.raises(ValueError, match="factor of AuxMSE is -1"):
        build_loss("AuxMSE", factor=-1)
    with pytest.raises(ValueError, match="resize of AuxMSE is 'linear', but 'nearest' or 'published'"):
        build_loss("AuxMSE", resize="linear")


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@every_loss
def test_the_same_on_cuda(name, fine, coarse, options, tensors):
    auxiliary, output, target, weight = tensors
    loss = build_loss(name, **options)
    there = loss((auxiliary.cuda(), output.cuda()), target.cuda(), weight.cuda())
    assert float(there) == pytest.approx(float(loss((auxiliary, output), target, weight)), rel=1e-6)
