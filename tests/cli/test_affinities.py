"""The commands on affinities and on variants of a recipe."""

import re

import numpy as np
import pytest
import yaml
from cli.running import refused, said, settings

from emlib.postprocessing import segment
from emlib.recipe import load_recipe
from emlib.training import load_recipe_of
from emlib.volume import open_volume

OFFSETS = [[-1, 0, 0], [0, -1, 0], [0, 0, -1], [0, -3, 0], [0, 0, -3]]
OUTPUTS = [
    {"name": "mask", "option": "0", "losses": [{"name": "WeightedBCE"}]},
    {"name": "affinity", "offsets": OFFSETS, "losses": [{"name": "WeightedBCE"}]},
]


@pytest.fixture(scope="module")
def own_recipe(tmp_path_factory):
    """A recipe file with a variant of affinities."""
    base = load_recipe("1_mitochondria_contours").model_dump(mode="json")
    for key in ("track", "profile", "seed", "variant"):
        base.pop(key)
    variant = {"description": "near and far", "target": {"outputs": OUTPUTS}, "inference": {"augment": 8}}
    path = tmp_path_factory.mktemp("recipe") / "own.yaml"
    content = {"base": base, "profiles": {"smoke": {}}, "variants": {"affinities": variant}}
    path.write_text(yaml.safe_dump(content))
    return path


def test_variants_are_shown_and_named(own_recipe, monkeypatch):
    text = said("recipe", "show", own_recipe, "--variant", "affinities")
    recipe = load_recipe(own_recipe, variant="affinities")
    assert text.splitlines()[0] == f"# hash {recipe.hash}"
    assert type(recipe).from_mapping(yaml.safe_load(text)) == recipe
    assert "has no variant 'affinity' (did you mean 'affinities'?)" in refused(
        "recipe", "show", own_recipe, "--variant", "affinity"
    )
    monkeypatch.setattr("emlib.recipe.FOLDER", own_recipe.parent)
    lines = said("recipe", "list").splitlines()
    assert lines[0].startswith("own ")
    assert re.fullmatch(r"  --variant affinities +near and far", lines[1])


def test_the_help_of_train_explains_torchrun():
    assert "torchrun --nproc_per_node=2 -m emlib train" in " ".join(said("train", "--help").split())


def test_a_variant_is_trained_applied_and_segmented(work, own_recipe, tmp_path):
    """From a recipe of affinities to neurons; the prediction says which offsets its channels have."""
    arguments = settings("inference.augment=8", "evaluation.drop_truth_below=0")
    run, prediction, labels = tmp_path / "run", tmp_path / "prediction.zarr", tmp_path / "labels.h5"
    options = ("--out", run, "--data-dir", work, "--device", "cpu")
    said("train", own_recipe, "--variant", "affinities", *arguments, *options)
    recipe = load_recipe_of(run)
    assert (recipe.variant, recipe.inference.augment) == ("affinities", 8)
    said("predict", run, work / "image.h5", prediction, "--device", "cpu", "-s", "inference.dtype=float32")
    volume = open_volume(prediction)
    assert volume.attributes["channels"] == ["mask", *(f"affinity_{number}" for number in range(5))]
    assert volume.attributes["offsets"] == [None, *OFFSETS]

    text = said("segment", prediction, labels, "--method", "mutex_watershed", "-s", "min_size=3")
    names = volume.attributes["channels"]
    found = segment(volume[:], "mutex_watershed", channels=names, offsets=OFFSETS, min_size=3)
    assert text == f"{labels}: {np.count_nonzero(np.unique(found))} objects\n"
    np.testing.assert_array_equal(open_volume(labels)[:], found)
    merged = tmp_path / "merged.h5"
    method = ("--method", "affinity_agglomeration", "-s", "threshold=0.9")
    assert said("segment", prediction, merged, *method).startswith(f"{merged}: ")
    assert "VOI" in said("evaluate", merged, labels)


def test_a_variant_of_notebooks_is_their_parameter():
    assert "has no parameter 'variant'" in refused("reproduce", "1_mitochondria_contours", "--variant", "affinities")
