"""Samples that are whole images: batches of one orientation, the same whatever came before."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from training.instance_scene import WHOLE, TinyData, tiny_recipe

from emlib.data.amplified_sampling import EpochOrder
from emlib.training.samples import make_loader
from emlib.training.whole_image_samples import GroupedOrder, WholeImageSamples, WholeImageValidationSamples


def samples_of(changes=None, images=None, length=24):
    images = TinyData().images if images is None else images
    return WholeImageSamples(tiny_recipe(WHOLE | (changes or {})), images, length=length, batch_size=2)


def test_a_sample_is_a_whole_image():
    data = TinyData()
    samples = samples_of({"augmentation.flip.probability": 0.0})
    for index in range(5):
        sample = samples[index]
        image, labels = data.images[int(sample["position"][0])]
        np.testing.assert_allclose(sample["image"].permute(1, 2, 0), image / 255, atol=1e-6)
        assert sample["target"].shape == (1, *labels.shape)
        np.testing.assert_array_equal(sample["target"][0] > 0, labels > 0)
    flipped = samples_of({"augmentation.flip.probability": 1.0})[0]
    image = data.images[int(flipped["position"][0])][0]
    seen = (flipped["image"].permute(1, 2, 0).numpy() * 255).round()
    assert any(np.array_equal(seen, form) for form in (image[::-1], image[:, ::-1]))


def test_batches_hold_one_orientation():
    samples = samples_of()
    for batch in make_loader(samples, range(24), batch_size=2):
        assert isinstance(batch["image"], list)
        assert len({image.shape[1] > image.shape[2] for image in batch["image"]}) == 1
    mixed = samples_of({"training.aspect_grouping": False})
    kinds = [[image.shape[1] > image.shape[2] for image in batch["image"]]
             for batch in make_loader(mixed, range(24), batch_size=2)]  # fmt: skip
    assert any(len(set(one)) == 2 for one in kinds)


def test_a_sample_depends_on_seed_and_number_only():
    one, other = samples_of(), samples_of()
    [one[i] for i in (20, 3, 21)]
    for index in (7, 12):
        assert all(torch.equal(torch.as_tensor(one[index][k]), torch.as_tensor(other[index][k])) for k in one[index])
    batches = list(make_loader(one, range(4, 12), batch_size=2, workers=2))
    assert torch.equal(batches[1]["image"][1], samples_of()[7]["image"])
    reseeded = samples_of({"seed": 1})
    assert any(int(one[i]["position"][0]) != int(reseeded[i]["position"][0]) for i in range(8))


@settings(max_examples=20, deadline=None)
@given(kinds=st.lists(st.integers(0, 2), min_size=1, max_size=9), batch=st.integers(1, 4), seed=st.integers(0, 99))
def test_grouping_keeps_the_order_of_each_kind_and_shows_all_images_alike(kinds, batch, seed):
    plain = EpochOrder(range(len(kinds)), seed=seed)
    grouped = GroupedOrder(EpochOrder(range(len(kinds)), seed=seed), kinds, batch)
    length = 3 * batch * len(kinds)
    dealt = [grouped[place] for place in range(length)]
    for start in range(0, length, batch):
        assert len({kinds[number] for number in dealt[start : start + batch]}) == 1
    for kind in set(kinds):
        own = [number for number in dealt if kinds[number] == kind]
        stream = (number for number in (plain[i] for i in range(length * 20)) if kinds[number] == kind)
        assert own == [next(stream) for _ in own]
    times = np.bincount(dealt, minlength=len(kinds))
    assert times.max() - times.min() <= batch + 1
    assert GroupedOrder(EpochOrder(range(len(kinds)), seed=seed), kinds, batch)[length - 1] == dealt[-1]


def test_validation_takes_every_image_in_turn_unchanged():
    samples = WholeImageValidationSamples(tiny_recipe(WHOLE | {"training.validation_samples": 6}), TinyData().images)
    assert [int(samples[i]["position"][0]) for i in range(len(samples))] == [0, 1, 2, 3, 4, 0]
    np.testing.assert_allclose(samples[3]["image"].permute(1, 2, 0), TinyData().images[3][0] / 255, atol=1e-6)
    with pytest.raises(ValueError, match="'validation' has no image"):
        WholeImageValidationSamples(tiny_recipe(WHOLE), [])


def test_images_of_rare_kinds_may_come_more_often():
    images = TinyData().images
    images.modalities = ["a", "b", "b", "b", "b"]
    samples = samples_of({"training.amplify": 4, "training.aspect_grouping": False}, images)
    assert sorted(samples.order.items) == [0, 0, 0, 0, 1, 2, 3, 4]
