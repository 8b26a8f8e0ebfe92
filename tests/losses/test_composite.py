"""The sum of losses over outputs: channels, weights counted once, class weights and masks."""

from types import SimpleNamespace

import pytest
import torch

from emlib.losses import CompositeLoss, build_loss
from emlib.recipe import load_recipe
from emlib.targets import channel_count, class_weights


def term(name, weight=1.0, class_weight="0", **options):
    return SimpleNamespace(name=name, weight=weight, class_weight=class_weight, options=options)


@pytest.fixture
def tensors():
    generator = torch.Generator().manual_seed(0)
    shape = (2, 4, 2, 6, 6)
    return torch.rand(shape, generator=generator), (torch.rand(shape, generator=generator) > 0.7).float()


def test_each_weight_counts_once_and_channels_are_split(tensors):
    prediction, target = tensors
    mask_terms, edge_terms = [term("WeightedBCE", 0.5), term("DiceLoss", 3.0)], [term("DiceLoss", 0.25)]
    loss = CompositeLoss([("mask", 1, mask_terms), ("edges", 3, edge_terms)])
    total, parts = loss(prediction, target)
    expected = {
        "mask/WeightedBCE": build_loss("WeightedBCE")(prediction[:, :1], target[:, :1]),
        "mask/DiceLoss": build_loss("DiceLoss")(prediction[:, :1], target[:, :1]),
        "edges/DiceLoss": build_loss("DiceLoss")(prediction[:, 1:], target[:, 1:]),
    }
    assert parts == expected
    bce, dice, edges = (float(value) for value in expected.values())
    assert float(total) == pytest.approx(0.5 * bce + 3 * dice + 0.25 * edges)
    assert loss.channels == {"mask": slice(0, 1), "edges": slice(1, 4)}


def test_terms_of_weight_zero_are_not_computed(tensors):
    prediction, target = tensors
    loss = CompositeLoss([("all", 4, [term("WeightedBCE"), term("DiceLoss", 0.0, "1")])])
    total, parts = loss(prediction, target)
    assert list(parts) == ["all/WeightedBCE"]
    assert float(total) == float(build_loss("WeightedBCE")(prediction, target))


def test_class_weights_are_made_for_each_output_and_sample(tensors):
    prediction, target = tensors
    outputs = [("mask", 1, [term("WeightedBCE", class_weight="1")]), ("edges", 3, [term("WeightedMSE", 2.0)])]
    _, parts = CompositeLoss(outputs, class_weights=class_weights)(prediction, target)
    weight = torch.stack([class_weights(sample[:1], "1") for sample in target])
    assert parts == {
        "mask/WeightedBCE": build_loss("WeightedBCE")(prediction[:, :1], target[:, :1], weight),
        "edges/WeightedMSE": build_loss("WeightedMSE")(prediction[:, 1:], target[:, 1:]),
    }


def test_masked_voxels_do_not_count(tensors):
    prediction, target = tensors
    mask = torch.ones(2, 1, 2, 6, 6, dtype=torch.bool)
    mask[..., 0] = False
    outputs = [("all", 4, [term("WeightedBCE", class_weight="1"), term("DiceLoss")])]
    loss = CompositeLoss(outputs, class_weights=class_weights)
    changed, other = prediction.clone(), target.clone()
    changed[..., 0], other[..., 0] = 0.5, 1
    assert float(loss(prediction, target, mask)[0]) == float(loss(changed, other, mask)[0])


def test_only_the_total_carries_the_gradient(tensors):
    prediction, target = tensors
    prediction.requires_grad_()
    loss = CompositeLoss([("a", 2, [term("DiceLoss")]), ("b", 2, [term("WeightedBCE", 0.0)])])
    total, parts = loss(prediction, target)
    total.backward()
    assert prediction.grad[:, :2].abs().sum() > 0
    assert prediction.grad[:, 2:].abs().sum() == 0
    assert not any(value.requires_grad for value in parts.values())


def test_it_takes_the_recipes_terms():
    target = load_recipe("1_mitochondria_contours").target
    outputs = [(output.name, channel_count(output.option), output.losses) for output in target.outputs]
    loss = CompositeLoss(outputs, class_weights=class_weights)
    total, parts = loss(torch.full((1, 2, 2, 4, 4), 0.5), torch.zeros(1, 2, 2, 4, 4))
    assert set(parts) == {"mask/WeightedBCE", "contour/WeightedBCE"}
    assert float(total) == pytest.approx(2 * 0.6931472)


def test_a_term_may_have_options(tensors):
    prediction, target = tensors
    loss = CompositeLoss([("all", 4, [term("OhemBCE", kept=3, threshold=0.1)])])
    expected = build_loss("OhemBCE", kept=3, threshold=0.1)(prediction, target)
    assert float(loss(prediction, target)[0]) == float(expected)
    with pytest.raises(ValueError, match="kept of OhemBCE is 0"):
        CompositeLoss([("all", 4, [term("OhemBCE", kept=0)])])


def test_an_embedding_is_compared_with_one_channel_of_labels():
    generator = torch.Generator().manual_seed(0)
    prediction = torch.rand(2, 6, 2, 6, 6, generator=generator)
    labels = torch.randint(0, 4, (2, 1, 2, 6, 6), generator=generator).float()
    target = torch.cat([(labels > 0).float(), labels], dim=1)
    outputs = [("mask", 1, [term("WeightedBCE", class_weight="1")]), ("embedding", 5, [term("Discriminative", 2.0)], 1)]
    loss = CompositeLoss(outputs, class_weights=class_weights)
    mask = torch.ones(2, 1, 2, 6, 6, dtype=torch.bool)
    mask[..., 0] = False
    for valid in (None, mask):
        total, parts = loss(prediction, target, valid)
        weight = class_weights(target[:, :1], "1", valid)
        assert parts["mask/WeightedBCE"] == build_loss("WeightedBCE")(prediction[:, :1], target[:, :1], weight)
        assert parts["embedding/Discriminative"] == build_loss("Discriminative")(prediction[:, 1:], labels, valid)
        assert float(total) == pytest.approx(float(sum(parts.values()) + parts["embedding/Discriminative"]))
    assert loss.channels == {"mask": slice(0, 1), "embedding": slice(1, 6)}
    both = CompositeLoss([("mask and embedding", 6, [term("NearestPrototype")], 1)])
    expected = build_loss("NearestPrototype")(prediction, labels)
    assert float(both(prediction, labels)[0]) == float(expected)
    with pytest.raises(ValueError, match="but they must fit, with 2 channels"):
        loss(prediction, labels)
    with pytest.raises(ValueError, match="'embedding' has 0 channels in the target"):
        CompositeLoss([("embedding", 5, [term("Discriminative")], 0)])


def test_an_auxiliary_output_goes_to_the_losses_that_take_it(tensors):
    prediction, target = tensors
    auxiliary = prediction[..., ::2, ::2].flip(4)
    outputs = [("mask", 1, [term("AuxBCE"), term("DiceLoss", 3.0)]), ("edges", 3, [term("AuxMSE", 0.5, factor=1.0)])]
    loss = CompositeLoss(outputs)
    total, parts = loss((auxiliary, prediction), target)
    assert parts == {
        "mask/AuxBCE": build_loss("AuxBCE")((auxiliary[:, :1], prediction[:, :1]), target[:, :1]),
        "mask/DiceLoss": build_loss("DiceLoss")(prediction[:, :1], target[:, :1]),
        "edges/AuxMSE": build_loss("AuxMSE", factor=1.0)((auxiliary[:, 1:], prediction[:, 1:]), target[:, 1:]),
    }
    bce, dice, mse = (float(value) for value in parts.values())
    assert float(total) == pytest.approx(bce + 3 * dice + 0.5 * mse)
    # In evaluation there is no auxiliary output.
    assert float(loss(prediction, target)[1]["mask/AuxBCE"]) == float(
        build_loss("WeightedBCE")(prediction[:, :1], target[:, :1])
    )
    with pytest.raises(ValueError, match="has an auxiliary output, but no loss takes it"):
        CompositeLoss([("all", 4, [term("WeightedBCE")])])((auxiliary, prediction), target)


def test_bad_outputs_are_refused():
    for outputs, words in [
        ([], "nothing to learn"),
        ([("a", 1, [term("DiceLoss", 0.0)])], "nothing to learn"),
        ([("a", 0, [term("DiceLoss")])], "has 0 channels"),
        ([("a", 1, [term("DiceLoss")])] * 2, "Two outputs are called 'a'"),
        ([("a", 1, [term("DiceLoss"), term("DiceLoss")])], "DiceLoss twice"),
        ([("a", 1, [term("DiceLos", 0.0)])], "did you mean 'DiceLoss'"),
        ([("a", 1, [term("DiceLoss", -1.0)])], "below 0"),
        ([("a", 1, [term("WeightedBCE", 1.0, "1")])], "no class_weights were given"),
    ]:
        with pytest.raises(ValueError, match=words):
            CompositeLoss(outputs)


def test_bad_shapes_are_refused(tensors):
    prediction, target = tensors
    loss = CompositeLoss([("a", 3, [term("DiceLoss")])])
    with pytest.raises(ValueError, match=r"\(n, 3, z, y, x\) or \(n, 3, y, x\) was expected"):
        loss(prediction, target)
    with pytest.raises(ValueError, match="must be equal"):
        loss(prediction[:, :3], target)
    with pytest.raises(ValueError, match=r"mask's shape \(5,\)"):
        loss(prediction[:, :3], target[:, :3], torch.ones(5))
