"""Recipes: validated, typed, hashed; every refusal names the key."""

import subprocess
import sys

import pytest
import yaml

from emlib.recipe import PROFILES, Recipe, list_tracks, load_recipe

TRACK = "1_mitochondria_contours"


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("track", list_tracks())
def test_every_profile_of_every_track_is_valid(track, profile):
    recipe = load_recipe(track, profile=profile)
    assert (recipe.track, recipe.profile) == (track, profile)
    assert Recipe.from_mapping(yaml.safe_load(recipe.to_yaml())) == recipe


def test_paper_profile_holds_the_published_settings():
    recipe = load_recipe(TRACK, profile="paper")
    training, inference = recipe.training, recipe.inference
    assert training.window == (36, 320, 320)
    assert (training.iterations, training.batch_size, training.save_every) == (300_000, 2, 1500)
    assert (training.optimizer.name, training.optimizer.learning_rate) == ("adam", 1e-4)
    assert (training.schedule.warmup_iterations, training.schedule.milestones) == (1000, (300_000,))
    assert (recipe.data.chunks, recipe.data.chunk_iterations, recipe.target.label_erosion) == ((8, 2, 2), 2500, 1)
    assert [output.option for output in recipe.target.outputs] == ["0", "4-2-1"]
    assert (inference.window, inference.stride, inference.pad) == ((32, 256, 256), (16, 128, 128), (16, 128, 128))
    post = recipe.postprocessing
    assert (post.seed_mask, post.seed_contour, post.foreground, post.min_size) == (0.9, 0.8, 0.85, 128)
    assert (recipe.evaluation.size_limits, recipe.evaluation.drop_truth_below) == ((5000, 30000), 2000)


def test_each_published_loss_weight_is_there_once():
    for output in load_recipe(TRACK, profile="paper").target.outputs:
        assert {term.name: term.weight for term in output.losses} == {"WeightedBCE": 1.0, "DiceLoss": 0.0}


def test_overrides_are_read_as_yaml_and_laid_over_the_profile():
    recipe = load_recipe(TRACK, overrides=["training.iterations=7", "training.window=[4,32,32]", "seed=5"])
    assert (recipe.training.iterations, recipe.training.window, recipe.seed) == (7, (4, 32, 32), 5)
    assert load_recipe(TRACK, overrides={"training.iterations": 7}).training.iterations == 7


@pytest.mark.parametrize(
    "override, words",
    [
        ("training.iteration=3", "unknown key 'training.iteration' (did you mean 'training.iterations'?)"),
        ("learning_rate=1", "unknown key 'learning_rate' (did you mean 'training.optimizer.learning_rate'?)"),
        ("training.iterations=many", "'training.iterations' is \"many\""),
        ("training.iterations=1.5", "'training.iterations' is 1.5"),
        ("training.iterations=-1", "'training.iterations' is -1"),
        ("training.window=[8,64]", "'training.window"),
        ("training.optimizer.name=adamm", "'training.optimizer.name' is \"adamm\""),
        ("inference.overlap=1.0", "'inference.overlap' is 1.0"),
        ("data.split.test=[30,20]", "its start must lie before its end"),
        ("data.split.test=[0,20]", "split.train (0, 24) overlaps split.test (0, 20)"),
        ("data.source=files", "data.image and data.labels"),
        ("target.outputs=[{nam: mask}]", "unknown key 'target.outputs.nam'"),
        ("training", "not of the form key=value"),
        ("target.outputs=[{name: a, losses: []}]", "'a' needs an option, offsets or an embedding, but has none"),
        ("target.outputs=[{name: a, option: '2', offsets: [[0, 0, 1]], losses: []}]", "but has option and offsets"),
        ("target.outputs=[{name: a, offsets: [[0, 0, 0]], losses: []}]", "the offset (0, 0, 0), or an offset twice"),
        ("target.outputs=[{name: a, offsets: [[0, 1]], losses: []}]", "'target.outputs.0.offsets.0"),
        ("model.settings={widths: [8]}", "which is a key of its own: model.widths"),
        ("model.settings={out_channels: 3}", "but these follow from the targets"),
        ("postprocessing.thresholds=[0.1, 1.5]", "'postprocessing.thresholds.1' is 1.5"),
        ("postprocessing.fragment_dimensions=4", "'postprocessing.fragment_dimensions' is 4"),
        ("evaluation.border=[1]", "'evaluation.border"),
        ("evaluation.convention=snemi", "'evaluation.convention' is \"snemi\""),
        ("variant=wide", "has no variant 'wide'; it has none"),
    ],
)
def test_bad_overrides_are_refused_in_one_sentence(override, words):
    with pytest.raises(ValueError) as caught:
        load_recipe(TRACK, overrides=[override])
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_track_and_profile_name_the_nearest():
    with pytest.raises(FileNotFoundError, match="did you mean '1_mitochondria_contours'"):
        load_recipe("1_mitochondria_contour")
    with pytest.raises(ValueError, match="did you mean 'smoke'"):
        load_recipe(TRACK, profile="smok")


def test_own_recipe_file_and_its_errors(tmp_path):
    base = load_recipe(TRACK).model_dump(mode="json")
    for key in ("track", "profile", "seed"):
        base.pop(key)
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"base": base, "profiles": {"smoke": {"training": {"iterations": 3}}}}))
    recipe = load_recipe(path)
    assert (recipe.track, recipe.training.iterations) == ("mine", 3)
    path.write_text("base: [unclosed")
    with pytest.raises(ValueError, match="not valid YAML"):
        load_recipe(path)
    path.write_text("bases: {}")
    with pytest.raises(ValueError, match="must hold the key 'base'"):
        load_recipe(path)
    with pytest.raises(FileNotFoundError, match="no recipe file"):
        load_recipe(tmp_path / "absent.yaml")


def test_hash_depends_on_values_only():
    recipe = load_recipe(TRACK)
    shuffled = dict(reversed(recipe.model_dump(mode="json").items()))
    assert Recipe.from_mapping(shuffled).hash == recipe.hash
    assert load_recipe(TRACK, overrides=["seed=1"]).hash != recipe.hash
    code = f"from emlib.recipe import load_recipe; print(load_recipe('{TRACK}').hash)"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == recipe.hash


def test_a_recipe_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        load_recipe(TRACK).training.iterations = 3
