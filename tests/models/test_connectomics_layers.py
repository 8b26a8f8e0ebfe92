"""The layers of the Connectomics networks against slow, obvious versions and against torch's own."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from emlib.models.enlargement import enlarge
from emlib.models.instance_norm import InstanceNorm, keep_channels_last
from emlib.models.layer_style import LayerStyle
from emlib.models.non_local import NonLocalBlock
from emlib.models.replicate_convolution import ReplicateConv3d
from emlib.models.residual_blocks import BLOCKS, InvertedResidualBlock, ResidualBlock
from emlib.models.squeeze_excitation import SqueezeExcitation


def enlarged_by_hand(coarse, size, factors, pooled):
    """numpy's interpolation along one axis after the other, between the places where the coarse voxels lie."""
    for axis, (large, factor) in enumerate(zip(size, factors, strict=True)):
        places = np.arange(coarse.shape[axis]) * factor + ((factor - 1) / 2 if pooled else 0)
        coarse = np.apply_along_axis(lambda line, at=places, n=large: np.interp(np.arange(n), at, line), axis, coarse)
    return coarse


@given(st.tuples(*[st.integers(1, 21)] * 3), st.tuples(*[st.sampled_from([1, 2, 4])] * 3), st.booleans())
def test_enlarging_puts_coarse_voxels_where_they_came_from(size, factors, pooled):
    small = [-(-large // factor) for large, factor in zip(size, factors, strict=True)]
    # A single coarse voxel fills the axis, wherever it lies.
    factors = [1 if coarse == large else factor for coarse, large, factor in zip(small, size, factors, strict=True)]
    coarse = np.random.default_rng(sum(size)).random(small)
    expected = enlarged_by_hand(coarse, size, factors, pooled)
    tensor = torch.from_numpy(coarse)[None, None]
    np.testing.assert_allclose(enlarge(tensor, size, pooled=pooled)[0, 0].numpy(), expected, atol=1e-12)


@given(st.tuples(*[st.integers(1, 6)] * 3))
def test_enlarging_to_a_published_size_is_interpolation_with_aligned_corners(small):
    coarse = torch.rand(2, 3, *small)
    size = [2 * side - 1 for side in small]
    expected = nn.functional.interpolate(coarse, size, mode="trilinear", align_corners=True)
    torch.testing.assert_close(enlarge(coarse, size), expected)


def test_a_strided_ramp_comes_back_exactly():
    """Sampling every second voxel of a straight line and enlarging gives the line, except beyond the last sample."""
    ramp = torch.arange(10.0).view(1, 1, 1, 1, 10)
    back = enlarge(ramp[..., ::2], (1, 1, 10)).flatten()
    assert back.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 8]


def test_enlarging_to_a_size_that_never_shrinks_to_it_is_refused():
    with pytest.raises(ValueError, match="Halving an axis of 5 voxels never gives 4"):
        enlarge(torch.zeros(1, 1, 4, 1, 1), (5, 1, 1))


@given(st.tuples(*[st.integers(1, 4)] * 3), st.integers(1, 2))
def test_attention_equals_the_matrix_of_all_pairs(size, batch):
    torch.manual_seed(sum(size))
    block = NonLocalBlock(6, LayerStyle(norm="none"))
    for parameter in block.parameters():
        nn.init.normal_(parameter)
    features = torch.randn(batch, 6, *size)

    def columns(layer):
        weight = layer.weight[:, :, 0, 0, 0]
        return torch.einsum("oc,ncv->nov", weight, features.flatten(2)) + layer.bias[:, None]

    pairs = torch.einsum("ncq,nck->nqk", columns(block.query), columns(block.key))
    seen = torch.einsum("nqk,nck->ncq", pairs.softmax(dim=2), columns(block.value))
    out = torch.einsum("oc,ncv->nov", block.out[0].weight[:, :, 0, 0, 0], seen) + block.out[0].bias[:, None]
    torch.testing.assert_close(block(features), features + out.view_as(features), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("norm", ["bn", "gn", "in", "none"])
def test_attention_starts_as_the_identity_and_can_leave_it(norm):
    block = NonLocalBlock(16, LayerStyle(norm=norm))
    features = torch.randn(2, 16, 2, 3, 4)
    output = block(features)
    assert torch.equal(output, features)
    (output**2).sum().backward()
    assert any(parameter.grad.any() for parameter in block.out.parameters())


def test_squeeze_and_excitation_by_hand():
    layer = SqueezeExcitation(8, nn.ReLU())
    features = torch.randn(2, 8, 2, 3, 4)
    output = layer(features)
    for n in range(2):
        means = torch.stack([features[n, c].mean() for c in range(8)])
        hidden = (layer.squeeze.weight @ means).clamp(min=0)
        factors = 1 / (1 + torch.exp(-(layer.excite.weight @ hidden)))
        for c in range(8):
            torch.testing.assert_close(output[n, c], features[n, c] * factors[c])


@pytest.mark.parametrize("kind", BLOCKS)
@pytest.mark.parametrize("norm", ["bn", "none"])
@pytest.mark.parametrize("activation", ["elu", "gelu"])
def test_residual_blocks_equal_their_formulas(kind, norm, activation):
    """Written out with torch's functions; activations in place must spoil neither the input nor the sum."""
    torch.manual_seed(0)
    style = LayerStyle(norm, activation, "zeros")
    block = ResidualBlock(kind, 8, (1, 3, 3), style)
    features = torch.randn(2, 8, 2, 5, 4)
    kept = features.clone()
    act = {"elu": nn.functional.elu, "gelu": nn.functional.gelu}[activation]
    convolutions = [layer for layer in block.modules() if isinstance(layer, nn.Conv3d)]

    def normalised(x):
        return nn.functional.batch_norm(x, None, None, training=True) if norm == "bn" else x

    def convolved(x, index):
        return nn.functional.conv3d(x, convolutions[index].weight, convolutions[index].bias, padding=(0, 1, 1))

    if kind.endswith("_pa"):
        change = convolved(act(normalised(convolved(act(normalised(features)), 0))), 1)
    else:
        change = normalised(convolved(act(normalised(convolved(features, 0))), 1))
    if "_se" in kind:
        excite = next(layer for layer in block.modules() if isinstance(layer, SqueezeExcitation))
        change = (
            change * torch.sigmoid(excite.excite(act(excite.squeeze(change.mean((2, 3, 4))))))[..., None, None, None]
        )
    expected = features + change if kind.endswith("_pa") else act(features + change)
    torch.testing.assert_close(block(features), expected, atol=1e-5, rtol=1e-5)
    assert torch.equal(features, kept)


def test_inverted_blocks_filter_each_feature_map_on_its_own():
    block = InvertedResidualBlock(8, (3, 3, 3), LayerStyle("gn", "silu", "zeros"), expansion=3)
    expand, depthwise, project = (layer for layer in block.modules() if isinstance(layer, nn.Conv3d))
    assert expand.weight.shape == (24, 8, 1, 1, 1)
    assert depthwise.weight.shape == (24, 1, 3, 3, 3)
    assert project.weight.shape == (8, 24, 1, 1, 1)


@given(
    st.integers(1, 3),
    st.sampled_from([(1, 3, 3), (3, 3, 3), (1, 5, 5)]),
    st.sampled_from([(1, 1, 1), (1, 2, 2), (2, 2, 2)]),
    st.booleans(),
)
def test_replication_equals_torchs_own_in_both_precisions(groups, kernel, stride, mixed):
    edge = tuple(size // 2 for size in kernel)
    own = ReplicateConv3d(groups * 2, groups * 3, kernel, stride, edge, groups=groups)
    theirs = nn.Conv3d(groups * 2, groups * 3, kernel, stride, edge, groups=groups, padding_mode="replicate")
    theirs.load_state_dict(own.state_dict())
    image = torch.rand(2, groups * 2, 3, 5, 6)
    with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
        got, expected = own(image), theirs(image)
    assert got.dtype == expected.dtype == (torch.bfloat16 if mixed else torch.float32)
    assert torch.equal(got, expected)
    got.float().sum().backward()
    expected.float().sum().backward()
    torch.testing.assert_close(own.weight.grad, theirs.weight.grad)


@given(st.integers(1, 3), st.integers(1, 5), st.tuples(*[st.integers(2, 5)] * 3), st.booleans())
def test_instance_norm_equals_torchs_own_and_keeps_the_memory_order(batch, width, size, channels_last):
    torch.manual_seed(batch)
    own, theirs = InstanceNorm(width), nn.InstanceNorm3d(width, affine=True)
    nn.init.normal_(own.weight)
    nn.init.normal_(own.bias)
    theirs.load_state_dict(own.state_dict())
    order = torch.channels_last_3d if channels_last else torch.contiguous_format
    features = (3 * torch.randn(batch, width, *size) + 1).contiguous(memory_format=order)
    got = own(features)
    torch.testing.assert_close(got, theirs(features), atol=1e-4, rtol=1e-4)
    assert got.is_contiguous(memory_format=order)
    got.pow(3).sum().backward()
    theirs(features).pow(3).sum().backward()
    torch.testing.assert_close(own.weight.grad, theirs.weight.grad, atol=1e-2, rtol=1e-3)


def test_layers_of_a_network_are_replaced_with_their_weights():
    network = nn.Sequential(nn.Sequential(nn.InstanceNorm3d(2, affine=True, eps=0.1)), nn.InstanceNorm3d(2))
    nn.init.normal_(network[0][0].weight)
    image = torch.randn(2, 2, 2, 3, 4)
    before, names = network(image), list(network.state_dict())
    keep_channels_last(network)
    assert [type(layer) for layer in (network[0][0], network[1])] == [InstanceNorm, nn.InstanceNorm3d]
    assert list(network.state_dict()) == names
    torch.testing.assert_close(network(image), before)
