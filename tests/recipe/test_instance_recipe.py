"""Recipes of detected objects: the published runs, and what belongs together."""

import pytest
import yaml

from emlib.recipe import PROFILES, InstanceRecipe, Recipe, list_variants, load_recipe
from emlib.recipe_schema import OptimizerRecipe
from emlib.training import learning_rate_at
from emlib.training.optimizer import build_optimizer

TRACK = "4_nuclei_maskrcnn"
# What recipes had before folds, patience and the number and sizes of phantom cells could be given.
HASHES = {
    ("1_mitochondria_contours", "smoke"): "1b022526de9143df",
    ("3_neurons_affinities", "paper"): "2d710d21746e02d9",
    ("5_cells_flows", "smoke"): "4205653cba783ffe",
    ("5_cells_flows", "paper"): "532074f4eb40d5ee",
}
# No. -> network, ROI batch, smallest and largest anchor, iterations, short side, score: the published table.
RUNS = {
    1: ("r101", 128, 32, 512, 300_000, 800, 0.223274),
    2: ("r101", 512, 32, 512, 300_000, 800, 0.219256),
    3: ("r101", 128, 32, 512, 300_000, 1200, 0.208042),
    4: ("r101", 128, 32, 512, 500_000, 1200, 0.221926),
    5: ("r101", 128, 32, 512, 50_000, 1200, 0.226062),
    6: ("r101", 128, 32, 512, 200_000, 1200, 0.211141),
    7: ("r101", 128, 32, 512, 6_000, 1200, 0.242515),
    8: ("r101", 128, 32, 512, 5_000, 1200, 0.24355),
    9: ("r101", 128, 32, 512, 4_000, 1200, 0.232426),
    10: ("r101", 128, 8, 128, 5_000, 1200, 0.233071),
    11: ("r101", 128, 16, 256, 5_000, 1200, 0.242185),
    12: ("x101_32x8d", 128, 32, 512, 50_000, 1000, 0.228375),
    13: ("x101_32x8d", 128, 32, 512, 100_000, 1000, 0.225095),
    14: ("x101_32x8d", 128, 32, 512, 5_000, 1000, 0.243045),
    15: ("x101_32x8d", 128, 32, 512, 3_000, 1000, 0.231643),
}


@pytest.mark.parametrize("track, profile", HASHES)
def test_earlier_recipes_keep_their_hashes(track, profile):
    assert load_recipe(track, profile=profile).hash == HASHES[track, profile]


@pytest.mark.parametrize(
    "key, value",
    [
        ("data.folds", {"count": 3, "fold": 1}),
        ("data.cells", 9),
        ("data.sizes", [0.5, 2.0]),
        ("training.patience", 2),
    ],
)
def test_later_keys_count_in_the_hash_when_they_are_set(key, value):
    recipe = load_recipe("5_cells_flows")
    changed = recipe.with_overrides({key: value})
    assert changed.hash != recipe.hash
    assert changed.with_overrides({key: None}).hash == recipe.hash


@pytest.mark.parametrize("number", RUNS)
def test_the_published_runs(number):
    network, roi_batch, smallest, largest, iterations, side, score = RUNS[number]
    variant = f"run_{number:02d}"
    recipe = load_recipe(TRACK, profile="paper", variant=variant)
    settings = recipe.model.settings
    assert recipe.model.name == f"mask_rcnn_{network}_fpn"
    assert (settings["roi_batch"], settings["short_side"], settings["long_side"]) == (roi_batch, side, 1500)
    assert (settings["anchor_sizes"][0], settings["anchor_sizes"][-1]) == (smallest, largest)
    assert recipe.training.iterations == iterations
    described = list_variants(TRACK)[variant]
    assert described.startswith(f"No. {number}: {network.split('_')[0].upper()}, ROI batch {roi_batch}, anchors")
    assert described.endswith(f"{iterations:,} iterations, short side {side}; published score {score}")


def test_there_are_these_runs_and_no_others():
    assert list(list_variants(TRACK)) == [f"run_{number:02d}" for number in RUNS]
    best = load_recipe(TRACK, profile="paper", variant="run_08")
    assert best.hash == load_recipe(TRACK, profile="paper").hash


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("variant", [None, *(f"run_{number:02d}" for number in RUNS)])
def test_every_variant_is_valid_in_every_profile(variant, profile):
    recipe = load_recipe(TRACK, profile=profile, variant=variant)
    assert type(recipe) is InstanceRecipe
    assert Recipe.from_mapping(yaml.safe_load(recipe.to_yaml())) == recipe
    assert recipe.training.whole_images == (profile == "paper")
    # Where the network resizes its windows, inference has to show images at the same scale.
    side = recipe.model.settings.get("short_side")
    if profile != "paper":
        window = recipe.training.window[0]
        assert (side or window) / window == pytest.approx(recipe.inference.scale or 1, abs=5e-3)


def test_the_published_settings():
    from torch import nn

    recipe = load_recipe(TRACK, profile="paper")
    training = recipe.training
    assert (training.batch_size, training.window, training.aspect_grouping) == (2, None, True)
    assert training.optimizer == OptimizerRecipe(name="sgd", learning_rate=2.5e-4, momentum=0.9, weight_decay=1e-4)
    long = load_recipe(TRACK, profile="paper", variant="run_04").training
    rates = [learning_rate_at(i, long) for i in (0, 500, 1000, 209_999, 210_000, 250_000, 499_999)]
    assert rates == pytest.approx([2.5e-7, 1.25125e-4, 2.5e-4, 2.5e-4, 2.5e-5, 2.5e-6, 2.5e-6])
    groups = build_optimizer(nn.Sequential(nn.Linear(2, 2), nn.GroupNorm(1, 2)), training.optimizer).param_groups
    assert [(group["weight_decay"], group["momentum"], len(group["params"])) for group in groups] == [
        (1e-4, 0.9, 1), (0.0, 0.9, 3)]  # fmt: skip
    on = {name for name, part in recipe.augmentation if part.probability > 0}
    assert on == {"flip"}
    assert set(recipe.target.losses.model_dump().values()) == {1.0}
    assert recipe.inference.window is None


@pytest.mark.parametrize(
    "override, words",
    [
        ("data.kind=objects", "'data.kind' is \"objects\""),
        ("data.folds={count: 3, fold: 3}", "data.folds.fold is 3, but must be below data.folds.count, 3"),
        ("data.folds={count: 1}", "'data.folds.count' is 1"),
        ("data.sizes=[2.0, 1.0]", "data.sizes is [2.0, 1.0]"),
        ("data.cells=0", "'data.cells' is 0"),
        ("target.losses={classifier: 0.0, box: 0.0, mask: 0.0, objectness: 0.0, proposal: 0.0}", "are all 0"),
        ("target.losses.masks=1.0", "unknown key 'target.losses.masks' (did you mean 'target.losses.mask'?)"),
        ("target.outputs=[]", "unknown key 'target.outputs'"),
        ("model.settings.backbone_weights_file=a.pth", "a key of its own here: model.backbone_weights"),
        ("model={backbone_weights: a.pth, pretrained: b}", "model.backbone_weights and model.pretrained are both set"),
        ("model.widths=[8]", "model.widths, model.input_mean and model.input_std are not for networks that detect"),
        ("training.whole_images=true", "training.whole_images is true, so training.window must be null"),
        ("training.window=null", "training.window is missing"),
        ("training={window: null, whole_images: true}", "augmentation.zoom.probability is above 0, but training.whole"),
        ("training.patience=0", "'training.patience' is 0"),
        ("training={patience: 2, validate_every: 0, evaluate_every: 0}", "training.patience is set, but training.vali"),
        ("inference.merge_threshold=0.0", "'inference.merge_threshold'"),
        ("inference.scale=0.0", "'inference.scale'"),
        ("evaluation.max_dets=[none]", "'evaluation.max_dets.0"),
        ("postprocessing.method=masks_from_flows", "unknown key 'postprocessing.method'"),
    ],
)
def test_bad_values_are_refused_in_one_sentence(override, words):
    with pytest.raises(ValueError) as caught:
        load_recipe(TRACK, overrides=[override])
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_its_keys_are_not_those_of_pixels():
    with pytest.raises(ValueError, match=r"unknown key 'training\.whole_images'"):
        load_recipe("5_cells_flows", overrides=["training.whole_images=true"])
    with pytest.raises(ValueError, match=r"unknown key 'model\.backbone_weights'"):
        load_recipe("5_cells_flows", overrides=["model.backbone_weights=a.pth"])
