"""Groups and memory replay in a recipe of images."""

import pytest
import yaml

from emlib.recipe import Recipe, load_recipe

TRACK = "5_cells_flows"


@pytest.mark.parametrize("profile", ["smoke", "tutorial", "paper"])
def test_both_are_off_unless_asked_for(profile):
    training = load_recipe(TRACK, profile=profile).training
    assert (training.groups, training.replay) == (None, None)


def test_they_are_read_back():
    overrides = ["training.replay={data: runs/old, samples: 2}", "training.groups=groups.csv", "training.amplify=50"]
    recipe = load_recipe(TRACK, overrides=overrides)
    replay = recipe.training.replay
    assert (replay.data, replay.samples, replay.boundary_exclusion) == ("runs/old", 2, True)
    assert recipe.training.groups == "groups.csv"
    assert Recipe.from_mapping(yaml.safe_load(recipe.to_yaml())) == recipe
    assert load_recipe(TRACK, overrides={"training.replay": {"data": "x"}}).training.replay.samples == 1
    assert recipe.with_overrides({"training.replay": None}).training.replay is None


@pytest.mark.parametrize(
    "overrides, words",
    [
        (["training.replay={data: x, samples: 4}"], "training.replay.samples is 4, but must be less than"),
        (["training.replay={data: x}", "training.batch_size=1"], "must be less than training.batch_size, 1"),
        (["training.replay={data: x, samples: 0}"], "'training.replay.samples' is 0"),
        (["training.replay={samples: 1}"], "'training.replay.data' is missing"),
        (["training.replay=runs/old"], "'training.replay' is \"runs/old\""),
        (["training.replay={data: x, boundary: true}"], "unknown key 'training.replay.boundary'"),
        (["training.groups=a.csv", "training.amplify=0"], "training.groups is set, but training.amplify"),
        (["training.groups=3"], "'training.groups' is 3"),
    ],
)
def test_bad_values_are_refused_in_one_sentence(overrides, words):
    with pytest.raises(ValueError) as caught:
        load_recipe(TRACK, overrides=overrides)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_volumes_have_none_of_it():
    with pytest.raises(ValueError, match=r"unknown key 'training\.replay'"):
        load_recipe("1_mitochondria_contours", overrides=["training.replay={data: x}"])
