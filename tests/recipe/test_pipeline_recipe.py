"""The recipe of the EM mitochondria pipeline: its published values, its variants, and keys that came with it."""

import pytest

from emlib.losses import CompositeLoss
from emlib.models import build_model
from emlib.recipe import PROFILES, Recipe, list_variants, load_recipe
from emlib.recipe_schema.later_keys import LATER_KEYS, without_later_defaults
from emlib.targets import channel_names, class_weights, output_channel_count, target_channel_count
from emlib.training.resume import check_same_training

TRACK = "2_mitochondria_pipeline"
# Of the method table: variant -> network and loss.
METHODS = {
    "skeleton": ("unetv3", "WeightedMSE"),
    "ohem_mse": ("unetv3", "OhemMSE"),
    "mse_auxiliary": ("unetv3", "AuxMSE"),
    "bce": ("unetv3", "WeightedBCE"),
    "bce_auxiliary": ("unetv3", "AuxBCE"),
    "ohem": ("unetv3", "OhemBCE"),
    "ohem_published": ("unetv3", "OhemBCE"),
    "ohem_auxiliary": ("unetv3", "AuxOhemBCE"),
    "nnc": ("unetv3_ebd2", "NearestPrototype"),
    "nnc_published": ("unetv3_ebd2", "NearestPrototype"),
    "discriminative": ("unetv3_ebd2", "Discriminative"),
    "discriminative_two_classes": ("unetv3_ebd2", "DiscriminativeTwoClasses"),
    "embedding_2d": ("unet2d_ebd", "WeightedBCE"),
    "embedding_3d": ("unetv3_ebd", "WeightedBCE"),
    "affinity": ("unetv3", "WeightedBCE"),
}


def test_the_methods_are_the_variants():
    assert list(list_variants(TRACK)) == list(METHODS)
    assert all(list_variants(TRACK).values())


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("variant", METHODS)
def test_variants_fit_their_network_and_losses(variant, profile):
    recipe = load_recipe(TRACK, profile=profile, variant=variant)
    network, loss = METHODS[variant]
    outputs = recipe.target.outputs
    assert recipe.model.name == network
    assert outputs[-1].losses[-1].name == loss
    model = build_model(network, in_channels=1, out_channels=len(channel_names(outputs)), **recipe.model.options())
    for window in (recipe.training.window, recipe.inference.window):
        assert all(length % step == 0 for length, step in zip(window, model.min_divisor, strict=True))
    terms = [(o.name, output_channel_count(o), o.losses, target_channel_count(o)) for o in outputs]
    CompositeLoss(terms, class_weights=class_weights)
    assert getattr(model, "auxiliary", False) == loss.startswith("Aux")
    assert Recipe.from_mapping(recipe.model_dump(mode="json")) == recipe


def test_the_published_settings():
    recipe = load_recipe(TRACK, profile="paper")
    training, optimizer, augmentation = recipe.training, recipe.training.optimizer, recipe.augmentation
    assert (optimizer.name, optimizer.learning_rate, optimizer.betas) == ("adam", 1e-4, (0.9, 0.999))
    assert (optimizer.weight_decay, optimizer.amsgrad) == (1e-6, True)
    assert training.schedule.plateau.model_dump() == {
        "every": 10, "patience": 1000, "factor": 0.1, "threshold": 1e-4, "lowest_rate": 1e-7,
    }  # fmt: skip
    assert (training.rejection.min_voxels, training.rejection.probability) == (101, 0.7)
    assert load_recipe(TRACK, profile="paper", variant="bce").training.rejection.probability == 0.9
    chances = [
        getattr(augmentation, name).probability
        for name in (
            "rotate",
            "rescale",
            "flip",
            "elastic",
            "grayscale",
            "missing_parts",
            "missing_section",
            "misalign",
        )
    ]
    assert chances == [1.0, 0.75, 1.0, 0.75, 0.75, 0.9, 0.5, 1.0]
    embedding = load_recipe(TRACK, profile="paper", variant="nnc").augmentation
    assert (embedding.missing_section.probability, embedding.misalign.probability) == (0.0, 0.0)
    post = recipe.postprocessing
    assert [int(255 * value) for value in (post.foreground, post.seed)] == [16, 150]
    assert (post.min_size, post.min_seed_size) == (1000, 100)
    assert training.evaluate_every == 1000
    assert recipe.evaluation.measure == "foreground"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("training.optimizer.amsgrad", True),
        ("training.optimizer.betas", [0.5, 0.999]),
        ("training.rejection.min_voxels", 5),
        ("inference.prior", "runs/bce"),
        ("evaluation.measure", "foreground"),
        ("postprocessing.seed", 0.5),
        ("postprocessing.connected", True),
    ],
)
def test_later_keys_count_in_the_hash_when_they_are_set(key, value):
    recipe = load_recipe("1_mitochondria_contours")
    changed = recipe.with_overrides({key: value})
    assert changed.hash != recipe.hash
    assert changed.with_overrides({key: LATER_KEYS[key]}).hash == recipe.hash == "1b022526de9143df"


def test_options_of_a_loss_count_in_the_hash():
    recipe = load_recipe("1_mitochondria_contours")
    outputs = recipe.model_dump(mode="json")["target"]["outputs"]
    assert outputs[0]["losses"][1]["options"] == {}
    outputs[0]["losses"][1]["options"] = {"smooth": 10.0}
    changed = recipe.with_overrides({"target.outputs": outputs})
    assert changed.hash != recipe.hash
    outputs[0]["losses"][1]["options"] = {}
    assert changed.with_overrides({"target.outputs": outputs}).hash == recipe.hash


@pytest.mark.parametrize("track", ["1_mitochondria_contours", "3_neurons_affinities", "5_cells_flows"])
def test_a_training_of_before_these_keys_goes_on(track):
    recipe = load_recipe(track)
    stored = without_later_defaults(recipe.model_dump(mode="json"))
    assert stored != recipe.model_dump(mode="json")
    assert "options" not in stored["target"]["outputs"][0]["losses"][0]
    check_same_training(stored, recipe, "run")
    outputs = recipe.model_dump(mode="json")["target"]["outputs"]
    outputs[0]["losses"][0]["options"] = {"smooth": 2.0}
    with pytest.raises(ValueError, match=r"holds a training with target.outputs"):
        check_same_training(stored, recipe.with_overrides({"target.outputs": outputs}), "run")
    with pytest.raises(ValueError, match=r"training.optimizer.amsgrad = None, but this recipe has True"):
        check_same_training(stored, recipe.with_overrides({"training.optimizer.amsgrad": True}), "run")


@pytest.mark.parametrize(
    ("output", "says"),
    [
        ({"option": "0", "embedding": 4}, "needs an option, offsets or an embedding, but has option and embedding"),
        ({"option": "0", "mask": "m"}, "has a mask, which only an embedding can have"),
        ({"embedding": 0}, "embedding"),
    ],
)
def test_outputs_are_of_one_kind(output, says):
    with pytest.raises(ValueError) as caught:
        load_recipe(TRACK, overrides={"target.outputs": [{"name": "a", "losses": []} | output]})
    assert says in str(caught.value)
