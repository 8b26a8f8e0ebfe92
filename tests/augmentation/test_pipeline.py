"""The whole augmentation: sizes, alignment of image and labels, reproducibility, bad input."""

import pickle

import numpy as np
import pytest
import torch

from emlib.augmentation import augmentation_names, build_augmentation, single_augmentation
from emlib.randomness import torch_generator
from emlib.recipe import load_recipe
from emlib.recipe_schema import AugmentationRecipe

WINDOW = (6, 40, 40)
GEOMETRIC = ("rotate", "rescale", "elastic", "missing_section", "misalign", "flip")
EVERYTHING = AugmentationRecipe(**{name: {"probability": 1.0} for name in augmentation_names()})
GEOMETRY = AugmentationRecipe(**{name: {"probability": 1.0} for name in GEOMETRIC})


def value_of(labels):
    """An image that can be computed from its labels."""
    return ((labels * 37) % 101).to(torch.float32) / 101


def sample_for(augmentation, block=(2, 12, 12), seed=0):
    """Labels in blocks, and their image."""
    cells = [-(-size // side) for size, side in zip(augmentation.sample_size, block, strict=True)]
    labels = torch.randint(0, 10**12, cells, generator=torch_generator(seed, "blocks"))
    for axis, side in enumerate(block):
        labels = labels.repeat_interleave(side, axis)
    labels = labels[tuple(slice(0, size) for size in augmentation.sample_size)].contiguous()
    return value_of(labels), labels


def test_published_sample_sizes():
    vidar = load_recipe("1_mitochondria_contours", profile="paper").augmentation
    assert build_augmentation(vidar, window=(36, 320, 320)).sample_size == (38, 619, 619)
    every = {name: {"probability": 0.5} for name in augmentation_names()}
    turned = AugmentationRecipe(**every | {"rotate": {"probability": 1.0, "right_angles": True}})
    assert build_augmentation(turned, window=(17, 257, 257)).sample_size == (19, 372, 372)
    assert build_augmentation(AugmentationRecipe(), window=(17, 257, 129)).sample_size == (17, 257, 129)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("window", [WINDOW, (3, 24, 50), (1, 9, 9), (2, 1, 5)])
def test_everything_at_once(window, seed):
    augmentation = build_augmentation(EVERYTHING, window=window)
    image, labels = sample_for(augmentation)
    kept = image.clone(), labels.clone()
    new_image, new_labels = augmentation(image, labels, torch_generator(seed))
    assert new_image.shape == new_labels.shape == window
    assert new_image.dtype == torch.float32
    assert new_labels.dtype == torch.int64
    assert 0 <= new_image.min() <= new_image.max() <= 1
    assert torch.isin(new_labels, labels).all()
    assert torch.equal(image, kept[0])
    assert torch.equal(labels, kept[1])


def test_no_augmentation_is_the_centre_crop():
    alone = single_augmentation("rotate", AugmentationRecipe(), window=WINDOW)
    never = build_augmentation(AugmentationRecipe(), window=WINDOW)
    assert never.sample_size == WINDOW
    # A low, but not vanishing, probability keeps the margin of the sample: the crop has to be cut from its middle.
    rarely = build_augmentation(AugmentationRecipe(rotate={"probability": 1e-12}), window=WINDOW)
    assert rarely.sample_size == alone.sample_size
    margin = (rarely.sample_size[1] - WINDOW[1]) // 2
    image, labels = sample_for(rarely)
    new_image, new_labels = rarely(image, labels, torch_generator(0))
    inner = (slice(None), slice(margin, margin + 40), slice(margin, margin + 40))
    assert torch.equal(new_image, image[inner])
    assert torch.equal(new_labels, labels[inner])
    assert new_image.data_ptr() != image.data_ptr()


@pytest.mark.parametrize("seed", range(20))
def test_geometry_is_the_same_for_image_and_labels(seed):
    augmentation = build_augmentation(GEOMETRY, window=WINDOW)
    image, labels = augmentation(*sample_for(augmentation), torch_generator(seed))
    # A voxel whose surroundings carry one label was interpolated between voxels of that label.
    inner = torch.ones_like(labels, dtype=torch.bool)
    for y in (-2, -1, 0, 1, 2):
        for x in (-2, -1, 0, 1, 2):
            inner &= labels == labels.roll((y, x), (1, 2))
    assert inner.float().mean() > 0.1
    torch.testing.assert_close(image[inner], value_of(labels)[inner], atol=1e-4, rtol=0)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("name", ["flip", "rotate", "missing_section", "misalign"])
def test_moves_by_whole_voxels_are_exact(name, seed):
    settings = AugmentationRecipe(rotate={"right_angles": True}, misalign={"rotation": 0.0})
    augmentation = single_augmentation(name, settings, window=WINDOW)
    image, labels = augmentation(*sample_for(augmentation, block=(1, 1, 1)), torch_generator(seed))
    assert torch.equal(image, value_of(labels))


@pytest.mark.parametrize("name", augmentation_names())
def test_each_changes_something_and_intensity_leaves_labels(name):
    augmentation = single_augmentation(name, EVERYTHING.model_copy(), window=WINDOW)
    plain = build_augmentation(EVERYTHING, window=WINDOW)
    assert all(one <= other for one, other in zip(augmentation.sample_size, plain.sample_size, strict=True))
    image, labels = sample_for(augmentation, block=(1, 1, 1))
    start = [(size - length) // 2 for size, length in zip(augmentation.sample_size, WINDOW, strict=True)]
    crop = tuple(slice(first, first + length) for first, length in zip(start, WINDOW, strict=True))
    results = [augmentation(image, labels, torch_generator(seed)) for seed in range(6)]
    assert any(not torch.equal(new, image[crop]) for new, _ in results)
    if name not in GEOMETRIC:
        assert all(torch.equal(new, labels[crop]) for _, new in results)


def test_the_seed_decides_everything():
    augmentation = build_augmentation(EVERYTHING, window=WINDOW)
    sample = sample_for(augmentation)
    torch.manual_seed(1)
    first = augmentation(*sample, torch_generator(5))
    torch.manual_seed(2)
    again = pickle.loads(pickle.dumps(augmentation))(*sample, torch_generator(5))
    other = augmentation(*sample, torch_generator(6))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])


def test_samples_of_a_run_differ():
    """Data-loader workers of the published code shared one random state, so that their samples repeated."""
    augmentation = single_augmentation("flip", AugmentationRecipe(), window=WINDOW)
    sample = sample_for(augmentation, block=(1, 1, 1))
    seen = {augmentation(*sample, torch_generator(0, "sample", i))[0].numpy().tobytes() for i in range(200)}
    assert len(seen) == 16, "two each of z, y and x flips and the transpose"


@pytest.mark.parametrize("seed", range(6))
def test_bytes_give_what_floats_give(seed):
    augmentation = build_augmentation(EVERYTHING, window=WINDOW)
    _, labels = sample_for(augmentation)
    image = torch.randint(0, 256, labels.shape, generator=torch_generator(9), dtype=torch.uint8)
    one = augmentation(image, labels, torch_generator(seed))
    other = augmentation(image.float() / 255, labels, torch_generator(seed))
    assert torch.equal(one[1], other[1])
    # Gamma is steep near black, so the last digit of a dark pixel may show.
    torch.testing.assert_close(one[0], other[0], atol=2e-3, rtol=0)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32])
def test_narrow_labels_keep_their_type(dtype):
    augmentation = build_augmentation(EVERYTHING, window=WINDOW)
    image, labels = sample_for(augmentation)
    labels = labels % 100
    narrow = augmentation(image, labels.to(dtype), torch_generator(3))[1]
    assert narrow.dtype == dtype
    assert torch.equal(narrow.long(), augmentation(image, labels, torch_generator(3))[1])


def test_arrays_come_back_as_arrays():
    augmentation = build_augmentation(EVERYTHING, window=WINDOW)
    image, labels = sample_for(augmentation)
    arrays = augmentation(image.numpy(), labels.numpy()[::1], torch_generator(4))
    tensors = augmentation(image, labels, torch_generator(4))
    for array, tensor in zip(arrays, tensors, strict=True):
        assert isinstance(array, np.ndarray)
        np.testing.assert_array_equal(array, tensor.numpy())


def test_description_lists_what_is_on():
    augmentation = build_augmentation(AugmentationRecipe(flip={"probability": 0.25}), window=WINDOW)
    assert [line.split(":")[0] for line in augmentation.describe()] == ["flip (probability 0.25)"]
    assert "flip" in repr(augmentation)
    assert len(build_augmentation(EVERYTHING, window=WINDOW).describe()) == len(augmentation_names()) == 11


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="did you mean 'cut_blur'"):
        single_augmentation("cutblur", AugmentationRecipe(), window=WINDOW)
    with pytest.raises(TypeError, match="settings are a dict"):
        build_augmentation({}, window=WINDOW)
    for window in [(6, 40), (6, 40, 0), (6, 40, 4.5)]:
        with pytest.raises(ValueError, match="window is"):
            build_augmentation(AugmentationRecipe(), window=window)
    with pytest.raises(ValueError, match=r"rescale goes from 1\.2 to 0\.8"):
        build_augmentation(AugmentationRecipe(rescale={"low": 1.2, "high": 0.8}), window=WINDOW)


def test_bad_samples_are_refused():
    augmentation = build_augmentation(AugmentationRecipe(), window=(2, 4, 4))
    image, labels, generator = torch.zeros(2, 4, 4), torch.zeros(2, 4, 4, dtype=torch.int64), torch_generator(0)
    broken = image.clone()
    broken[1, 2, 3] = float("nan")
    for arguments, error, words in [
        ((image[:1], labels, generator), ValueError, r"sample's image has shape \(1, 4, 4\)"),
        ((image, labels[:, :2], generator), ValueError, r"sample's labels has shape"),
        ((image.double(), labels, generator), TypeError, "image is torch.float64"),
        ((image, labels.float(), generator), TypeError, "labels are torch.float32"),
        ((image.numpy(), labels, generator), TypeError, "two tensors or two numpy arrays"),
        ((image + 200, labels, generator), ValueError, r"values from 200 to 200, but \[0, 1\]"),
        ((broken, labels, generator), ValueError, "values from nan to nan"),
        ((image, labels, 0), TypeError, "generator must be a torch.Generator"),
    ]:
        with pytest.raises(error, match=words):
            augmentation(*arguments)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("seed", range(4))
def test_the_same_on_cuda(seed):
    augmentation = build_augmentation(EVERYTHING, window=WINDOW)
    image, labels = sample_for(augmentation)
    here = augmentation(image, labels, torch_generator(seed))
    there = augmentation(image.cuda(), labels.cuda(), torch_generator(seed))
    assert torch.equal(there[1].cpu(), here[1])
    torch.testing.assert_close(there[0].cpu(), here[0], atol=2e-3, rtol=0)
