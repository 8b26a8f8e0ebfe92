"""Networks that are applied through a wrapper: nearest-neighbour classification, and a prior from another network."""

import numpy as np
import pytest
import torch
from torch import nn

from emlib.inference import NearestPrototypeMask, PriorFrom, predict_volume
from emlib.inference.ledger import model_fingerprint
from emlib.losses import nearest_prototype_probability

IMAGE = np.random.default_rng(0).integers(0, 256, (6, 24, 24)).astype(np.uint8)


class TwoHeads(nn.Module):
    """A map, the probability that is the image, and two numbers a voxel."""

    min_divisor = (1, 4, 4)

    def forward(self, image):
        return torch.cat([1 - image, image, image * 2, image**2], dim=1)


class Product(nn.Module):
    min_divisor = (2, 3, 6)

    def forward(self, image, prior):
        assert prior.dtype == torch.float32
        return image * prior


def windows(image, size):
    tensor = torch.from_numpy(image).float() / 255
    for y in range(0, image.shape[1], size):
        for x in range(0, image.shape[2], size):
            yield (
                (slice(None), slice(y, y + size), slice(x, x + size)),
                tensor[None, None, :, y : y + size, x : x + size],
            )


def test_every_window_has_its_own_prototypes():
    network = NearestPrototypeMask(TwoHeads(), mask=1, embedding=slice(2, 4))
    options = {"window": (6, 8, 8), "overlap": 0, "dtype": "float32", "progress": False}
    found = predict_volume(network, IMAGE, channels=["mask"], **options)
    assert found.shape == (1, *IMAGE.shape)
    for place, window in windows(IMAGE, 8):
        maps = TwoHeads()(window)
        expected = nearest_prototype_probability(maps[:, 2:], maps[:, 1:2])
        np.testing.assert_allclose(found[0][place], expected[0, 0], atol=1e-6)
    assert network.min_divisor == (1, 4, 4)


def test_the_prior_is_what_the_first_network_says_of_the_window():
    network = PriorFrom(Product(), TwoHeads(), channel=1, threshold=0.25)
    assert network.min_divisor == (2, 12, 12)
    found = predict_volume(network, IMAGE, window=(6, 12, 12), dtype="float32", progress=False)
    values = IMAGE.astype(np.float32) / 255
    np.testing.assert_allclose(found[0], values * (values > 0.25), atol=1e-6)


def test_a_prior_of_no_channel_is_refused():
    with pytest.raises(ValueError, match="channel 4 of the first network, which puts out 4"):
        PriorFrom(Product(), TwoHeads(), channel=4)(torch.zeros(1, 1, 2, 12, 12))


def test_an_interrupted_prediction_knows_its_wrapper():
    wrappers = [
        PriorFrom(Product(), TwoHeads()),
        PriorFrom(Product(), TwoHeads(), channel=1),
        PriorFrom(Product(), TwoHeads(), threshold=0.1),
        NearestPrototypeMask(TwoHeads(), mask=1, embedding=slice(2, 4)),
        NearestPrototypeMask(TwoHeads(), mask=0, embedding=slice(2, 4)),
    ]
    assert len({model_fingerprint(wrapper) for wrapper in wrappers}) == len(wrappers)


class Signed(nn.Module):
    def forward(self, image):
        return torch.cat([image - 0.5, image], dim=1)


def test_chosen_channels_lose_what_is_below_0_after_blending():
    options = {"window": (6, 8, 8), "dtype": "float32", "progress": False}
    raw = predict_volume(Signed(), IMAGE, **options)
    kept = predict_volume(Signed(), IMAGE, non_negative=[0], **options)
    np.testing.assert_array_equal(kept[0], raw[0].clip(0))
    np.testing.assert_array_equal(kept[1], raw[1])
    with pytest.raises(ValueError, match="runs from"):
        predict_volume(Signed(), IMAGE, window=(6, 8, 8), progress=False)
    assert predict_volume(Signed(), IMAGE, window=(6, 8, 8), non_negative=[0], progress=False).dtype == np.uint8
