"""The two special layers against slow, obvious versions."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from emlib.models.bilinear_upsampling import BilinearUpsampling
from emlib.models.partial_convolution import PartialConv3d


def partial_convolution_by_hand(image, weight, bias):
    """Sum over the valid voxels of each window, times (voxels in a window) / (valid voxels), plus bias."""
    outputs, inputs = weight.shape[:2]
    _, depth, height, width = image.shape
    result = np.zeros((outputs, depth, height, width))
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                total, valid = np.zeros(outputs), 0
                for dz in (-1, 0, 1):
                    for dy in (-1, 0, 1):
                        for dx in (-1, 0, 1):
                            at = (z + dz, y + dy, x + dx)
                            if all(0 <= place < size for place, size in zip(at, image.shape[1:], strict=True)):
                                total += weight[:, :, dz + 1, dy + 1, dx + 1] @ image[:, at[0], at[1], at[2]]
                                valid += inputs
                result[:, z, y, x] = total * (27 * inputs) / valid + bias
    return result


@given(st.tuples(*[st.integers(1, 4)] * 3), st.integers(1, 3), st.integers(1, 2))
def test_partial_convolution_equals_the_definition(size, in_channels, out_channels):
    torch.manual_seed(sum(size))
    layer = PartialConv3d(in_channels, out_channels)
    image = torch.randn(1, in_channels, *size)
    expected = partial_convolution_by_hand(image[0].numpy(), layer.weight.detach().numpy(), layer.bias.detach().numpy())
    np.testing.assert_allclose(layer(image)[0].detach().numpy(), expected, rtol=1e-4, atol=1e-4)


def test_partial_convolution_factors_are_exact_in_half_precision():
    layer = PartialConv3d(1, 1).to(torch.bfloat16)
    torch.nn.init.constant_(layer.weight, 1.0)
    torch.nn.init.zeros_(layer.bias)
    assert torch.all(layer(torch.ones(1, 1, 4, 5, 1, dtype=torch.bfloat16)) == 27)


@given(st.tuples(*[st.integers(1, 3)] * 3), st.integers(1, 3))
def test_upsampling_equals_the_grouped_transposed_convolution(size, channels):
    torch.manual_seed(channels)
    image = torch.randn(2, channels, *size)
    taps = torch.tensor([0.25, 0.75, 0.75, 0.25])
    weight = (taps[:, None] * taps)[None, None, None].expand(channels, 1, 1, 4, 4)
    expected = torch.nn.functional.conv_transpose3d(image, weight, stride=(1, 2, 2), padding=(0, 1, 1), groups=channels)
    torch.testing.assert_close(BilinearUpsampling()(image), expected)


def test_upsampling_by_hand():
    """Each output row i reads input rows (i - 1) // 2 and (i + 1) // 2 with 1/4 and 3/4; zeros lie outside."""
    image = torch.rand(1, 1, 1, 3, 2)
    output = BilinearUpsampling()(image)[0, 0, 0]
    padded = torch.nn.functional.pad(image[0, 0, 0], (1, 1, 1, 1))
    for i in range(6):
        for j in range(4):
            near, far = ((i + 2) // 2, (j + 2) // 2), (i // 2 + (i % 2) * 2, j // 2 + (j % 2) * 2)
            rows = {near[0]: 0.75, far[0]: 0.25}
            columns = {near[1]: 0.75, far[1]: 0.25}
            expected = sum(padded[r, c] * a * b for r, a in rows.items() for c, b in columns.items())
            assert output[i, j] == pytest.approx(float(expected), rel=1e-5)


def test_upsampling_is_fixed_and_not_stored():
    layer = BilinearUpsampling()
    assert not list(layer.parameters())
    assert not layer.state_dict()


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_layers_run_on_the_gpu():
    image = torch.randn(1, 4, 3, 8, 8)
    for layer in (PartialConv3d(4, 4), BilinearUpsampling()):
        expected = layer(image)
        torch.testing.assert_close(layer.cuda()(image.cuda()).cpu(), expected, atol=1e-4, rtol=1e-4)
