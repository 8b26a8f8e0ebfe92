"""MEDIAR-Former: its published size and form, what holds for every network, and what it refuses."""

import copy
import functools
import sys

import pytest
import torch
from safetensors.torch import load, save
from torch import nn
from torch.nn import functional

from emlib.models import build_model, count_parameters, describe_model

SMALL = {"encoder": "mit_b0", "decoder_channels": (32, 24, 16, 12, 8), "attention_channels": 8}


def build(**more):
    torch.manual_seed(0)
    return build_model("mediar_former", **SMALL | more)


def image(batch=2, channels=3, size=(64, 96)):
    torch.manual_seed(1)
    return torch.rand(batch, channels, *size)


@pytest.fixture
def on_meta(monkeypatch):
    """Networks without memory: they have shapes but no values, all but the short list of drop-path rates."""
    monkeypatch.setattr(torch, "linspace", functools.partial(torch.linspace, device="cpu"))
    with torch.device("meta"):
        yield


@pytest.mark.parametrize(
    ("options", "encoder", "decoder"),
    [({}, 81_443_008, 39_822_656), ({"encoder": "mit_b0"}, 3_319_392, 30_466_848)],
)
def test_parameters_are_as_many_as_published(on_meta, options, encoder, decoder):
    model = build_model("mediar_former", **options)
    heads = {"cellprob_head": 18_817, "gradflow_head": 19_106}
    found = {name: count_parameters(part) for name, part in model.named_children()}
    assert found == {"encoder": encoder, "decoder": decoder} | heads
    assert count_parameters(model) == encoder + decoder + sum(heads.values())
    assert count_parameters(model) in (121_303_587, 33_824_163)


def test_every_relu_of_the_decoder_is_a_mish():
    model = build()
    kinds = [type(layer) for layer in model.decoder.modules()]
    assert nn.ReLU not in kinds
    assert kinds.count(nn.Mish) == 22
    assert not any(isinstance(layer, nn.ReLU | nn.Mish) for layer in model.encoder.modules())
    head = [type(layer) for layer in model.gradflow_head]
    assert head == [nn.Conv2d, nn.Mish, nn.BatchNorm2d, nn.Conv2d]


def test_it_is_the_ma_net_of_the_library_with_mish_and_two_heads():
    from segmentation_models_pytorch import MAnet

    model = build().eval()
    theirs = MAnet(
        "mit_b0", encoder_weights=None, decoder_channels=SMALL["decoder_channels"], decoder_pab_channels=8
    ).eval()
    theirs.load_state_dict({key: value for key, value in model.state_dict().items() if "head" not in key}, strict=False)
    shared = nn.Mish()
    for layer in list(theirs.decoder.modules()):
        for name, child in layer.named_children():
            if isinstance(child, nn.ReLU):
                setattr(layer, name, shared)
    with torch.no_grad():
        features = theirs.decoder(theirs.encoder(image()))
        expected = torch.cat(
            [head_by_hand(model.gradflow_head, features), head_by_hand(model.cellprob_head, features)], 1
        )
        torch.testing.assert_close(model.published_output(image()), expected, atol=1e-5, rtol=1e-5)


def head_by_hand(head, features):
    first, norm, last = head[0], head[2], head[3]
    hidden = functional.conv2d(features, first.weight, first.bias, padding=1)
    hidden = hidden * torch.tanh(functional.softplus(hidden))
    hidden = functional.batch_norm(hidden, norm.running_mean, norm.running_var, norm.weight, norm.bias)
    return functional.conv2d(hidden, last.weight, last.bias, padding=1)


def test_a_call_returns_unit_flow_and_probability():
    model = build().eval()
    for head in (model.gradflow_head, model.cellprob_head):
        nn.init.normal_(head[-1].weight, std=3)
    with torch.no_grad():
        output, published = model(image()), model.published_output(image())
    assert output.shape == published.shape == (2, 3, 64, 96)
    assert output.dtype == torch.float32
    assert torch.equal(output[:, :2], published[:, :2] / 5)
    assert torch.equal(output[:, 2], published[:, 2].sigmoid())
    # Flows have both signs and any length.
    assert published[:, :2].min() < -1
    assert published[:, :2].max() > 1
    assert output[:, 2].min() >= 0
    assert output[:, 2].max() <= 1


def test_the_published_loss_is_the_documented_one():
    model = build().eval()
    truth = torch.rand(2, 1, 64, 96).round()
    flow = functional.normalize(torch.randn(2, 2, 64, 96), dim=1)
    raw, output = model.published_output(image()), model(image())
    published = functional.binary_cross_entropy_with_logits(raw[:, 2:], truth) + 0.5 * functional.mse_loss(
        raw[:, :2], 5 * flow
    )
    ours = functional.binary_cross_entropy(output[:, 2:], truth) + 12.5 * functional.mse_loss(output[:, :2], flow)
    torch.testing.assert_close(ours, published)


def test_every_parameter_gets_a_gradient():
    model = build()
    (model(image()) ** 2).sum().backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
        assert torch.isfinite(parameter.grad).all(), key
        assert parameter.grad.any(), key


def test_weights_follow_the_global_seed_bit_for_bit():
    first, again = build().state_dict(), build().state_dict()
    torch.manual_seed(2)
    other = build_model("mediar_former", **SMALL).state_dict()
    assert all(torch.equal(value, again[key]) for key, value in first.items())
    assert any(not torch.equal(value, other[key]) for key, value in first.items())


def test_fresh_weights_are_drawn_as_published():
    model = build()
    for layer in model.decoder.modules():
        if isinstance(layer, nn.Conv2d) and layer.weight.numel() > 200:
            # Uniform between +-bound, with a variance of 2 / fan_in.
            bound = (6 / layer.weight[0].numel()) ** 0.5
            assert 0.9 * bound < layer.weight.abs().max() <= bound
            assert layer.bias is None or not layer.bias.any()
    for head in (model.cellprob_head, model.gradflow_head):
        bound = head[0].weight[0].numel() ** -0.5
        assert 0.9 * bound < head[0].weight.abs().max() <= bound
        assert head[0].bias.any()
    assert all(
        (layer.weight == 1).all() and not layer.bias.any()
        for layer in model.modules()
        if isinstance(layer, nn.BatchNorm2d)
    )


def test_bfloat16_and_channels_last_change_rounding_only():
    model = build().eval()
    with torch.no_grad():
        exact = model(image())
        last = copy.deepcopy(model).to(memory_format=torch.channels_last)
        torch.testing.assert_close(last(image().to(memory_format=torch.channels_last)), exact, atol=1e-4, rtol=0)
        with torch.autocast("cpu", torch.bfloat16):
            mixed = model(image())
    assert mixed.dtype == torch.float32
    assert (mixed - exact).abs().mean() < 0.02


def test_weights_survive_a_file():
    model = build()
    model(image())
    stored = load(save({key: value.contiguous() for key, value in model.state_dict().items()}))
    torch.manual_seed(3)
    other = build_model("mediar_former", **SMALL)
    other.load_state_dict(stored)
    with torch.no_grad():
        assert torch.equal(other.eval()(image()), model.eval()(image()))


def test_description_adds_up():
    model = build()
    rows = describe_model(model, (1, 3, 32, 32))
    assert sum(row.parameters for row in rows if row.output_shape is not None) == count_parameters(model)


def test_other_channels_and_standardised_input():
    plain, scaled = build(in_channels=2).eval(), build(in_channels=2, input_mean=0.5, input_std=0.25).eval()
    batch = image(channels=2)
    with torch.no_grad():
        torch.testing.assert_close(scaled(batch), plain((batch - 0.5) / 0.25))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ((3, 64, 64), "(N, C, Y, X) was expected"),
        ((1, 3, 1, 64, 64), "(N, C, Y, X) was expected"),
        ((0, 3, 64, 64), "(N, C, Y, X) was expected"),
        ((1, 1, 64, 64), "given 1 channels, but it was built for 3"),
        ((1, 3, 64, 80), "(Y, X) = (64, 80), but they must be divisible by (32, 32)"),
        ((1, 3, 32, 32), "a single value to normalise"),
    ],
)
def test_an_input_of_the_wrong_form_is_refused_in_one_sentence(wrong, says):
    model = build()
    assert model.min_divisor == (32, 32)
    with pytest.raises(ValueError) as caught:
        model(torch.zeros(wrong))
    assert says in str(caught.value)
    assert "mediar_former" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"in_channels": 0}, "in_channels is 0"),
        ({"out_channels": 2}, "out_channels is 2, but 3 was expected: flow along y, flow along x, cell probability."),
        ({"encoder": "resnet34"}, "encoder is 'resnet34', but 'mit_b0', "),
        ({"decoder_channels": (64, 32)}, "five numbers, one a block"),
        ({"decoder_channels": (64, 32, 16, 8, 1)}, "each of decoder_channels is 1"),
        ({"attention_channels": True}, "attention_channels is True"),
        ({"widths": (4, 6)}, "has no option 'widths'"),
    ],
)
def test_bad_settings_are_refused_in_one_sentence(options, says):
    with pytest.raises(ValueError) as caught:
        build_model("mediar_former", **options)
    assert says in str(caught.value)
    assert "mediar_former" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_library_is_named_with_its_remedy(monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "segmentation_models_pytorch"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "segmentation_models_pytorch", None)
    with pytest.raises(ImportError, match=r"segmentation_models_pytorch cannot be imported .*\"emlib\[models\]\""):
        build_model("mediar_former")


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_gpu_gives_the_same():
    model = build().eval()
    expected = model(image())
    torch.testing.assert_close(model.cuda()(image().cuda()).cpu(), expected, atol=2e-3, rtol=0)
