"""Variants of a recipe: laid over a profile, named in one list, and part of the hash through their values only."""

import pytest
import yaml

from emlib.recipe import Recipe, list_variants, load_recipe
from emlib.recipe_schema import ModelRecipe

FILE = """
base:
  title: Neurons
  data: {structure: neurites}
  target:
    outputs:
      - {name: affinity, option: "2", losses: [{name: WeightedBCE}]}
  model: {name: unet_3d, widths: [8, 16], settings: {norm: gn, block: residual}}
  inference: {window: [4, 32, 32]}
  training: {iterations: 100, window: [4, 32, 32]}
profiles:
  smoke:
    data: {source: phantom, shape: [8, 64, 64], voxel_size: [30.0, 6.0, 6.0]}
    training: {iterations: 10}
  paper:
    data: {source: files, image: train-input.tif, labels: train-labels.tif}
variants:
  long_range:
    description: twelve channels
    target:
      outputs:
        - {name: near, option: "2", losses: [{name: WeightedBCE}]}
        - {name: far, offsets: [[0, -9, 0], [0, 0, -9]], losses: [{name: WeightedBCE}]}
    training: {iterations: 20}
    profiles:
      smoke:
        training: {iterations: 30}
  fpn:
    description: a feature pyramid
    model: {name: fpn_3d, widths: null}
  se:
    model: {settings: {block: residual_se}}
  same:
"""
SPLIT = {"data.split": {"train": [0, 4], "validation": [4, 6], "test": [6, 8]}}


@pytest.fixture
def track(tmp_path):
    path = tmp_path / "neurons.yaml"
    path.write_text(FILE)
    return path


def load(track, **options):
    return load_recipe(track, **{"overrides": SPLIT} | options)


def test_later_changes_win(track):
    """base, profile, variant, the variant's profile, overrides."""
    assert load(track, profile="paper").training.iterations == 100
    assert load(track).training.iterations == 10
    assert load(track, profile="paper", variant="long_range").training.iterations == 20
    assert load(track, variant="long_range").training.iterations == 30
    overrides = SPLIT | {"training.iterations": 40}
    recipe = load(track, variant="long_range", overrides=overrides)
    assert recipe.training.iterations == 40
    assert (recipe.variant, recipe.profile, recipe.track) == ("long_range", "smoke", "neurons")
    assert recipe.target.outputs[1].offsets == ((0, -9, 0), (0, 0, -9))
    assert load(track).variant is None


def test_settings_belong_to_one_network(track):
    assert load(track).model.options() == {"norm": "gn", "block": "residual", "widths": [8, 16]}
    assert load(track, variant="se").model.options()["block"] == "residual_se"
    assert load(track, variant="se").model.settings["norm"] == "gn"
    assert load(track, variant="fpn").model.options() == {}
    other = load(track, overrides=SPLIT | {"model.name": "rsunet", "model.settings.norm": "in"})
    assert other.model.settings == {"norm": "in"}
    same = load(track, overrides=SPLIT | {"model.settings.norm": "in"})
    assert same.model.settings == {"norm": "in", "block": "residual"}
    model = ModelRecipe(name="unet_3d", settings={"depths": [1, 2], "pool": True}, input_mean=0.5, input_std=0.5)
    assert model.options() == {"depths": [1, 2], "pool": True, "input_mean": 0.5, "input_std": 0.5}


def test_variants_are_listed_in_order(track):
    assert list_variants(track) == {"long_range": "twelve channels", "fpn": "a feature pyramid", "se": "", "same": ""}


def test_the_hash_depends_on_a_variants_values_and_not_on_its_name(track):
    plain = load(track)
    assert load(track, variant="same").hash == plain.hash
    assert load(track, variant="same") != plain
    assert load(track, variant="fpn").hash != plain.hash
    by_hand = load(track, overrides=SPLIT | {"model": {"name": "fpn_3d", "widths": None}})
    assert by_hand.hash == load(track, variant="fpn").hash


def test_a_variant_may_be_chosen_by_an_override(track):
    for overrides in (SPLIT | {"variant": "fpn"}, [f"data.split={SPLIT['data.split']}", "variant=fpn"]):
        assert load(track, overrides=overrides) == load(track, variant="fpn")
    assert load(track, overrides=SPLIT | {"variant": None}) == load(track)
    with pytest.raises(ValueError, match="Two variants of neurons were chosen: 'se' and 'fpn'"):
        load(track, variant="se", overrides=SPLIT | {"variant": "fpn"})


def test_a_loaded_recipe_keeps_its_variant(track):
    recipe = load(track, variant="long_range")
    assert Recipe.from_mapping(yaml.safe_load(recipe.to_yaml())) == recipe
    assert recipe.with_overrides({"seed": 3}).variant == "long_range"
    with pytest.raises(ValueError, match="a variant is chosen when a recipe is loaded"):
        recipe.with_overrides({"variant": "fpn"})


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("  same:\n", "  same: 3\n", "'variants' must map names to the keys"),
        ("  same:\n", "  same: {modell: {}}\n", "unknown key 'modell' (did you mean 'model'?)"),
        (
            "  same:\n",
            "  same: {profiles: {smok: {}}}\n",
            "variant 'same' has no profile 'smok' (did you mean 'smoke'?)",
        ),
        ("variants:", "variant:", "and nothing else"),
    ],
)
def test_mistakes_in_the_file_are_named(track, before, after, says):
    track.write_text(FILE.replace(before, after))
    with pytest.raises(ValueError) as caught:
        load(track, variant="same")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_variants_name_the_nearest(track):
    with pytest.raises(ValueError, match=r"neurons.yaml has no variant 'longrange' \(did you mean 'long_range'\?\)"):
        load(track, variant="longrange")
