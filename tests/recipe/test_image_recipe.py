"""Recipes of image tracks: their own sections, and volume recipes as they were."""

import pytest
import yaml

from emlib.recipe import ImageRecipe, Recipe, list_variants, load_recipe
from emlib.training import learning_rate_at

TRACK = "5_cells_flows"
VOLUME_HASHES = {
    ("1_mitochondria_contours", "smoke"): "1b022526de9143df",
    ("1_mitochondria_contours", "tutorial"): "ad5c77ab5d5b8d70",
    ("1_mitochondria_contours", "paper"): "5ad1dbaac1d7df6c",
    ("3_neurons_affinities", "paper"): "2d710d21746e02d9",
}


@pytest.mark.parametrize("track, profile", VOLUME_HASHES)
def test_recipes_of_volumes_are_what_they_were(track, profile):
    recipe = load_recipe(track, profile=profile)
    assert type(recipe) is Recipe
    assert recipe.hash == VOLUME_HASHES[track, profile]


def test_the_published_settings():
    recipe = load_recipe(TRACK, profile="paper")
    assert isinstance(recipe, ImageRecipe)
    changes = recipe.augmentation
    assert (changes.zoom.probability, changes.zoom.low, changes.zoom.high) == (0.5, 0.25, 1.5)
    assert [getattr(changes, n).probability for n in ("flip", "rotate", "noise", "gamma", "smooth", "sharpen")] == [
        0.5, 0.5, 0.25, 0.25, 0.25, 0.25]  # fmt: skip
    assert (changes.histogram_shift.control_points, changes.boundary_exclusion.probability) == (3, 0)
    training, inference = recipe.training, recipe.inference
    assert (training.window, training.batch_size, training.amplify) == ((512, 512), 8, 50)
    assert (training.optimizer.name, training.optimizer.learning_rate) == ("adamw", 2e-5)
    assert (inference.window, inference.overlap, inference.augment) == ((512, 512), 0.6, "published")
    assert recipe.postprocessing.parameters() == {
        "probability_threshold": 0.5, "flow_threshold": 0.4, "min_size": 16, "steps": 200}  # fmt: skip
    # 12.5 times the mean over both components; the loss adds them up.
    assert [output.losses[0].weight for output in recipe.target.outputs] == [6.25, 1.0]
    rates = [learning_rate_at(i, training) for i in (0, 26400, 52800)]
    assert rates == pytest.approx([2e-5, 1e-7, 2e-5])


@pytest.mark.parametrize("profile", ["smoke", "tutorial", "paper"])
def test_the_variants(profile):
    assert list(list_variants(TRACK))[:3] == ["pretraining", "fine_tuning", "as_published"]
    first = load_recipe(TRACK, profile=profile, variant="pretraining")
    on = {name for name, part in first.augmentation if part.probability > 0}
    assert on == {"boundary_exclusion", "flip", "rotate"}
    if profile == "paper":
        assert [learning_rate_at(i, first.training) for i in (0, 64400)] == pytest.approx([5e-5, 1e-6])
        assert [one.name for one in first.data.sets] == ["omnipose", "cellpose", "livecell", "dsb2018"]
    published = load_recipe(TRACK, profile=profile, variant="as_published").augmentation.cell_intensity
    assert (published.probability, published.published) == (1.0, True)


def test_it_is_read_back_and_overridden():
    recipe = load_recipe(TRACK, overrides=["training.window=[64, 96]"])
    assert Recipe.from_mapping(yaml.safe_load(recipe.to_yaml())) == recipe
    assert recipe.with_overrides(["seed=3"]).training.window == (64, 96)
    assert recipe.with_overrides(["seed=3"]).hash != recipe.hash


@pytest.mark.parametrize(
    "override, words",
    [
        ("training.window=[8,64,64]", "'training.window"),
        ("data.layout=pairs", "unknown key 'data.layout' (did you mean 'data.sets.layout'?)"),
        ("data.kind=volumes", "'data.kind' is \"volumes\""),
        ("data.split.test=0.5", "data.split adds up to 1.25"),
        ("data.source=registry", "which also needs data.sets"),
        ("data.normalization.high=0.0", "'data.normalization.high'"),
        ("data.normalization={low: 60.0, high: 50.0}", "low must be below high"),
        ("target.outputs=[{name: flow, kind: flow, losses: []}]", "is a flow and needs a rule"),
        ("target.outputs=[{name: a, kind: mask, losses: []}]", "are mask, but a flow and then a mask were expected"),
        ("augmentation.zoom={low: 2.0, high: 1.0}", "low must not be above high"),
        ("augmentation.elastic.probability=1.0", "unknown key 'augmentation.elastic'"),
        ("training.rejection.min_foreground=0.5", "training.rejection is for volumes"),
        ("model.settings={encoder_weights_file: a.pth}", "a key of its own here: model.encoder_weights"),
        ("inference.augment=16", "'inference.augment'"),
    ],
)
def test_bad_values_are_refused_in_one_sentence(override, words):
    with pytest.raises(ValueError) as caught:
        load_recipe(TRACK, overrides=[override])
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
