"""The two published networks: counts, shapes, gradients, precision, and what they refuse."""

import pytest
import torch

from emlib.models import build_model, count_parameters, describe_model

TWINS = [("rsunet", (4, 6)), ("rsunet", (4, 6, 8)), ("unet_residual_3d", (4, 6)), ("unet_residual_3d", (4, 6, 8))]


@pytest.mark.parametrize(
    ("name", "count", "in_use"), [("rsunet", 1_852_610, 1_852_610), ("unet_residual_3d", 1_634_482, 1_547_758)]
)
def test_published_parameter_counts(name, count, in_use):
    model = build_model(name, out_channels=2)
    assert count_parameters(model) == count
    assert count_parameters(model, trained_only=True) == in_use
    assert model.min_divisor == (1, 16, 16)
    assert "upsampling.weight" not in "".join(model.state_dict())


def test_unused_published_layers_can_be_left_out():
    model = build_model("unet_residual_3d", published_unused=False)
    assert count_parameters(model) == count_parameters(model, trained_only=True) == 1_547_758


def test_leaving_out_unused_layers_changes_no_prediction():
    full = build_model("unet_residual_3d", widths=(4, 6, 8))
    lean = build_model("unet_residual_3d", widths=(4, 6, 8), published_unused=False)
    lean.load_state_dict({name: value for name, value in full.state_dict().items() if name in lean.state_dict()})
    image = torch.rand(1, 1, 2, 8, 8)
    assert torch.equal(full(image), lean(image))


@pytest.mark.parametrize(("name", "widths"), TWINS)
@pytest.mark.parametrize("out_channels", [1, 2, 3])
def test_output_is_a_float32_probability_of_the_input_size(name, widths, out_channels):
    torch.manual_seed(0)
    model = build_model(name, in_channels=2, out_channels=out_channels, widths=widths)
    step = model.min_divisor[1]
    image = torch.rand(2, 2, 3, 2 * step, 3 * step)
    output = model(image)
    assert output.shape == (2, out_channels, 3, 2 * step, 3 * step)
    assert output.dtype == torch.float32
    assert output.min() >= 0
    assert output.max() <= 1
    assert output.std() > 0


@pytest.mark.parametrize(("name", "widths"), TWINS)
def test_every_trained_parameter_gets_a_gradient(name, widths):
    torch.manual_seed(0)
    model = build_model(name, widths=widths)
    (model(torch.rand(2, 1, 3, 16, 16)) ** 2).sum().backward()
    for key, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, key
            assert parameter.grad.abs().max() > 0, key
        else:
            assert name == "unet_residual_3d"
            assert "unused_skips" in key or "projection" in key


@pytest.mark.parametrize(("name", "widths"), TWINS)
def test_weights_follow_the_global_seed_bit_for_bit(name, widths):
    outputs = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        model = build_model(name, widths=widths)
        outputs.append(model(torch.full((1, 1, 2, 8, 8), 0.5)))
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[0], outputs[2])


@pytest.mark.parametrize(("name", "widths"), TWINS)
def test_bfloat16_autocast_stays_close_and_returns_float32(name, widths):
    torch.manual_seed(0)
    model = build_model(name, widths=widths).eval()
    image = torch.rand(1, 1, 3, 16, 16)
    exact = model(image)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = model(image)
    assert mixed.dtype == torch.float32
    assert (mixed - exact).abs().mean() < 0.01
    mixed.sum().backward()


@pytest.mark.parametrize(("name", "widths"), TWINS)
def test_channels_last_weights_change_rounding_only(name, widths):
    torch.manual_seed(0)
    model = build_model(name, widths=widths)
    image = torch.rand(2, 1, 3, 16, 16)
    before = model(image)
    after = model.to(memory_format=torch.channels_last_3d)(image)
    torch.testing.assert_close(before, after, atol=1e-5, rtol=0)


def test_rsunet_decoders_share_nothing_but_the_encoder():
    torch.manual_seed(0)
    model = build_model("rsunet", widths=(4, 6))
    assert list(model.decoders) == ["object", "contour"]
    model(torch.rand(1, 1, 2, 8, 8))[:, 1].sum().backward()
    assert all(
        parameter.grad is None or not parameter.grad.any() for parameter in model.decoders["object"].parameters()
    )
    assert all(parameter.grad.any() for parameter in model.decoders["contour"].parameters())
    assert list(build_model("rsunet", widths=(4, 6), out_channels=3).decoders) == ["output0", "output1", "output2"]


def test_rsunet_in_the_published_order_of_upsampling_and_narrowing():
    """The decoder narrows before it doubles; the published order, doubling first, gives the same."""
    torch.manual_seed(0)
    rise = build_model("rsunet", widths=(4, 6)).decoders["object"].rise[0]
    torch.nn.init.normal_(rise.bias)
    features = torch.randn(1, 6, 2, 4, 4)
    published = torch.nn.functional.conv3d(rise.upsampling(features), rise.narrow.weight, rise.bias)
    torch.testing.assert_close(rise(features), published, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["rsunet", "unet_residual_3d"])
def test_z_is_never_down_sampled(name):
    """Every feature map in the network has as many sections as the input, and y, x shrink by 2 a level."""
    model = build_model(name, widths=(4, 6, 8))
    rows = describe_model(model, (1, 1, 5, 16, 16))
    used = [row for row in rows if row.output_shape]
    assert {row.output_shape[2] for row in used} == {5}
    assert {row.output_shape[3] for row in used} == {16, 8, 4}
    assert sum(row.parameters for row in rows) == count_parameters(model)
    assert sum(row.parameters for row in used) == count_parameters(model, trained_only=True)
    assert model.training


@pytest.mark.parametrize("name", ["rsunet", "unet_residual_3d"])
@pytest.mark.parametrize(
    ("shape", "says"),
    [
        ((1, 1, 2, 9, 8), "divisible by (1, 2, 2)"),
        ((1, 1, 2, 8, 7), "divisible by (1, 2, 2)"),
        ((1, 2, 2, 8, 8), "given 2 channels, but it was built for 1"),
        ((1, 2, 8, 8), "(N, C, Z, Y, X) was expected"),
        ((1, 1, 0, 8, 8), "(N, C, Z, Y, X) was expected"),
    ],
)
def test_an_input_of_the_wrong_size_is_refused_in_one_sentence(name, shape, says):
    model = build_model(name, widths=(4, 6))
    with pytest.raises(ValueError) as caught:
        model(torch.zeros(shape))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"name": "rsunte"}, "did you mean 'rsunet'"),
        ({"name": "unet_residual"}, "did you mean 'unet_residual_3d'"),
        ({"name": "rsunet", "width": (4, 6)}, "did you mean 'widths'"),
        ({"name": "unet_residual_3d", "pading": "zeros"}, "did you mean 'padding'"),
        ({"name": "rsunet", "input_men": 0.5}, "did you mean 'input_mean'"),
        ({"name": "rsunet", "input_std": 0.0}, "input_std is 0"),
        ({"name": "rsunet", "widths": (4,)}, "at least two whole numbers"),
        ({"name": "rsunet", "widths": (4, 0)}, "at least two whole numbers"),
        ({"name": "rsunet", "out_channels": 0}, "out_channels is 0"),
        ({"name": "unet_residual_3d", "in_channels": True}, "in_channels is True"),
        ({"name": "unet_residual_3d", "padding": "reflect"}, "'replicate' or 'zeros'"),
    ],
)
def test_bad_settings_are_refused_in_one_sentence(arguments, says):
    with pytest.raises(ValueError) as caught:
        build_model(**arguments)
    assert says in str(caught.value)


@pytest.mark.parametrize("name", ["rsunet", "unet_residual_3d"])
def test_standardised_input_is_the_same_network_on_another_scale(name):
    plain = build_model(name, widths=(4, 6))
    scaled = build_model(name, widths=(4, 6), input_mean=0.5, input_std=0.25)
    scaled.load_state_dict(plain.state_dict())
    image = torch.rand(1, 1, 2, 8, 8)
    torch.testing.assert_close(scaled(image), plain((image - 0.5) / 0.25))
