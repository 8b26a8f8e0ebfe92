"""The recipe of track 3: published settings, variants, and a run on a folder as SNEMI3D has it."""

import numpy as np
import pytest
import tifffile

from emlib.data import load_prepared
from emlib.inference import predict_from_recipe
from emlib.models import build_model, count_parameters
from emlib.postprocessing import segment
from emlib.recipe import list_variants, load_recipe
from emlib.targets import channel_names, channel_pairs
from emlib.training import load_model, train

TRACK = "3_neurons_affinities"


def channels(recipe):
    return len(channel_names(recipe.target.outputs))


def test_paper_profile_is_the_published_one():
    recipe = load_recipe(TRACK, profile="paper")
    assert (recipe.model.name, recipe.model.widths) == ("unet_3d", (32, 64, 96, 128, 160))
    assert recipe.training.window == (17, 257, 257)
    assert (recipe.training.iterations, recipe.training.batch_size, recipe.training.save_every) == (150000, 2, 10000)
    assert (recipe.training.optimizer.name, recipe.training.optimizer.learning_rate) == ("sgd", 0.02)
    assert recipe.training.optimizer.momentum == 0.9
    assert (recipe.inference.window, recipe.inference.stride) == ((17, 513, 513), (8, 256, 256))
    assert (recipe.inference.pad, recipe.data.pad) == ((4, 32, 32), (4, 64, 64))
    assert [(o.option, [(t.name, t.weight, t.class_weight) for t in o.losses]) for o in recipe.target.outputs] == [
        ("2", [("WeightedBCE", 1.0, "1"), ("DiceLoss", 0.5, "0")])
    ]
    assert recipe.target.label_erosion == 1


@pytest.mark.parametrize(
    "variant, outputs, parameters",
    [(None, 3, 3_500_931), ("unet", 3, None), ("unet_2x", 3, None), ("contour_2x", 4, None), ("long_range", 12, None),
     ("multi_erosion", 9, None), ("fpn", 3, None), ("swin_unetr", 3, None)],
)  # fmt: skip
def test_networks_of_the_variants(variant, outputs, parameters):
    recipe = load_recipe(TRACK, profile="paper", variant=variant)
    assert channels(recipe) == outputs
    network = build_model(recipe.model.name, out_channels=outputs, **recipe.model.options())
    if parameters is not None:
        assert count_parameters(network) == parameters
    assert all(pair is not None for pair in channel_pairs(recipe.target.outputs)[:3])


def test_every_variant_is_valid_in_every_profile():
    assert len(list_variants(TRACK)) == 8
    for profile in ("smoke", "tutorial", "paper"):
        for variant in list_variants(TRACK):
            recipe = load_recipe(TRACK, profile=profile, variant=variant)
            assert recipe.variant == variant
    distances = [pair.offset for pair in channel_pairs(load_recipe(TRACK, variant="long_range").target.outputs)]
    assert distances[9:] == [(-4, 0, 0), (0, -27, 0), (0, 0, -27)]


@pytest.mark.parametrize("variant", [None, "long_range", "contour_2x"])
def test_paper_settings_run_on_a_small_folder(tmp_path, variant):
    """Data, network, schedule, steps, prediction, segmentation: all but sizes, precision and counts as published."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "sets" / "snemi3d"
    folder.mkdir(parents=True)
    labels = np.kron(rng.permutation(64).reshape(1, 8, 8) + 1, np.ones((24, 12, 12))).astype(np.uint16)
    image = np.where(rng.random(labels.shape) < 0.2, 60, 160).astype(np.uint8)
    tifffile.imwrite(folder / "train-input.tif", image)
    tifffile.imwrite(folder / "train-labels.tif", labels)
    small = {
        "data.split": {"train": [0, 16], "validation": [16, 24], "test": [16, 24]},
        "data.pad": [0, 0, 0],
        "training.window": [5, 33, 33],
        "training.iterations": 2,
        "training.validate_every": 2,
        "training.validation_samples": 1,
        "training.workers": 0,
        "training.precision": "32",
        "model.widths": [8, 16],
        "augmentation.missing_section.probability": 0.0,
        "augmentation.missing_parts.probability": 0.0,
        "augmentation.misalign.displacement": 2,
        "inference.window": [5, 33, 33],
        "inference.stride": None,
        "inference.pad": [0, 0, 0],
        "inference.precision": "32",
    }
    recipe = load_recipe(TRACK, profile="paper", variant=variant, overrides=small)
    checkpoint = train(recipe, tmp_path / "run", data_dir=tmp_path / "sets", device="cpu", progress=False)
    data = load_prepared(tmp_path / "run" / "data")
    assert data.voxel_size == ((30.0, 12.0, 12.0) if variant == "contour_2x" else (30.0, 6.0, 6.0))
    test_image, test_labels = data.open("test")
    prediction = predict_from_recipe(load_model(checkpoint), test_image, recipe, progress=False)
    assert prediction.shape == (channels(recipe), *test_labels.shape)
    names = channel_names(recipe.target.outputs)
    found = segment(prediction, recipe.postprocessing.method, channels=names, **recipe.postprocessing.parameters())
    assert found.shape == test_labels.shape
    assert found.max() >= 1
