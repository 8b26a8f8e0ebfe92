"""A sample is known by its number alone."""

import numpy as np
import pytest
import torch

from emlib.targets import build_target, channel_names, erode_labels
from emlib.training.samples import TrainingSamples, ValidationSamples, make_loader
from emlib.volume import Volume

QUIET = {
    f"augmentation.{name}.probability": 0.0
    for name in (
        "rotate", "rescale", "elastic", "grayscale", "missing_parts", "missing_section",
        "misalign", "motion_blur", "cut_blur", "cut_noise", "flip",
    )
}  # fmt: skip


def build(recipe, data, **options):
    image, labels = data.open("train")
    return TrainingSamples(recipe, Volume(image), Volume(labels), **({"length": 40} | options))


def same(one, other):
    return all(torch.equal(torch.as_tensor(one[key]), torch.as_tensor(other[key])) for key in one)


def test_shapes_types_and_ranges(tiny_recipe, tiny_data):
    sample = build(tiny_recipe(), tiny_data)[3]
    assert sample["image"].shape == (1, 4, 16, 16)
    assert sample["image"].dtype == torch.float32
    assert sample["image"].min() >= 0
    assert sample["image"].max() <= 1
    assert sample["target"].shape == (2, 4, 16, 16)
    assert set(sample["target"].unique().tolist()) <= {0.0, 1.0}
    assert sample["index"] == 3


def test_item_depends_on_seed_and_index_only(tiny_recipe, tiny_data):
    one, other = build(tiny_recipe(), tiny_data), build(tiny_recipe(), tiny_data)
    torch.manual_seed(5)
    [one[i] for i in (7, 2)]
    assert same(one[4], other[4])
    assert not same(one[4], one[5])
    assert not same(one[4], build(tiny_recipe({"seed": 1}), tiny_data)[4])


def test_without_augmentation_a_sample_is_a_crop_and_its_target(tiny_recipe, tiny_data):
    recipe = tiny_recipe(QUIET)
    sample = build(recipe, tiny_data)[0]
    z, y, x = sample["position"].tolist()
    box = (slice(z, z + 4), slice(y, y + 16), slice(x, x + 16))
    np.testing.assert_allclose(sample["image"][0].numpy(), tiny_data.image[box] / 255, atol=1e-6)
    labels = erode_labels(tiny_data.labels[box].astype(np.int64), 1)
    expected = np.concatenate([build_target(labels, "0"), build_target(labels, "4-2-1")])
    np.testing.assert_array_equal(sample["target"].numpy(), expected)


@pytest.mark.parametrize("workers", [0, 2])
def test_workers_do_not_change_the_order_or_the_samples(tiny_recipe, tiny_data, workers):
    samples = build(tiny_recipe(), tiny_data)
    batches = list(make_loader(samples, range(3, 11), batch_size=3, workers=workers))
    assert [batch["index"].tolist() for batch in batches] == [[3, 4, 5], [6, 7, 8], [9, 10]]
    assert torch.equal(batches[1]["image"][2], samples[8]["image"])


@pytest.mark.parametrize("world", [1, 2, 4])
def test_every_global_batch_is_the_same_for_any_number_of_processes(tiny_recipe, tiny_data, world):
    samples = build(tiny_recipe(), tiny_data)
    loaders = [make_loader(samples, range(8 + rank, 24, world), batch_size=4 // world) for rank in range(world)]
    together = [sorted(int(i) for batch in step for i in batch["index"]) for step in zip(*loaders, strict=True)]
    assert together == [[8, 9, 10, 11], [12, 13, 14, 15], [16, 17, 18, 19], [20, 21, 22, 23]]


def test_chunks_serve_their_iterations(tiny_recipe, tiny_data):
    recipe = tiny_recipe({"data.chunks": [1, 2, 2], "data.chunk_iterations": 3, **QUIET})
    samples = build(recipe, tiny_data, batch_size=2)
    chunks = [samples.crops.chunk_of(i) for i in range(24)]
    assert all(len(set(chunks[start : start + 6])) == 1 for start in range(0, 24, 6))
    assert len(set(chunks)) == 4
    assert samples[0]["image"].shape == (1, 4, 16, 16)


def test_validation_samples_are_fixed_and_fit_a_thin_split(tiny_recipe, tiny_data):
    recipe = tiny_recipe({"training.window": [6, 16, 16]})
    image, labels = Volume(tiny_data.image[:3, :, :30]), Volume(tiny_data.labels[:3, :, :30])
    samples = ValidationSamples(recipe, image, labels, divisor=(1, 4, 4))
    assert len(samples) == 2
    assert samples[0]["image"].shape == (1, 3, 16, 16)
    assert same(samples[1], ValidationSamples(recipe, image, labels, divisor=(1, 4, 4))[1])
    z, y, x = samples[0]["position"].tolist()
    np.testing.assert_allclose(
        samples[0]["image"][0], tiny_data.image[z : z + 3, y : y + 16, x : x + 16] / 255, atol=1e-6
    )


def test_channel_names_number_the_channels_of_wide_outputs(tiny_recipe):
    assert channel_names(tiny_recipe().target.outputs) == ["mask", "contour"]
