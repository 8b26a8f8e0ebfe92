"""MONAI's networks on images with three exclusive classes: the baselines of the cell segmentation challenge."""

import pytest
import torch

from emlib.models import build_model, count_parameters

THREE_CLASSES = {"in_channels": 3, "out_channels": 3, "dimensions": 2, "norm": "in_plain", "output": "softmax"}
NETWORKS = {
    "monai_unet": {"widths": (4, 6, 8)},
    "unetr": {"window": (32, 64), "feature_size": 4, "hidden_size": 12, "mlp_size": 24, "heads": 3},
    "swin_unetr": {"feature_size": 12, "depths": (1, 1, 1, 1)},
}
every_baseline = pytest.mark.parametrize("name", NETWORKS)


def build(name, **more):
    torch.manual_seed(0)
    return build_model(name, **NETWORKS[name] | THREE_CLASSES | more)


def image(batch=2, channels=3):
    torch.manual_seed(1)
    return torch.rand(batch, channels, 32, 64)


def monais(name):
    from monai.networks import nets

    torch.manual_seed(0)
    if name == "monai_unet":
        return nets.UNet(2, 3, 3, (4, 6, 8), (2, 2), num_res_units=2)
    if name == "unetr":
        return nets.UNETR(3, 3, (32, 64), 4, 12, 24, 3, spatial_dims=2)
    return nets.SwinUNETR(3, 3, depths=(1, 1, 1, 1), feature_size=12, spatial_dims=2)


@every_baseline
def test_baselines_are_monais_own_with_a_softmax(name):
    model, theirs = build(name).eval(), monais(name).eval()
    with torch.no_grad():
        found, expected = model(image()), torch.softmax(theirs(image()), dim=1)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.sum(1), torch.ones(2, 32, 64))
    assert found.dtype == torch.float32


@every_baseline
def test_a_sigmoid_leaves_the_channels_independent(name):
    with torch.no_grad():
        raw = build(name).eval().network(image())
        torch.testing.assert_close(build(name, output="sigmoid").eval()(image()), torch.sigmoid(raw))


@every_baseline
def test_every_parameter_gets_a_gradient(name):
    model = build(name)
    (model(image())[:, 1] ** 2).sum().backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
        assert torch.isfinite(parameter.grad).all(), key
        assert parameter.grad.any(), key


@pytest.mark.parametrize(("name", "count"), [("monai_unet", 1_626_072), ("swin_unetr", 6_302_925)])
def test_defaults_have_as_many_parameters_as_the_official_baselines(name, count):
    assert count_parameters(build_model(name, **THREE_CLASSES)) == count


@every_baseline
def test_baselines_refuse_what_is_no_such_image(name):
    model = build(name)
    assert len(model.min_divisor) == 2
    wrong = [
        ((1, 3, 1, 32, 64), "(N, C, Y, X) was expected"),
        ((1, 2, 32, 64), "given 2 channels, but it was built for 3"),
        ((1, 3, 32, 65), "(Y, X) = (32, 65), but they must be divisible by"),
    ]
    if name == "unetr":
        wrong.append(((1, 3, 64, 64), "(Y, X) = (64, 64), but it was built for the window (32, 64)"))
    else:
        wrong.append(((1, 3, *model.min_divisor), f"{name}: the input shrinks to 1 x 1 at the lowest level"))
    for shape, says in wrong:
        with pytest.raises(ValueError) as caught:
            model(torch.zeros(shape))
        assert says in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"name": "monai_unet", "dimensions": 4}, "dimensions is 4, but 2 (images) or 3 (volumes)"),
        ({"name": "swin_unetr", "dimensions": True}, "dimensions is True"),
        ({"name": "unetr", "output": "logits"}, "output is 'logits', but 'sigmoid' or 'softmax' was expected"),
        ({"name": "monai_unet", "output": "softmax", "out_channels": 1}, "'softmax' of one channel is 1 everywhere"),
        ({"name": "monai_unet", "dimensions": 2, "isotropy": True}, "with dimensions 2 there is no z"),
        ({"name": "monai_unet", "dimensions": 2, "strides": [(1, 2, 2)] * 4}, "4 times (y, x) was expected"),
        ({"name": "unetr", "dimensions": 2, "window": (16, 32, 32)}, "(y, x), each divisible by 16, was expected"),
    ],
)
def test_bad_settings_are_refused_in_one_sentence(options, says):
    with pytest.raises(ValueError) as caught:
        build_model(**options)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
