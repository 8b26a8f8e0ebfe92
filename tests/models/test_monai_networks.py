"""MONAI's networks in our form: the same numbers as MONAI's own, anisotropy, and what they refuse."""

import pytest
import torch

from emlib.models import build_model
from emlib.models.isotropy import halving, kernel_size

FLAT, CUBE = (1, 3, 3), (3, 3, 3)


def own_and_monais(name, options, network, size):
    """Both outputs from weights of one seed."""
    torch.manual_seed(0)
    own = build_model(name, **options).eval()
    torch.manual_seed(0)
    theirs = network().eval()
    image = torch.rand(1, 1, *size)
    with torch.no_grad():
        return own(image), torch.sigmoid(theirs(image))


def test_dynunet_is_monais():
    from monai.networks.nets import DynUNet

    flags = (False, False, True)
    strides = [(1, 1, 1), *(halving(flag) for flag in flags[1:])]
    own, theirs = own_and_monais(
        "dynunet",
        {"widths": (8, 12, 16), "isotropy": flags},
        lambda: DynUNet(3, 1, 2, [kernel_size(flag) for flag in flags], strides, strides[1:], filters=(8, 12, 16)),
        (4, 12, 8),
    )
    torch.testing.assert_close(own, theirs, atol=1e-5, rtol=0)


def test_monai_unet_is_monais():
    from monai.networks.nets import UNet

    own, theirs = own_and_monais(
        "monai_unet",
        {"widths": (8, 12, 16), "isotropy": True, "norm": "bn"},
        lambda: UNet(3, 1, 2, (8, 12, 16), ((2, 2, 2), (2, 2, 2)), num_res_units=2, norm="BATCH"),
        (4, 12, 8),
    )
    torch.testing.assert_close(own, theirs, atol=1e-5, rtol=0)


def test_segresnet_is_monais():
    from monai.networks.nets import SegResNet

    own, theirs = own_and_monais(
        "segresnet",
        {"widths": (8, 16, 32), "blocks": 1},
        lambda: SegResNet(3, 8, 1, 2, blocks_down=(1, 1, 1), blocks_up=(1, 1)),
        (4, 12, 8),
    )
    torch.testing.assert_close(own, theirs, atol=1e-5, rtol=0)


def test_transformers_are_monais():
    from monai.networks.nets import UNETR, SwinUNETR

    own, theirs = own_and_monais(
        "unetr",
        {"window": (16, 32, 16), "feature_size": 4, "hidden_size": 12, "mlp_size": 24, "heads": 3},
        lambda: UNETR(1, 2, (16, 32, 16), 4, 12, 24, 3, norm_name=("INSTANCE", {"affine": True})),
        (16, 32, 16),
    )
    torch.testing.assert_close(own, theirs, atol=1e-5, rtol=0)
    own, theirs = own_and_monais(
        "swin_unetr",
        {"feature_size": 12, "depths": (1, 1, 1, 1), "attention_window": 4},
        lambda: SwinUNETR(
            1, 2, depths=(1, 1, 1, 1), window_size=4, feature_size=12, norm_name=("INSTANCE", {"affine": True})
        ),
        (32, 32, 64),
    )
    torch.testing.assert_close(own, theirs, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("options", "divisor", "kernels"),
    [
        ({}, (4, 16, 16), [FLAT, FLAT, FLAT, CUBE, CUBE]),
        ({"isotropy": True}, (16, 16, 16), [CUBE] * 5),
        ({"isotropy": False}, (1, 16, 16), [FLAT] * 5),
        (
            {"kernels": [CUBE] * 5, "strides": [(1, 1, 1), (1, 2, 2), (1, 2, 2), (1, 1, 1), (2, 1, 2)]},
            (2, 4, 8),
            [CUBE] * 5,
        ),
    ],
)
def test_dynunets_levels_are_as_anisotropic_as_asked(options, divisor, kernels):
    model = build_model("dynunet", widths=(4, 4, 4, 4, 4), **options)
    assert model.min_divisor == divisor
    layer, found = model.network[0], []
    while hasattr(layer, "next_layer"):
        found.append(layer.downsample.conv1.conv.kernel_size)
        layer = layer.next_layer
    assert [*found, layer.conv1.conv.kernel_size] == kernels
    size = [2 * step for step in divisor]
    assert model(torch.rand(1, 1, *size)).shape == (1, 2, *size)


def test_monai_unet_takes_its_divisor_from_the_strides():
    assert build_model("monai_unet", widths=(4, 6, 8)).min_divisor == (1, 4, 4)
    model = build_model("monai_unet", widths=(4, 6, 8), strides=[(1, 2, 2), (2, 2, 1)])
    assert model.min_divisor == (2, 4, 2)
    assert model(torch.rand(1, 1, 4, 8, 6)).shape == (1, 2, 4, 8, 6)


def test_unetr_takes_its_own_window_only():
    model = build_model("unetr", window=(16, 32, 32), feature_size=4, hidden_size=6, mlp_size=6, heads=1)
    assert model.min_divisor == (16, 32, 32)
    with pytest.raises(ValueError, match=r"unetr was given \(Z, Y, X\) = \(32, 32, 32\), .* window \(16, 32, 32\)"):
        model(torch.zeros(1, 1, 32, 32, 32))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("dynunet", {"widths": (4, 6, 8)}),
        ("monai_unet", {"widths": (4, 6, 8)}),
        ("segresnet", {"widths": (8, 16, 32), "norm": "in"}),
        ("swin_unetr", {"feature_size": 12, "depths": (1, 1, 1, 1)}),
    ],
)
def test_an_input_that_leaves_instance_norm_a_single_value_is_refused(name, options):
    model = build_model(name, **options)
    with pytest.raises(ValueError, match=f"{name}: the input shrinks to 1 x 1 x 1 at the lowest level"):
        model(torch.zeros(1, 1, *model.min_divisor))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"name": "dynunet", "widths": (4, 6)}, "at least three levels"),
        ({"name": "dynunet", "norm": "none"}, "'in', 'bn' or 'gn' was expected"),
        ({"name": "dynunet", "norm": "gn", "widths": (4, 8, 16)}, "a width of 4 is not divisible by 8"),
        ({"name": "dynunet", "activation": "tanh"}, "activation is 'tanh'"),
        ({"name": "dynunet", "kernels": [FLAT] * 4}, "kernels is"),
        ({"name": "dynunet", "kernels": [(2, 2, 2)] * 5}, "expected to be an odd number"),
        ({"name": "dynunet", "strides": [(1, 2, 2)] * 5}, "the first of strides is (1, 2, 2)"),
        ({"name": "dynunet", "strides": [(1, 1, 1), *[(1, 4, 4)] * 4]}, "expected to be 1 or 2"),
        ({"name": "dynunet", "strides": [(1, 1, 1), *[(2, 2)] * 4]}, "5 times (z, y, x) was expected"),
        ({"name": "dynunet", "filters": (4, 6, 8)}, "has no option 'filters'"),
        ({"name": "monai_unet", "strides": [(1, 2, 2)]}, "4 times (z, y, x) was expected"),
        ({"name": "monai_unet", "residual_units": -1}, "residual_units is -1"),
        ({"name": "segresnet", "widths": (8, 16, 24)}, "each twice the one before it"),
        ({"name": "segresnet", "blocks": 0}, "blocks is 0"),
        ({"name": "unetr", "window": (64, 100, 128)}, "each divisible by 16"),
        ({"name": "unetr", "window": (64, 128)}, "each divisible by 16"),
        ({"name": "unetr", "hidden_size": 100}, "divisible by heads, 12"),
        ({"name": "unetr", "mlp_size": 0}, "mlp_size is 0"),
        ({"name": "swin_unetr", "feature_size": 16}, "divisible by 12 was expected"),
        ({"name": "swin_unetr", "depths": (2, 2)}, "four numbers, one a stage"),
        ({"name": "swin_unetr", "heads": (5, 6, 12, 24)}, "stage 0 has vectors of length 24"),
        ({"name": "swin_unetr", "attention_window": 1}, "attention_window is 1"),
        ({"name": "swin_unetr", "norm": "none"}, "'in', 'bn' or 'gn' was expected"),
    ],
)
def test_bad_settings_are_refused_in_one_sentence(arguments, says):
    with pytest.raises(ValueError) as caught:
        build_model(**arguments)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
