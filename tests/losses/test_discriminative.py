"""The discriminative losses against loops over clusters: any ids, one cluster, none, and the published factors."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from emlib.losses import build_loss

NAMES = ("Discriminative", "DiscriminativeTwoClasses")
SHAPE = (2, 3, 2, 4, 5)


def tensors(seed=0, ids=4):
    generator = torch.Generator().manual_seed(seed)
    embedding = torch.randn(SHAPE, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, ids, (2, 1, *SHAPE[2:]), generator=generator)
    return embedding, labels, torch.rand(2, 1, *SHAPE[2:], generator=generator, dtype=torch.float64) + 0.1


def by_hand(embedding, labels, weight, *, background, least=1, pairs=1.0, gamma=0.001, dv=0.5, dd=1.5, alpha=1, beta=1):
    """Mean over samples of the three terms, from one cluster after the other; `pairs` scales L_dist."""
    values = []
    for x, ids, w in zip(embedding.numpy(), labels.numpy()[:, 0], weight.numpy()[:, 0], strict=True):
        found = [i for i in np.unique(ids[w > 0]) if background or i != 0]
        if len(found) < least:
            continue
        vectors, weights = [x[:, ids == i].T for i in found], [w[ids == i] for i in found]
        centres = [(v * w[:, None]).sum(0) / w.sum() for v, w in zip(vectors, weights, strict=True)]
        pull = np.mean(
            [
                (np.maximum(0, np.linalg.norm(v - c, axis=1) - dv) ** 2 * w).sum() / w.sum()
                for v, w, c in zip(vectors, weights, centres, strict=True)
            ]
        )
        n, push = len(found), 0.0
        for a in range(n):
            for b in range(n):
                if a != b:
                    push += max(0, 2 * dd - np.linalg.norm(centres[a] - centres[b])) ** 2 / (n * (n - 1))
        values.append(alpha * pull + beta * pairs * push + gamma * np.mean([np.linalg.norm(c) for c in centres]))
    return np.mean(values) if values else 0.0


@given(st.integers(0, 1000), st.sampled_from([1, 2, 3, 7, 40]), st.booleans())
def test_instances_by_hand(seed, ids, background):
    embedding, labels, weight = tensors(seed, ids)
    for w in (None, weight):
        found = build_loss("Discriminative", background=background)(embedding, labels, w)
        expected = by_hand(embedding, labels, torch.ones_like(weight) if w is None else w, background=background)
        assert float(found) == pytest.approx(expected, rel=1e-9)


def test_factors_and_margins_by_hand():
    embedding, labels, weight = tensors(ids=3)
    options = {"delta_var": 0.1, "delta_dist": 0.7, "alpha": 2.0, "beta": 3.0, "gamma": 0.5}
    found = build_loss("Discriminative", **options)(embedding, labels)
    by = {"dv": 0.1, "dd": 0.7, "alpha": 2.0, "beta": 3.0, "gamma": 0.5}
    expected = by_hand(embedding, labels, torch.ones_like(weight), background=False, **by)
    assert float(found) == pytest.approx(expected)


@pytest.mark.parametrize(("normalization", "pairs"), [("published", 0.5), ("paper", 1.0)])
def test_two_classes_by_hand(normalization, pairs):
    embedding, labels, weight = tensors(ids=6)
    labels[0] = 3  # one class only: left out
    classes = (labels > 0).long()
    expected = by_hand(embedding, classes, weight, background=True, least=2, pairs=pairs, gamma=1e-4)
    loss = build_loss("DiscriminativeTwoClasses", normalization=normalization)
    for target in (labels, classes, classes.float(), labels > 0):
        assert float(loss(embedding, target, weight)) == pytest.approx(expected)
    assert float(build_loss("DiscriminativeTwoClasses")(embedding, classes)) == pytest.approx(
        by_hand(embedding, classes, torch.ones_like(weight), background=True, least=2, pairs=0.5, gamma=1e-4)
    )


def test_ids_are_names_only():
    embedding, labels, _ = tensors(ids=5)
    loss = build_loss("Discriminative")
    expected = float(loss(embedding, labels))
    names = torch.tensor([0, 70_000, 3, 2**24 + 1, 2**62 + 1])
    assert float(loss(embedding, names[labels])) == pytest.approx(expected)
    high = torch.tensor([0, 2**64 - 1, 2**63, 2**63 + 1, 5], dtype=torch.uint64)[labels]
    assert float(loss(embedding, high)) == pytest.approx(expected)
    for dtype in (torch.uint8, torch.int32, torch.uint16, torch.float32):
        assert float(loss(embedding, labels.to(dtype))) == pytest.approx(expected)
    # One id in two samples is two instances.
    shifted = labels.clone()
    shifted[1][shifted[1] > 0] += 100
    assert float(loss(embedding, shifted)) == pytest.approx(expected)


def test_two_classes_do_not_tell_objects_apart_and_instances_do():
    """Two objects at one place of the embedding: no loss of two classes, but one of instances."""
    labels = torch.tensor([0, 1, 1, 2, 2]).view(1, 1, 1, 5)
    embedding = torch.tensor([-5.0, 5, 5, 5, 5]).view(1, 1, 1, 5)
    assert float(build_loss("DiscriminativeTwoClasses", gamma=0)(embedding, labels)) == 0
    assert float(build_loss("Discriminative", gamma=0)(embedding, labels)) == 9


@pytest.mark.parametrize("name", NAMES)
def test_gradients(name):
    embedding, labels, weight = tensors(ids=4)
    loss = build_loss(name, gamma=0.1)
    assert torch.autograd.gradcheck(lambda e: loss(e, labels, weight), embedding.requires_grad_())


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_finite_where_distances_are_0(name):
    labels = tensors(ids=4)[1]
    embedding = torch.zeros(SHAPE, requires_grad=True)
    build_loss(name, delta_var=0)(embedding, labels).backward()
    assert torch.isfinite(embedding.grad).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_without_clusters_is_0_with_gradient_0(name):
    embedding = tensors()[0].requires_grad_()
    value = build_loss(name)(embedding, torch.zeros(2, 1, *SHAPE[2:]))
    value.backward()
    assert float(value.detach()) == 0
    assert embedding.grad is not None
    assert not embedding.grad.any()


def test_a_single_instance_is_pulled_together_and_a_sample_without_is_left_out():
    embedding, labels, _ = tensors(ids=2)
    labels[1] = 0
    loss = build_loss("Discriminative")
    alone = by_hand(embedding[:1], labels[:1], torch.ones(1, 1, *SHAPE[2:]), background=False)
    assert float(loss(embedding, labels)) == pytest.approx(alone)
    assert alone > 0


@pytest.mark.parametrize("name", NAMES)
def test_voxels_of_weight_0_do_not_count(name):
    embedding, labels, _ = tensors(ids=4)
    mask = torch.ones(1, 1, 1, 1, 5)
    mask[..., 0] = 0
    changed, other = embedding.clone(), labels.clone()
    changed[..., 0], other[..., 0] = 9, 77
    loss = build_loss(name)
    assert float(loss(embedding, labels, mask)) == float(loss(changed, other, mask))
    assert float(loss(embedding, labels)) != float(loss(changed, other))


@pytest.mark.parametrize("name", NAMES)
def test_images_too_and_half_precision_in_full(name):
    embedding, labels, _ = tensors(ids=4)
    loss = build_loss(name)
    flat = loss(embedding[:, :, 0], labels[:, :, 0])
    assert float(flat) == pytest.approx(float(loss(embedding[:, :, :1], labels[:, :, :1])))
    low = embedding.bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        value = loss(low, labels)
    assert value.dtype == torch.float32
    assert float(value) == float(loss(low.float(), labels))


def test_a_million_voxels_of_one_object_lose_no_digits():
    generator = torch.Generator().manual_seed(0)
    embedding = 3 + torch.randn(1, 2, 1, 1024, 1024, generator=generator)
    labels = torch.ones(1, 1, 1, 1024, 1024, dtype=torch.long)
    loss = build_loss("Discriminative", gamma=1.0)
    assert float(loss(embedding, labels)) == pytest.approx(float(loss(embedding.double(), labels)), rel=2e-6)


@pytest.mark.parametrize("name", NAMES)
def test_a_prediction_that_is_not_a_number_is_not_hidden(name):
    embedding, labels, _ = tensors()
    embedding[:, 0] = float("nan")
    assert torch.isnan(build_loss(name)(embedding, labels))
    assert torch.isnan(build_loss(name)(embedding, torch.zeros_like(labels)))


@pytest.mark.parametrize("name", NAMES)
def test_what_does_not_fit_is_refused(name):
    embedding, labels, _ = tensors()
    loss = build_loss(name)
    with pytest.raises(ValueError, match=r"\(2, 3, 2, 4, 5\) and the target \(2, 3, 2, 4, 5\)"):
        loss(embedding, labels.expand(SHAPE))
    with pytest.raises(ValueError, match=r"weight's shape \(7,\)"):
        loss(embedding, labels, torch.ones(7))
    with pytest.raises(ValueError, match=f"delta_var of {name} is -1"):
        build_loss(name, delta_var=-1)
    with pytest.raises(ValueError, match="has no option 'delta'"):
        build_loss(name, delta=1)


def test_labels_that_are_no_ids_are_refused():
    embedding, labels, _ = tensors()
    loss = build_loss("Discriminative")
    for bad in (labels + 0.5, torch.where(labels > 0, float("nan"), 1.0)):
        with pytest.raises(ValueError, match="fractions or NaN"):
            loss(embedding, bad)
    with pytest.raises(ValueError, match="go down to -1"):
        loss(embedding, labels - 1)
    with pytest.raises(ValueError, match="background of Discriminative is 1, but true or false"):
        build_loss("Discriminative", background=1)
    with pytest.raises(ValueError, match="'published' or 'paper'"):
        build_loss("DiscriminativeTwoClasses", normalization="usual")


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", NAMES)
def test_the_same_on_cuda(name):
    embedding, labels, weight = tensors(ids=6)
    loss = build_loss(name, gamma=0.1)
    gradients = []
    for device in ("cpu", "cuda"):
        here = embedding.to(device).requires_grad_()
        value = loss(here, labels.to(device), weight.to(device))
        gradients.append(torch.autograd.grad(value, here)[0].cpu())
    torch.testing.assert_close(*gradients)
