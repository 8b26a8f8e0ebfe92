"""The networks of PyTorch Connectomics: published counts, any size, anisotropy, and what they refuse."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from emlib.models import build_model, count_parameters, describe_model

SNEMI = {"widths": (32, 64, 96, 128, 160), "norm": "gn"}
PUBLISHED = {"published_kernels": True}


@pytest.mark.parametrize(
    ("name", "options", "count"),
    [
        ("unet_3d", {"out_channels": 3}, 924_603),
        ("unet_3d", {"out_channels": 3, "block": "residual_se_pa"}, 936_283),
        ("unet_3d", {"out_channels": 3} | SNEMI, 3_500_931),
        ("unet_3d", {"block": "residual_se"} | SNEMI, 3_543_650),
        ("unet_3d", {"out_channels": 1, "isotropy": True}, 1_041_409),
        ("unet_plus_3d", {"block": "residual_se"} | SNEMI, 3_647_410),
        ("unet_plus_3d", {"block": "residual_se"} | SNEMI | {"norm": "bn"}, 3_647_410),
    ],
)
def test_published_parameter_counts(name, options, count):
    model = build_model(name, **options, **PUBLISHED)
    assert count_parameters(model) == count_parameters(model, trained_only=True) == count
    assert model.min_divisor == (1, 1, 1)


def test_published_parameter_count_in_2d():
    assert count_parameters(build_model("unet_2d", out_channels=3, norm="gn")) == 11_006_787


def test_all_kernels_follow_isotropy_unless_the_published_ones_are_asked_for():
    def kernels(**options):
        model = build_model("unet_3d", widths=(4, 6, 8), isotropy=(False, True, True), **options)
        return {name: layer.kernel_size for name, layer in model.named_modules() if hasattr(layer, "kernel_size")}

    right, published = kernels(), kernels(published_kernels=True)
    for name, kernel in right.items():
        # Full resolution: both ends, the first level of the encoder, the last block of the decoder. What narrows
        # works at the resolution of the level that it comes from.
        flat = name.startswith(("first", "head", "encoder.0", "decoder.0"))
        size = 5 if name.startswith(("first", "head")) else 3
        assert kernel == ((1 if flat else size), size, size), name
        inside_block = ".change." in name
        assert published[name] == ((1, 3, 3) if inside_block else kernel), name


def test_isotropic_networks_begin_and_end_with_cubes():
    model = build_model("unet_3d", widths=(4, 6), isotropy=True)
    assert model.first[0].kernel_size == model.head.kernel_size == (5, 5, 5)


def test_each_level_is_halved_along_the_axes_of_its_flag():
    """The published default on a published size: z is kept twice and halved twice."""
    model = build_model("unet_3d", widths=(4, 6, 8, 10, 12))
    shapes = {row.name: row.output_shape[2:] for row in describe_model(model, (1, 1, 17, 65, 33)) if row.output_shape}
    ends = [shapes[f"encoder.{level}.1.after"] for level in range(5)]
    assert ends == [(17, 65, 33), (17, 33, 17), (17, 17, 9), (9, 9, 5), (5, 5, 3)]


@settings(max_examples=20)
@given(
    st.sampled_from(["unet_3d", "unet_plus_3d", "unet_2d", "fpn_3d"]),
    st.tuples(*[st.integers(1, 19)] * 3),
    st.booleans(),
    st.sampled_from([None, True, False]),
)
def test_any_size_goes_in_and_comes_out(name, size, pooling, isotropy):
    options = {"widths": (2, 3, 4, 5)}
    options |= {} if name == "unet_2d" else {"isotropy": isotropy}
    options |= {} if name == "fpn_3d" else {"pooling": pooling}
    model = build_model(name, **options).eval()
    with torch.no_grad():
        assert model(torch.rand(1, 1, *size)).shape == (1, 2, *size)


@pytest.mark.parametrize("pooling", [False, True])
def test_coarse_levels_lie_symmetrically_on_the_fine_ones(pooling):
    """With weights that are symmetric along x, a mirrored image of a published size gives the mirrored prediction."""
    torch.manual_seed(0)
    model = build_model("unet_3d", widths=(4, 6, 8), pooling=pooling).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 5:
                parameter.copy_((parameter + parameter.flip(4)) / 2)
    # Strided levels lie symmetrically on 2 ** k n + 1 voxels, pooled ones on 2 ** k n.
    image = torch.rand(1, 1, 3, 9, 16 if pooling else 17)
    torch.testing.assert_close(model(image.flip(4)), model(image).flip(4), atol=1e-5, rtol=0)


@pytest.mark.parametrize("norm", ["bn", "gn", "in"])
def test_unet_2d_sees_one_section_at_a_time(norm):
    torch.manual_seed(0)
    model = build_model("unet_2d", widths=(8, 16), block="residual_se", norm=norm)
    stack = torch.rand(2, 1, 4, 9, 10)
    if norm == "bn":
        model(stack)
        model.eval()
    whole = model(stack)
    for section in range(4):
        alone = model(stack[:, :, section : section + 1])
        torch.testing.assert_close(whole[:, :, section : section + 1], alone, atol=1e-5, rtol=0)


def test_a_flat_3d_network_is_the_2d_one():
    flat = build_model("unet_3d", widths=(4, 6, 8), isotropy=False).eval()
    sections = build_model("unet_2d", widths=(4, 6, 8)).eval()
    sections.load_state_dict(flat.state_dict())
    image = torch.rand(1, 1, 3, 9, 10)
    torch.testing.assert_close(sections(image), flat(image), atol=1e-5, rtol=0)


def test_unet_plus_starts_as_the_network_without_attention_and_uses_the_context_at_every_level():
    torch.manual_seed(0)
    model = build_model("unet_plus_3d", widths=(4, 6, 8)).eval()
    image = torch.rand(1, 1, 3, 17, 18)
    before = model(image)
    attention, model.attention = model.attention, torch.nn.Identity()
    assert torch.equal(model(image), before)
    model.attention = attention
    for level in model.context:
        scale = level[1].weight.detach().clone()
        torch.nn.init.zeros_(level[1].weight)
        assert not torch.equal(model(image), before)
        level[1].weight.data.copy_(scale)


def test_fpn_reads_every_level():
    torch.manual_seed(0)
    model = build_model("fpn_3d", widths=(4, 6, 8), blocks=1).eval()
    image = torch.rand(1, 1, 3, 17, 18)
    before = model(image)
    for smooth in model.smooth:
        scale = smooth[1].weight.detach().clone()
        torch.nn.init.zeros_(smooth[1].weight)
        assert not torch.equal(model(image), before)
        smooth[1].weight.data.copy_(scale)


@pytest.mark.parametrize("name", ["unet_3d", "unet_plus_3d", "fpn_3d", "unet_2d"])
def test_an_input_that_leaves_a_single_value_to_normalise_is_refused(name):
    tiny = torch.rand(1, 1, 1, 2, 2)
    by_batch, by_instance, by_group = (build_model(name, widths=(8, 16), norm=norm) for norm in ("bn", "in", "gn"))
    for model in (by_batch, by_instance, by_group, copy.deepcopy(by_instance).eval()):
        with pytest.raises(ValueError, match=f"{name}: the input shrinks to 1 x 1 x 1 at the lowest level"):
            model(tiny)
    assert by_batch.eval()(tiny).shape == (1, 2, 1, 2, 2)
    assert build_model(name, widths=(16, 24), norm="gn")(tiny).shape == (1, 2, 1, 2, 2)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"name": "unet_3d", "norm": "gn"}, "a width of 28 is not divisible by 8"),
        ({"name": "unet_plus_3d", "norm": "gn"}, "unet_plus_3d: norm 'gn'"),
        ({"name": "fpn_3d", "norm": "gn", "pyramid_width": 12}, "a width of 12 is not divisible by 8"),
        ({"name": "unet_3d", "norm": "sync_bn"}, "'bn', 'gn', 'in' or 'none' was expected"),
        ({"name": "unet_3d", "block": "basic"}, "block is 'basic', but 'residual', 'residual_pa'"),
        ({"name": "unet_3d", "activation": "swish"}, "activation is 'swish'"),
        ({"name": "unet_3d", "padding": "reflect"}, "'replicate' or 'zeros' was expected"),
        ({"name": "unet_3d", "isotropy": (False, True)}, "true or false for each of the 5 levels"),
        ({"name": "unet_3d", "isotropy": (0, 0, 0, 1, 1)}, "true or false for each of the 5 levels"),
        ({"name": "unet_3d", "widths": (4,)}, "at least two whole numbers"),
        ({"name": "unet_2d", "isotropy": True}, "has no option 'isotropy'"),
        ({"name": "unet_3d", "isotropic": True}, "did you mean 'isotropy'"),
        ({"name": "fpn_3d", "backbone": "repvgg"}, "'resnet' or 'efficientnet' was expected"),
        ({"name": "fpn_3d", "blocks": 0}, "blocks is 0"),
        ({"name": "fpn_3d", "pyramid_width": 2.5}, "pyramid_width is 2.5"),
    ],
)
def test_bad_settings_are_refused_in_one_sentence(arguments, says):
    with pytest.raises(ValueError) as caught:
        build_model(**arguments)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
