"""Embeddings of images: the encoder's last stage, whatever the size of the image."""

import numpy as np
import pytest
import torch
from torch import nn

from emlib.data import PreparedImage
from emlib.data.prepared_images import ImageSplit
from emlib.inference import embed_images
from emlib.models import build_model

SMALL = {"encoder": "mit_b0", "decoder_channels": [12, 10, 8, 8, 8], "attention_channels": 8}


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return build_model("mediar_former", **SMALL)


class Pooling(nn.Module):
    """Its encoder's last map holds the means of 4 x 4 pixels; the decoder must not run."""

    in_channels, min_divisor = 3, (4, 4)

    def __init__(self, *maps):
        super().__init__()
        self.encoder, self.decoder = nn.AvgPool2d(4), nn.Linear(1, 1)

    def forward(self, batch):
        self.encoder(batch)
        raise AssertionError("the decoder ran")


def picture(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def embed(model, images, **options):
    return embed_images(model, images, **({"progress": False} | options))


def encoded(network, image):
    """The definition, with torch alone."""
    batch = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
    with torch.no_grad():
        return network.eval().encoder(batch)[-1].mean(dim=(2, 3))[0].numpy()


def test_it_is_the_mean_of_the_last_stage(network):
    image = picture(64, 96, 3)
    result = embed(network, [image])
    assert (result.shape, result.dtype) == ((1, 256), np.float32)
    np.testing.assert_allclose(result[0], encoded(network, image), rtol=1e-4, atol=1e-5)


def test_a_small_image_lies_in_the_middle_of_as_few_zeros_as_needed(network):
    image, framed = picture(70, 90, 3), np.zeros((96, 96, 3), np.uint8)
    framed[13:83, 3:93] = image
    np.testing.assert_allclose(embed(network, [image])[0], encoded(network, framed), rtol=1e-4, atol=1e-5)


def test_a_large_image_is_the_mean_of_its_windows(network):
    image = picture(150, 50, 3)
    framed = np.pad(image, ((0, 0), (7, 7), (0, 0)))
    windows = [encoded(network, framed[y : y + 64]) for y in (0, 64, 86)]
    result = embed(network, [image], window=64, batch_size=2)
    np.testing.assert_allclose(result[0], np.mean(windows, axis=0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 50])
def test_images_do_not_depend_on_each_other(batch_size):
    shapes = [(8, 8), (8, 12), (30, 9), (8, 8), (41, 17), (8, 8), (12, 8), (8, 12), (20, 20), (7, 5), (6, 7)]
    images = [picture(*shape, 3, seed=n) for n, shape in enumerate(shapes)]
    alone = [embed(Pooling(), [image], window=(12, 16))[0] for image in images]
    np.testing.assert_allclose(embed(Pooling(), images, window=(12, 16), batch_size=batch_size), alone, rtol=1e-6)


def test_any_form_of_the_same_image_has_one_embedding():
    image = np.repeat(picture(8, 12, 1), 3, axis=2)
    before = image.copy()
    forms = [image, (image, np.zeros((8, 12), np.uint32)), image[..., 0], image[..., :1], image / 255]
    forms.append((image / 255).astype(np.float32))
    np.testing.assert_allclose(embed(Pooling(), forms), np.tile(image.mean(axis=(0, 1)) / 255, (6, 1)), rtol=1e-5)
    np.testing.assert_array_equal(image, before)
    bright = embed(Pooling(), [image // 4], normalize={"low": 0.0, "high": 100.0})
    low, high = image[image >= 4].min() // 4, image.max() // 4
    scaled = np.floor(np.clip((image // 4 - float(low)) / (high - low), 0, 1) * 255)
    np.testing.assert_allclose(bright[0], scaled.mean(axis=(0, 1)) / 255, atol=1 / 255)


def test_prepared_images_are_taken_as_they_are(tmp_path):
    import tifffile

    for name, array in (("images", picture(8, 8, 3)), ("labels", np.zeros((8, 8), np.uint32))):
        (tmp_path / name).mkdir()
        tifffile.imwrite(tmp_path / name / "0.tif", array)
    row = PreparedImage("a/0", "0.tif", "a", "phase", "train", 8, 8, 0, 0.0)
    split = ImageSplit((row,), tmp_path / "images", tmp_path / "labels")
    np.testing.assert_allclose(embed(Pooling(), split)[0], picture(8, 8, 3).mean(axis=(0, 1)) / 255, rtol=1e-5)


def test_what_the_network_does_to_its_input_is_done(network):
    shifted = build_model("mediar_former", **SMALL, input_mean=0.5, input_std=0.25)
    shifted.load_state_dict(network.state_dict())
    image = np.full((32, 32, 3), 0.75, np.float32)
    plain = embed(network, [np.ones((32, 32, 3), np.float32)])
    np.testing.assert_allclose(embed(shifted, [image]), plain, rtol=1e-5)


def test_the_network_is_left_as_it_was(network):
    network.train()
    network.decoder.eval()
    modes = [module.training for module in network.modules()]
    before = {key: value.clone() for key, value in network.state_dict().items()}
    first = embed(network, [picture(32, 32, 3)])
    assert [module.training for module in network.modules()] == modes
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    np.testing.assert_array_equal(first, embed(network, [picture(32, 32, 3)]))
    with torch.no_grad():
        assert network.eval()(torch.zeros(1, 3, 32, 32)).shape == (1, 3, 32, 32)


def test_a_network_of_one_channel_sees_grey():
    network = Pooling()
    network.in_channels = 1
    image = picture(8, 8, 3)
    np.testing.assert_allclose(embed(network, [image]), [[image.mean() / 255]], rtol=1e-5)


class Broken(Pooling):
    def __init__(self, answer):
        super().__init__()
        self.encoder = nn.Identity()
        self.encoder.forward = answer


class Unused(Pooling):
    def forward(self, batch):
        return batch


@pytest.mark.parametrize(
    "model, images, options, kind, words",
    [
        (nn.Conv2d(3, 3, 1), [picture(8, 8, 3)], {}, TypeError, "Conv2d has no encoder"),
        (Unused(), [picture(8, 8, 3)], {}, TypeError, "does not use its encoder"),
        (Broken(lambda batch: []), [picture(8, 8, 3)], {}, TypeError, "does not end in a feature map"),
        (Broken(lambda batch: batch.mean()), [picture(8, 8, 3)], {}, TypeError, "does not end in a feature map"),
        (Broken(lambda batch: batch / 0), [picture(8, 8, 3)] * 2, {}, ValueError, "features of image 0 are not finite"),
        (Pooling(), [], {}, ValueError, "no image"),
        (Pooling(), picture(8, 8, 3), {}, TypeError, "put it into a list"),
        (Pooling(), [picture(8, 8, 3), "nowhere.png"], {}, OSError, "nowhere.png"),
        (Pooling(), [picture(8, 8, 3), 3], {}, TypeError, "Image 1: The image is a int"),
        (Pooling(), [picture(8, 8, 3).astype(np.int16)], {}, TypeError, "Image 0: The image is int16"),
        (Pooling(), [np.full((8, 8), np.nan)], {}, ValueError, "Image 0: The image has values outside"),
        (Pooling(), [picture(8, 8, 4)], {}, ValueError, "Image 0: The image has shape (8, 8, 4)"),
        (Pooling(), [picture(0, 8, 3)], {}, ValueError, "Image 0: The image has shape (0, 8, 3)"),
        (Pooling(), [picture(8, 8, 3)], {"window": 6}, ValueError, "window is 6, but multiples of (4, 4)"),
        (Pooling(), [picture(8, 8, 3)], {"window": "all"}, TypeError, "window must be one whole number"),
        (Pooling(), [picture(8, 8, 3)], {"batch_size": 0}, ValueError, "batch_size must be"),
    ],
)
def test_what_cannot_be_embedded_is_refused_in_one_sentence(model, images, options, kind, words):
    with pytest.raises(kind) as caught:
        embed(model, images, **options)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_network_of_volumes_is_refused():
    network = Pooling()
    network.min_divisor = (1, 4, 4)
    with pytest.raises(TypeError, match="a network of volumes"):
        embed(network, [picture(8, 8, 3)])
