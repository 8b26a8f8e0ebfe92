"""Recipes of classes: the published baselines, and which targets and methods belong together."""

import pytest
import torch
import yaml

from emlib.inference.windows import check_divisible
from emlib.losses import CompositeLoss
from emlib.models import build_model, count_parameters
from emlib.recipe import Recipe, list_variants, load_recipe
from emlib.recipe_schema import ImagePostprocessingRecipe
from emlib.recipe_schema.image_training import POSTPROCESSING_KEYS
from emlib.targets import channel_names, output_channel_count
from emlib.training import learning_rate_at

TRACK = "5_cells_flows"
BASELINES = {"baseline_unet": 1_626_072, "baseline_unetr": 87_598_355, "baseline_swin_unetr": 6_302_925}
CLASSES = [{"name": "classes", "kind": "classes", "losses": [{"name": "DiceCE"}]}]


def network_of(recipe, device="cpu"):
    with torch.device(device):
        return build_model(
            recipe.model.name, in_channels=3, out_channels=len(channel_names(recipe.target.outputs)),
            **recipe.model.options(),
        )  # fmt: skip


@pytest.mark.parametrize("variant", BASELINES)
def test_the_published_settings(variant):
    assert variant in list_variants(TRACK)
    recipe = load_recipe(TRACK, profile="paper", variant=variant)
    training, inference, data = recipe.training, recipe.inference, recipe.data.normalization
    assert (training.window, training.batch_size, training.iterations) == ((256, 256), 8, 2000 * 900 // 8)
    assert (training.optimizer.name, training.optimizer.weight_decay) == ("adamw", 0.01)
    assert [learning_rate_at(i, training) for i in (0, 30_000, 225_000)] == [6e-4] * 3
    assert (inference.window, inference.overlap, inference.blending, inference.augment) == (
        (256, 256), 0.25, "constant", None)  # fmt: skip
    assert (data.low, data.high, data.per_channel) == (1.0, 99.0, True)
    assert recipe.augmentation.cell_intensity.probability == 0
    assert [term.name for output in recipe.target.outputs for term in output.losses] == ["DiceCE"]
    assert recipe.postprocessing.method == "cells_from_classes"
    assert recipe.postprocessing.parameters() == {
        "threshold": 0.5, "fill_holes_below": 64, "min_size": 16, "grow": 0}  # fmt: skip
    # Weights are not needed to count them; one network cannot be built without.
    assert count_parameters(network_of(recipe, "cpu" if "swin" in variant else "meta")) == BASELINES[variant]


@pytest.mark.parametrize("profile", ["smoke", "tutorial"])
@pytest.mark.parametrize("variant", BASELINES)
def test_smaller_profiles_fit_their_windows(variant, profile):
    recipe = load_recipe(TRACK, profile=profile, variant=variant)
    network = network_of(recipe)
    check_divisible(recipe.training.window, network.min_divisor)
    check_divisible(recipe.inference.window, network.min_divisor)
    assert network.output == "softmax"
    assert count_parameters(network) < 7e6
    assert recipe.postprocessing.grow == 2
    CompositeLoss([(output.name, output_channel_count(output), output.losses) for output in recipe.target.outputs])
    assert Recipe.from_mapping(yaml.safe_load(recipe.to_yaml())) == recipe


def test_parameters_are_those_of_the_methods_functions():
    import inspect

    from emlib import postprocessing

    for method, own in POSTPROCESSING_KEYS.items():
        assert {*own, "min_size"} <= inspect.signature(getattr(postprocessing, method)).parameters.keys()
    fields = ImagePostprocessingRecipe.model_fields.keys() - {"method", "min_size"}
    assert fields == {key for own in POSTPROCESSING_KEYS.values() for key in own}


@pytest.mark.parametrize(
    "variant, overrides, words",
    [
        (None, {"target.outputs": CLASSES}, "method is 'masks_from_flows', but target.outputs are classes"),
        (
            None,
            {"postprocessing": {"method": "cells_from_classes"}},
            "probability_threshold is set, but postprocessing",
        ),
        (None, {"postprocessing.grow": 1}, "postprocessing.grow is set, but postprocessing.method, masks_from_flows"),
        (None, {"postprocessing.method": "cells"}, "'postprocessing.method' is \"cells\""),
        (None, {"target.outputs": CLASSES * 2}, "are classes, classes, but a flow and then a mask were expected"),
        (None, {"target.outputs": [CLASSES[0] | {"rule": "mediar"}]}, "'classes' is classes and has a rule"),
        (None, {"target.outputs": [CLASSES[0] | {"kind": "class"}]}, "'target.outputs.0.kind' is \"class\""),
        ("baseline_unet", {"postprocessing.flow_threshold": 0.4}, "cells_from_classes, has no flow_threshold"),
        ("baseline_unet", {"postprocessing.threshold": 2.0}, "'postprocessing.threshold' is 2.0"),
        ("baseline_unet", {"postprocessing.grw": 1}, "(did you mean 'postprocessing.grow'?)"),
    ],
)
def test_what_does_not_belong_together_is_refused_in_one_sentence(variant, overrides, words):
    with pytest.raises(ValueError) as caught:
        load_recipe(TRACK, variant=variant, overrides=overrides)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
