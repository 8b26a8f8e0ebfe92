"""What holds for every network of the table: shapes, gradients, seeds, precision, checkpoints, refusals."""

import copy
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load, save

from emlib.models import build_model, count_parameters, describe_model, list_models

THREE = {"widths": (8, 16, 24), "isotropy": (False, False, True)}
# name, options, an input size that is neither square nor a power of two where the network allows it
NETWORKS = [
    ("rsunet", {"widths": (4, 6)}, (3, 6, 8)),
    ("unet_residual_3d", {"widths": (4, 6)}, (3, 6, 8)),
    ("unet_3d", THREE, (3, 9, 10)),
    ("unet_3d", THREE | {"block": "residual_pa", "norm": "gn", "padding": "zeros"}, (4, 9, 7)),
    ("unet_3d", THREE | {"block": "residual_se", "norm": "in", "pooling": True}, (5, 7, 12)),
    ("unet_3d", THREE | {"block": "residual_se_pa", "norm": "none", "activation": "silu"}, (3, 9, 10)),
    ("unet_3d", THREE | {"block": "residual_pa", "norm": "none"}, (3, 9, 10)),
    ("unet_plus_3d", THREE | {"block": "residual_se"}, (3, 9, 10)),
    ("unet_plus_3d", THREE | {"norm": "none", "pooling": True}, (3, 9, 10)),
    ("unet_2d", {"widths": (8, 16), "norm": "gn"}, (3, 9, 10)),
    ("fpn_3d", THREE | {"blocks": 1}, (3, 9, 10)),
    ("fpn_3d", THREE | {"backbone": "efficientnet", "norm": "gn", "blocks": 1, "pyramid_width": 16}, (3, 9, 10)),
    ("dynunet", THREE, (4, 12, 8)),
    ("dynunet", THREE | {"residual": True, "norm": "bn", "activation": "relu"}, (4, 12, 8)),
    ("monai_unet", THREE | {"residual_units": 1}, (4, 12, 8)),
    ("segresnet", {"widths": (8, 16, 32), "blocks": 1}, (4, 12, 8)),
    ("swin_unetr", {"feature_size": 12, "depths": (1, 1, 1, 1), "attention_window": 4}, (32, 32, 64)),
    ("unet2d_ebd", {"widths": (4, 6, 8)}, (3, 8, 12)),
    ("unetv3", {"widths": (4, 6, 8)}, (3, 8, 12)),
    ("unetv3", {"widths": (4, 6), "padding": "zeros", "published_unused": False}, (3, 8, 6)),
    (
        "unetr",
        {"window": (16, 32, 16), "feature_size": 4, "hidden_size": 12, "mlp_size": 24, "heads": 3},
        (16, 32, 16),
    ),
]
# These take images; what holds for them is in test_mediar_former.py and test_mask_rcnn.py.
IMAGE_NETWORKS = {"mediar_former"} | {f"mask_rcnn_{size}" for size in ("r50_fpn", "r101_fpn", "x101_32x8d_fpn", "tiny")}
# A prior beside the image, or an embedding beside a probability; test_unetv3.py is of them.
OTHER_NETWORKS = {"unetv3_ebd", "unetv3_ebd2"}
SLOWER = ("swin_unetr", "unetr")
every_network = pytest.mark.parametrize(
    ("name", "options", "size"), NETWORKS, ids=[f"{number}-{name}" for number, (name, _, _) in enumerate(NETWORKS)]
)


def build(name, options, **more):
    torch.manual_seed(0)
    return build_model(name, **options, **more)


def image(size, batch=2, channels=1):
    torch.manual_seed(1)
    return torch.rand(batch, channels, *size)


def test_the_cases_above_are_the_whole_table():
    assert list_models() == sorted({name for name, _, _ in NETWORKS} | IMAGE_NETWORKS | OTHER_NETWORKS)


@every_network
def test_output_is_a_float32_probability_of_the_input_size(name, options, size):
    for out_channels in (1, 3):
        output = build(name, options, in_channels=2, out_channels=out_channels)(image(size, channels=2))
        assert output.shape == (2, out_channels, *size)
        assert output.dtype == torch.float32
        assert output.min() >= 0
        assert output.max() <= 1
        assert output.std() > 0


@every_network
def test_every_trained_parameter_gets_a_gradient(name, options, size):
    model = build(name, options)
    if name == "unet_plus_3d":
        # The attention starts as the identity: what lies before its zeros learns from the second step on.
        torch.nn.init.normal_(model.attention.out[0].weight)
        if options.get("norm") != "none":
            torch.nn.init.normal_(model.attention.out[1].weight)
    (model(image(size)) ** 2).sum().backward()
    for key, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, key
            assert torch.isfinite(parameter.grad).all(), key
            # A key's bias adds the same to all products of a voxel, which the softmax does not see.
            assert parameter.grad.any() or key == "attention.key.bias", key


@every_network
def test_weights_follow_the_global_seed_bit_for_bit(name, options, size):
    first, again = build(name, options).state_dict(), build(name, options).state_dict()
    torch.manual_seed(2)
    other = build_model(name, **options).state_dict()
    assert first.keys() == again.keys() == other.keys()
    assert all(torch.equal(value, again[key]) for key, value in first.items())
    assert any(not torch.equal(value, other[key]) for key, value in first.items())


@every_network
def test_bfloat16_autocast_with_channels_last_is_finite_and_close(name, options, size):
    model = build(name, options)
    batch = image(size)
    exact = model(batch)
    mixed_model = copy.deepcopy(model).to(memory_format=torch.channels_last_3d)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = mixed_model(batch.to(memory_format=torch.channels_last_3d))
    assert mixed.dtype == torch.float32
    assert torch.isfinite(mixed).all()
    assert (mixed - exact).abs().mean() < 0.02
    mixed.mean().backward()
    assert all(torch.isfinite(p.grad).all() for p in mixed_model.parameters() if p.grad is not None)


@every_network
def test_channels_last_changes_rounding_only(name, options, size):
    model = build(name, options).eval()
    before = model(image(size))
    after = model.to(memory_format=torch.channels_last_3d)(image(size).to(memory_format=torch.channels_last_3d))
    torch.testing.assert_close(before, after, atol=1e-4, rtol=0)


@every_network
def test_weights_survive_a_file(name, options, size):
    """Through safetensors, which refuses a tensor that is stored under two names."""
    model = build(name, options)
    model(image(size))
    stored = load(save({key: value.contiguous() for key, value in model.state_dict().items()}))
    torch.manual_seed(3)
    other = build_model(name, **options)
    other.load_state_dict(stored)
    assert torch.equal(other.eval()(image(size)), model.eval()(image(size)))


@every_network
def test_description_adds_up(name, options, size):
    model = build(name, options)
    rows = describe_model(model, (2, 1, *size))
    assert sum(row.parameters for row in rows) == count_parameters(model)
    used = sum(row.parameters for row in rows if row.output_shape is not None)
    # A transformer's table of positions belongs to a layer that is read, not called.
    assert used == count_parameters(model, trained_only=True) or name in SLOWER


@every_network
def test_standardised_input_is_the_same_network_on_another_scale(name, options, size):
    plain = build(name, options).eval()
    scaled = build(name, options, input_mean=0.5, input_std=0.25).eval()
    torch.testing.assert_close(scaled(image(size)), plain((image(size) - 0.5) / 0.25))


@every_network
def test_an_input_of_the_wrong_form_is_refused_in_one_sentence(name, options, size):
    model = build(name, options)
    wrong = [
        (torch.zeros(1, *size), "(N, C, Z, Y, X) was expected"),
        (torch.zeros(1, 1, 0, *size[1:]), "(N, C, Z, Y, X) was expected"),
        (torch.zeros(1, 2, *size), "given 2 channels, but it was built for 1"),
    ]
    if model.min_divisor != (1, 1, 1):
        wrong.append((torch.zeros(1, 1, size[0], size[1], size[2] + 1), "divisible by"))
    for bad, says in wrong:
        with pytest.raises(ValueError) as caught:
            model(bad)
        assert says in str(caught.value)
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)


@every_network
def test_channel_numbers_are_checked(name, options, size):
    for key, value in (("in_channels", 0), ("out_channels", True), ("out_channels", 1.0)):
        with pytest.raises(ValueError, match=f"{name}: {key} is {value}"):
            build_model(name, **options | {key: value})


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@every_network
def test_the_gpu_gives_the_same(name, options, size):
    model = build(name, options).eval()
    expected = model(image(size))
    torch.testing.assert_close(model.cuda()(image(size).cuda()).cpu(), expected, atol=2e-3, rtol=0)


def test_a_list_of_models_imports_no_library_of_networks():
    code = (
        "import sys; from emlib.models import build_model, list_models; list_models(); "
        "build_model('unet_3d', widths=(4, 6)); "
        "late = {'monai', 'segmentation_models_pytorch', 'timm', 'torchvision'}; "
        "sys.exit(any(name.split('.')[0] in late for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_missing_monai_is_named_with_its_remedy(monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "monai"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "monai", None)
    with pytest.raises(ImportError, match=r"MONAI cannot be imported .*pip install \"emlib\[models\]\""):
        build_model("dynunet")
