"""The networks of the EM mitochondria pipeline: published counts, both outputs, prototypes, and their batch norm."""

import pytest
import torch
from safetensors.torch import load, save
from torch import nn
from torch.nn import functional

from emlib.models import AuxiliaryOutput, build_model, count_parameters, describe_model, noisy_prior

SMALL = {"widths": (4, 6, 8)}


def build(name, seed=0, **options):
    torch.manual_seed(seed)
    return build_model(name, **options)


def image(*size, batch=2):
    return torch.rand(batch, 1, *size, generator=torch.Generator().manual_seed(1))


def prior_of(batch):
    return noisy_prior(batch > 0.5, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize(
    ("name", "options", "count", "unused"),
    [
        ("unetv3", {}, 142_962, 1_952),
        ("unetv3", {"out_channels": 3}, 143_366, 1_952),
        ("unetv3", {"auxiliary": True}, 144_139, 1_952),
        ("unetv3", {"published_unused": False}, 141_010, 0),
        ("unetv3_ebd", {}, 160_784, 1_952),
        ("unetv3_ebd2", {}, 150_774, 1_952),
        ("unet2d_ebd", {}, 7_781_761, 0),
    ],
)
def test_published_parameter_counts(name, options, count, unused):
    model = build_model(name, **options)
    assert count_parameters(model) == count
    assert count_parameters(model, trained_only=True) == count - unused
    assert model.min_divisor == ((1, 8, 8) if name == "unet2d_ebd" else (1, 16, 16))


def test_unused_published_layers_change_no_prediction():
    full, lean = build("unetv3", **SMALL), build("unetv3", published_unused=False, **SMALL)
    lean.load_state_dict({key: value for key, value in full.state_dict().items() if key in lean.state_dict()})
    assert torch.equal(full(image(2, 8, 12)), lean(image(2, 8, 12)))


def test_unetv3_by_hand():
    """The whole network once more, from torch's functions and the weights in the order of their names."""
    model = build("unetv3", **SMALL).eval()
    for norm in (layer for layer in model.modules() if isinstance(layer, nn.BatchNorm3d)):
        for tensor in (norm.weight, norm.bias, norm.running_mean):
            nn.init.normal_(tensor, std=0.5)
        nn.init.uniform_(norm.running_var, 0.5, 2)
    state = model.state_dict()

    def conv_norm(x, key):
        weight = state[f"{key}.0.weight"]
        edge = [size // 2 for size in reversed(weight.shape[2:]) for _ in (0, 1)]
        x = functional.conv3d(functional.pad(x, edge, mode="replicate") if any(edge) else x, weight)
        return functional.batch_norm(
            x, *(state[f"{key}.1.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        )

    def stage(x, key, project=False):
        x = functional.elu(conv_norm(x, f"{key}.0"))
        change = conv_norm(functional.elu(conv_norm(x, f"{key}.1.change.0")), f"{key}.1.change.1")
        return functional.elu(change + (conv_norm(x, f"{key}.1.projection") if project else x))

    def up(x, key):
        x = functional.elu(conv_norm(x, key))
        return functional.interpolate(x, scale_factor=(1, 2, 2), mode="trilinear", align_corners=False)

    x = image(3, 8, 12)
    top = stage(functional.elu(conv_norm(x, "first")), "encoder.0")
    middle = stage(functional.max_pool3d(top, (1, 2, 2)), "encoder.1")
    bottom = stage(functional.max_pool3d(middle, (1, 2, 2)), "encoder.2", project=True)
    middle = stage(up(bottom, "narrow.1") + middle, "decoder.1")
    expected = torch.sigmoid(conv_norm(stage(up(middle, "narrow.0") + top, "decoder.0"), "head"))
    torch.testing.assert_close(model(x), expected, atol=1e-5, rtol=0)


def test_kernels_are_flat_at_full_resolution_and_cubes_below_it():
    kernels = {
        name: layer.kernel_size for name, layer in build("unetv3").named_modules() if isinstance(layer, nn.Conv3d)
    }
    assert kernels["first.0"] == kernels["head.0"] == (1, 5, 5)
    for name, kernel in kernels.items():
        if ".change." in name:
            assert kernel == ((1, 3, 3) if name.startswith(("encoder.0", "decoder.0")) else (3, 3, 3)), name


@pytest.mark.parametrize("widths", [(4, 6, 8), (4, 6, 8, 10), (8, 12, 16, 20, 24)])
def test_the_auxiliary_output_is_there_in_training_only(widths):
    model = build("unetv3", widths=widths, out_channels=2, auxiliary=True)
    batch = image(2, 16, 32)
    both = model(batch)
    assert isinstance(both, AuxiliaryOutput)
    auxiliary, output = both
    assert auxiliary.shape == (2, 2, 2, 4, 8)
    assert output.shape == (2, 2, 2, 16, 32)
    assert auxiliary.dtype == output.dtype == torch.float32
    assert auxiliary.min() > 0
    assert auxiliary.max() < 1
    alone = model.eval()(batch)
    plain = build_model("unetv3", widths=widths, out_channels=2)
    plain.load_state_dict({key: value for key, value in model.state_dict().items() if "auxiliary" not in key})
    assert torch.equal(alone, plain.eval()(batch))


def test_both_outputs_train_and_the_auxiliary_one_reaches_the_coarse_levels_only():
    model = build("unetv3", auxiliary=True, widths=(4, 6, 8, 10))
    auxiliary, output = model(image(2, 16, 16))
    (auxiliary.sum() + (output**2).sum()).backward()
    assert all(p.grad is not None and p.grad.any() for p in model.parameters() if p.requires_grad)
    model.zero_grad()
    model(image(2, 16, 16)).auxiliary.square().sum().backward()
    reached = {
        name.split(".")[0] + "." + name.split(".")[1] for name, p in model.named_parameters() if p.grad is not None
    }
    assert "decoder.2" in reached
    assert not reached & {"decoder.0", "decoder.1", "head.0"}


def test_tanh_is_the_other_end_of_the_same_network():
    probability, distance = (build("unetv3", output=output, **SMALL).eval() for output in ("sigmoid", "tanh"))
    values = distance(image(2, 8, 8))
    assert values.min() < 0
    torch.testing.assert_close(torch.atanh(values).sigmoid(), probability(image(2, 8, 8)), atol=1e-4, rtol=0)


class PublishedBatchNorm(nn.Module):
    """(x - mean) / sqrt(max(variance, eps)) of the batch, with the scale and shift of an ordinary batch norm."""

    def __init__(self, ordinary):
        super().__init__()
        self.ordinary = ordinary

    def forward(self, x):
        variance, mean = torch.var_mean(x, (0, 2, 3, 4), correction=0, keepdim=True)
        scale, shift = (value.view(1, -1, 1, 1, 1) for value in (self.ordinary.weight, self.ordinary.bias))
        return (x - mean) / variance.clamp(min=self.ordinary.eps).sqrt() * scale + shift


def test_ordinary_batch_norm_is_the_published_one_up_to_its_rule_for_small_variances():
    ordinary, published = build("unetv3", **SMALL).double(), build("unetv3", **SMALL).double()
    for layer in list(published.modules()):
        for name, child in layer.named_children():
            if isinstance(child, nn.BatchNorm3d):
                setattr(layer, name, PublishedBatchNorm(child))
    batch = image(2, 8, 12).double()
    here, there = ordinary(batch), published(batch)
    assert 1e-8 < (here - there).abs().max() < 1e-2
    for layer in [*ordinary.modules(), *published.modules()]:
        if isinstance(layer, nn.BatchNorm3d):
            layer.eps = 1e-300
    torch.testing.assert_close(ordinary(batch), published(batch), atol=1e-9, rtol=0)
    # Where a map is all but constant the two differ: 1 / sqrt(2) at a variance of eps.
    layer = nn.BatchNorm3d(1, eps=1e-2)
    flat = torch.tensor([-0.1, 0.1]).view(1, 1, 1, 1, 2)
    torch.testing.assert_close(layer(flat) * 2**0.5, PublishedBatchNorm(layer)(flat))


def test_batch_norms_become_torchs_synchronised_ones():
    for name in ("unetv3", "unetv3_ebd", "unetv3_ebd2"):
        model = build(name, **SMALL)
        count = sum(isinstance(layer, nn.BatchNorm3d) for layer in model.modules())
        synchronised = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        assert count == sum(isinstance(layer, nn.SyncBatchNorm) for layer in synchronised.modules()) > 10


def test_prototypes_by_hand():
    model = build("unetv3_ebd", **SMALL)
    batch = image(3, 8, 12)
    prior = prior_of(batch) * 0.9
    seen = {}
    for name in ("features", "prototype_features"):
        getattr(model, name).register_forward_hook(lambda _l, _i, output, name=name: seen.update({name: output}))
    probability = model(batch, prior)
    assert probability.shape == batch.shape
    for n in range(2):
        f, p, m = seen["features"][n], seen["prototype_features"][n], prior[n, 0]
        c_fg = torch.stack([(channel * m).sum() / m.sum() for channel in p])
        c_bg = torch.stack([(channel * (1 - m)).sum() / (1 - m).sum() for channel in p])
        to_fg, to_bg = (((f - c.view(-1, 1, 1, 1)) ** 2).sum(0).sqrt() for c in (c_fg, c_bg))
        torch.testing.assert_close(probability[n, 0], torch.sigmoid(to_bg - to_fg))


def test_published_prototypes_are_one_per_column_and_shared_divisors():
    correct, published = (build("unetv3_ebd", prototype_sums=rule, **SMALL) for rule in ("sample", "published"))
    batch = image(3, 8, 12)
    prior = prior_of(batch)
    seen = {}
    for name in ("features", "prototype_features"):
        getattr(published, name).register_forward_hook(lambda _l, _i, output, name=name: seen.update({name: output}))
    probability = published(batch, prior)
    f, p = seen["features"], seen["prototype_features"]
    distances = []
    for share in (prior, 1 - prior):
        column = torch.einsum("nczyx,nzyx->ncx", p, share[:, 0]) / share.sum()
        distances.append((f - column[:, :, None, None, :]).norm(dim=1, keepdim=True))
    torch.testing.assert_close(probability, torch.sigmoid(distances[1] - distances[0]))
    assert (correct(batch, prior) - probability).abs().max() > 1e-3


def test_a_sample_does_not_see_the_prior_of_another():
    batch = image(2, 8, 8)
    prior = prior_of(batch)
    for rule, alone in (("sample", True), ("published", False)):
        model = build("unetv3_ebd", prototype_sums=rule, **SMALL).eval()
        other = torch.cat([prior[:1], prior[1:] * 0.5])
        assert torch.equal(model(batch, prior)[0], model(batch, other)[0]) == alone


def test_a_prior_of_one_class_decides_alone_with_finite_gradients():
    model, batch = build("unetv3_ebd", **SMALL), image(2, 8, 8)
    prior = prior_of(batch)
    prior[0] = 0
    output = model(batch, prior)
    assert not output[0].any()
    assert output[1].std() > 0
    assert (model(batch, torch.ones_like(prior)) == 1).all()
    (output**2).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.requires_grad)


def test_a_prior_is_needed_and_has_the_form_of_a_mask():
    model, batch = build("unetv3_ebd", **SMALL), image(2, 8, 8)
    assert model.needs_prior
    with pytest.raises(ValueError, match="was given no prior"):
        model(batch)
    with pytest.raises(ValueError, match=r"prior of shape \(1, 1, 2, 8, 8\), but \(2, 1, 2, 8, 8\)"):
        model(batch, prior_of(batch)[:1])
    for value in (2, 0, True):
        with pytest.raises(ValueError, match=f"out_channels is {value}"):
            build_model("unetv3_ebd", out_channels=value)


def test_a_noisy_prior_turns_its_share():
    mask = torch.zeros(1, 1, 8, 320, 320)
    mask[..., 160:] = 7
    before = mask.clone()
    prior = noisy_prior(mask, generator=torch.Generator().manual_seed(0))
    again = noisy_prior(mask, generator=torch.Generator().manual_seed(0))
    assert torch.equal(prior, again)
    assert torch.equal(mask, before)
    turned = prior != (mask > 0)
    assert float(turned.float().mean()) == pytest.approx(0.05, abs=0.001)
    assert float(turned[..., :160].float().mean()) == pytest.approx(0.05, abs=0.002)
    assert torch.equal(noisy_prior(mask, share=0), (mask > 0).float())
    with pytest.raises(ValueError, match="number from 0 to 1"):
        noisy_prior(mask, share=5)


def test_mask_and_embedding():
    model = build("unetv3_ebd2", **SMALL)
    batch = image(3, 8, 12)
    early = []
    model.decoder[0][0].register_forward_hook(lambda _l, _i, output: early.append(output.detach().clone()))
    model.eval()
    output = model(batch)
    mask, embedding = model.heads(batch)
    assert output.shape == (2, 37, 3, 8, 12)
    assert torch.equal(output, torch.cat([mask, embedding], dim=1))
    assert 0 < mask.min() < mask.max() < 1
    padded = functional.pad(early[0], (1,) * 6, mode="replicate")
    torch.testing.assert_close(embedding, functional.conv3d(padded, model.embedding.weight, model.embedding.bias))
    assert build("unetv3_ebd2", out_channels=5, **SMALL)(batch).shape == (2, 5, 3, 8, 12)
    with pytest.raises(ValueError, match="out_channels is 1, but a whole number of at least 2"):
        build_model("unetv3_ebd2", out_channels=1)


def test_unet2d_sees_one_section_at_a_time():
    model = build("unet2d_ebd", widths=(4, 6, 8)).eval()
    stack = image(4, 8, 12)
    whole = model(stack)
    for section in range(4):
        alone = model(stack[:, :, section : section + 1])
        torch.testing.assert_close(whole[:, :, section : section + 1], alone, atol=1e-6, rtol=0)


def test_unet2d_by_hand():
    """With 2-D layers, from the weights in their order."""
    model = build("unet2d_ebd", widths=(4, 6))
    weights = [p.detach()[:, :, 0] if p.ndim == 5 else p.detach() for p in model.parameters()]
    pairs = list(zip(weights[::2], weights[1::2], strict=True))

    def double(x, index):
        for weight, bias in pairs[index : index + 2]:
            x = functional.relu(functional.conv2d(x, weight, bias, padding=1))
        return x

    x = image(1, 8, 12)[:, :, 0]
    top = double(x, 0)
    bottom = double(functional.max_pool2d(top, 2), 2)
    up = functional.interpolate(bottom, scale_factor=2, mode="bilinear", align_corners=True)
    logits = functional.conv2d(double(torch.cat([up, top], dim=1), 4), *pairs[6])
    torch.testing.assert_close(model(x[:, :, None])[:, :, 0], torch.sigmoid(logits))


@pytest.mark.parametrize("name", ["unetv3_ebd", "unetv3_ebd2"])
def test_what_holds_for_every_network(name):
    """Seeds, gradients, a file, half precision, a description and refusals, for the two of other forms."""
    batch = image(3, 8, 12)
    inputs = (batch, prior_of(batch)) if name == "unetv3_ebd" else (batch,)
    model, again, other = build(name, **SMALL), build(name, **SMALL), build(name, 1, **SMALL)
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in model.state_dict().items())
    assert any(not torch.equal(value, other.state_dict()[key]) for key, value in model.state_dict().items())
    exact = model(*inputs)
    (exact**2).sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in model.parameters() if p.requires_grad)
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.requires_grad)
    other.load_state_dict(load(save({key: value.contiguous() for key, value in model.state_dict().items()})))
    assert torch.equal(other.eval()(*inputs), model.eval()(*inputs))
    with torch.autocast("cpu", torch.bfloat16):
        mixed = again(*inputs)
    assert mixed.dtype == torch.float32
    assert torch.isfinite(mixed).all()
    assert (mixed - exact).abs().mean() < 0.05
    scaled = build(name, input_mean=0.5, input_std=0.25, **SMALL).eval()
    plain = build(name, **SMALL).eval()
    torch.testing.assert_close(scaled(*inputs), plain((batch - 0.5) / 0.25, *inputs[1:]))
    rows = describe_model(model, (2, 1, 3, 8, 12))
    assert sum(row.parameters for row in rows) == count_parameters(model)
    used = sum(row.parameters for row in rows if row.output_shape is not None)
    assert used == count_parameters(model, trained_only=True)


@pytest.mark.parametrize("name", ["unetv3", "unetv3_ebd", "unetv3_ebd2", "unet2d_ebd"])
def test_sizes_that_do_not_divide_are_refused_in_one_sentence(name):
    model = build(name, **SMALL)
    for size in ((3, 8, 10), (3, 9, 8)):
        batch = image(*size)
        with pytest.raises(ValueError) as caught:
            model(batch, prior_of(batch)) if name == "unetv3_ebd" else model(batch)
        assert str(caught.value) == f"{name} was given (Z, Y, X) = {size}, but they must be divisible by (1, 4, 4)."


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"name": "unetv3", "output": "softmax"}, "output is 'softmax', but 'sigmoid' or 'tanh' was expected"),
        ({"name": "unetv3", "auxiliary": True, "widths": (4, 6)}, "auxiliary needs at least 3 widths"),
        ({"name": "unetv3", "padding": "reflect"}, "'replicate' or 'zeros' was expected"),
        ({"name": "unetv3", "aux": True}, "did you mean 'auxiliary'"),
        ({"name": "unetv3_ebd", "prototype_sums": "right"}, "'sample' or 'published' was expected"),
        ({"name": "unet2d_ebd", "widths": (4,)}, "at least two whole numbers"),
    ],
)
def test_bad_settings_are_refused(arguments, says):
    with pytest.raises(ValueError, match=says):
        build_model(**arguments)


def test_an_input_that_leaves_batch_norm_a_single_value_is_refused_in_training():
    model = build("unetv3", **SMALL)
    with pytest.raises(ValueError, match="unetv3: the input shrinks to 1 x 1 x 1"):
        model(image(1, 4, 4, batch=1))
    assert model.eval()(image(1, 4, 4, batch=1)).shape == (1, 1, 1, 4, 4)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", ["unetv3_ebd", "unetv3_ebd2"])
def test_the_gpu_gives_the_same(name):
    batch = image(3, 8, 12)
    inputs = (batch, prior_of(batch)) if name == "unetv3_ebd" else (batch,)
    model = build(name, **SMALL).eval()
    expected = model(*inputs)
    there = model.cuda()(*(tensor.cuda() for tensor in inputs)).cpu()
    torch.testing.assert_close(there, expected, atol=2e-3, rtol=0)
