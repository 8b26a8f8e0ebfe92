"""A network applied block by block gives the values of one call on the whole volume."""

import numpy as np
import pytest
import torch
from deployment.scene import heatmap
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from emlib.deployment import NetworkPredictor, deploy
from emlib.inference import predict_volume
from emlib.scaling import plan_blocks
from emlib.volume import open_volume


def network(seed=0):
    """What it says of a voxel depends on its place in the window, as with any real network."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv3d(1, 3, 3, padding=1), nn.ELU(), nn.Conv3d(3, 2, 3, padding=1), nn.Sigmoid())


@st.composite
def windows(draw):
    shape = draw(st.tuples(*(st.integers(3, 18) for _ in range(3))))
    window = draw(st.tuples(*(st.integers(2, 8) for _ in range(3))))
    stride = tuple(draw(st.integers(1, size)) for size in window)
    # Reflection goes no further than the volume.
    pad = tuple(draw(st.integers(0, min(3, length - 1))) for length in shape)
    return shape, {"window": window, "stride": stride, "pad": pad}, draw(st.tuples(*(st.integers(2, 18),) * 3))


@settings(max_examples=15)
@given(windows())
def test_every_block_has_the_values_of_the_whole_prediction(case):
    shape, laid, size = case
    volume, model = heatmap(shape), network()
    expected = predict_volume(model, volume, **laid, progress=False)
    predict = NetworkPredictor(model, laid, ("a", "b"))
    for block in plan_blocks(shape, size):
        found = predict(open_volume(volume), block)
        np.testing.assert_array_equal(found, expected[(slice(None), *block.inner)])


def test_from_image_to_labels_with_a_network(tmp_path):
    volume, model = heatmap((14, 30, 28), 1), network()
    predict = NetworkPredictor(model, {"window": (6, 12, 12), "augment": 4, "device": "cpu"}, ("heatmap", "other"))
    parameters = {"foreground": 0.45, "seed": 0.5, "min_size": 3, "min_seed_size": 1}
    options = {"parameters": parameters, "block": (5, 30, 16), "pyramid": False, "progress": False}
    done = deploy(volume, tmp_path / "out", predict=predict, prediction_block=(4, 11, 28), **options)
    prediction = open_volume(done.prediction)
    expected = predict_volume(model, volume, window=(6, 12, 12), augment=4, progress=False)
    np.testing.assert_array_equal(prediction[:], expected)
    assert prediction.attributes["channels"] == ["heatmap", "other"]
    again = deploy(None, tmp_path / "again", prediction=expected[0], **options)
    np.testing.assert_array_equal(open_volume(done.segmentation)[:], open_volume(again.segmentation)[:])
    with pytest.raises(ValueError, match="another weights"):
        deploy(volume, tmp_path / "out", predict=NetworkPredictor(network(1), predict.settings, predict.channels),
               prediction_block=(4, 11, 28), **options)  # fmt: skip


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({}, "Give either predict"),
        ({"prediction": np.zeros((4, 4), np.uint8)}, r"must be \(z, y, x\) or \(c, z, y, x\)"),
        ({"prediction": np.zeros((4, 9, 9), np.uint8)}, r"The volume has \(4, 8, 8\) voxels, but the prediction"),
        ({"prediction": np.zeros((2, 4, 8, 8), np.uint8)}, "needs one channel, and none of channel_0, channel_1"),
        ({"prediction": np.zeros((2, 4, 8, 8), np.uint8), "channel": 2}, "there are the channels 0 to 1"),
        ({"prediction": np.zeros((4, 8, 8), np.uint8), "method": "exakt"}, "did you mean 'exact'"),
        ({"prediction": np.zeros((4, 8, 8), np.uint8), "rule": "published"}, "is one of method='traced'"),
        ({"prediction": np.zeros((4, 8, 8), np.uint8), "halo": 2}, "method='exact' needs no halo"),
        ({"prediction": np.zeros((4, 8, 8), np.uint8), "segment": "mask_watershed"}, "take method='traced'"),
        ({"prediction": np.zeros((4, 8, 8), np.uint8), "parameters": {"min_sise": 3}}, "did you mean 'min_size'"),
        ({"prediction": np.zeros((4, 8, 8), np.uint8), "parameters": {"seed": 0.01}}, "seed must not lie below"),
        ({"prediction": np.zeros((4, 8, 8), np.uint8), "chunk": 12}, "chunk must be multiples of 8"),
        ({"prediction": np.zeros((4, 8, 8), np.uint8), "block": 0}, "block must be at least 1"),
        ({"prediction": np.zeros((4, 8, 8), np.uint8), "memory": "much"}, "memory must be a positive size"),
    ],
)
def test_mistakes_are_refused_before_anything_is_written(tmp_path, options, text):
    with pytest.raises((ValueError, TypeError), match=text):
        deploy(np.zeros((4, 8, 8), np.uint8), tmp_path / "out", voxel_size=(30, 8, 8), progress=False, **options)
    assert not (tmp_path / "out").exists()


def test_settings_that_belong_to_a_whole_volume():
    with pytest.raises(ValueError, match=r"The setting out cannot be given for blocks"):
        NetworkPredictor(nn.Identity(), {"window": 4, "out": "a.zarr"})
    with pytest.raises(ValueError, match="at least a window"):
        NetworkPredictor(nn.Identity(), {})
