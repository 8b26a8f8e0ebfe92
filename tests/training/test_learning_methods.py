"""Every learning method of the EM mitochondria pipeline in the one loop."""

import numpy as np
import pytest
import torch
from torch import nn
from training.reading import identical, rows_of, weights_of

from emlib.inference import predict_from_recipe, prediction_channels
from emlib.losses import nearest_prototype_loss, ohem_bce, with_auxiliary
from emlib.losses.voxelwise import weighted_bce
from emlib.models import AuxiliaryOutput, build_model, noisy_prior
from emlib.randomness import torch_generator
from emlib.recipe import list_variants, load_recipe
from emlib.training import load_model, train, training_task, volume_evaluation, with_prior
from emlib.training.checkpoint import read_checkpoint
from emlib.training.launch import launch
from emlib.training.samples import TrainingSamples, ValidationSamples, make_loader
from emlib.training.shown_maps import principal_component, shown_maps, shown_pairs
from emlib.training.validation import validation_loss
from emlib.volume import Volume

TRACK = "2_mitochondria_pipeline"
SMALL = {
    "training.window": [2, 32, 32],
    "training.iterations": 2,
    "training.batch_size": 2,
    "training.log_every": 1,
    "training.image_every": 1,
    "training.save_every": 1,
    "training.validate_every": 2,
    "training.validation_samples": 2,
    "training.evaluate_every": 0,
    "training.rejection": {"min_voxels": 1, "probability": 0.5},
    "model.widths": [4, 4, 6],
    "inference.window": [2, 32, 32],
    "inference.augment": None,
    "postprocessing.min_size": 2,
}


def small(variant=None, **changes):
    changes = SMALL | {key.replace("__", "."): value for key, value in changes.items()}
    if variant == "affinity":
        changes["postprocessing.min_size"] = None
    return load_recipe(TRACK, variant=variant, overrides=changes)


def start(recipe, folder, data, **options):
    train(recipe, folder, data=data, device="cpu", progress=False, **options)
    return folder


def batch_of(recipe, data, size=2):
    image, labels = (Volume(array) for array in data.open("train"))
    (batch,) = make_loader(TrainingSamples(recipe, image, labels, length=size), range(size), batch_size=size)
    return batch


@pytest.mark.parametrize("variant", list_variants(TRACK))
def test_every_variant_trains_and_its_network_is_applied(variant, tiny_data, tmp_path):
    recipe = small(variant)
    folder = start(recipe, tmp_path / variant, tiny_data)
    assert rows_of(folder)["iteration"] == [1, 2]
    content = read_checkpoint(folder)
    network = load_model(folder)
    assert content["model"]["channel_names"] == training_task(recipe).channel_names == network.channel_names
    if variant == "embedding_3d":
        return
    prediction = predict_from_recipe(network, tiny_data.image, recipe, progress=False)
    assert prediction.shape == (len(prediction_channels(recipe)), *tiny_data.image.shape)
    figures = volume_evaluation(recipe, tiny_data)(network, 2)
    assert list(figures) == ["foreground_f1", "precision", "recall"]


@pytest.mark.parametrize("variant", ["ohem", "bce_auxiliary", "discriminative", "embedding_3d", "skeleton"])
def test_a_resumed_run_is_the_same_bit_for_bit(variant, tiny_data, tmp_path):
    schedule = {"name": "plateau", "warmup_iterations": 0, "plateau": {"every": 2, "patience": 0, "threshold": 0.5}}
    changes = {"training__iterations": 7, "training__schedule": schedule}
    whole = start(small(variant, **changes), tmp_path / "whole", tiny_data)
    parts = tmp_path / "parts"
    for iterations in (1, 4, 7):
        start(small(variant, **changes | {"training__iterations": iterations}), parts, tiny_data)
    assert identical(weights_of(whole), weights_of(parts))
    assert [rows_of(folder)["learning_rate"] for folder in (whole, parts)] == [rows_of(whole)["learning_rate"]] * 2
    assert len(set(rows_of(whole)["learning_rate"])) > 1


def test_the_options_of_a_loss_are_those_of_the_function(tiny_data):
    recipe = small("ohem", target__outputs=[
        {"name": "heatmap", "option": "0", "losses": [
            {"name": "OhemBCE", "class_weight": "0", "options": {"kept": 7, "threshold": 0.0}}]}])  # fmt: skip
    batch = batch_of(recipe, tiny_data)
    torch.manual_seed(0)
    said = torch.rand(batch["target"].shape)
    total, parts, _ = training_task(recipe).losses(lambda image: said, batch)
    assert (
        float(total) == float(parts["heatmap/OhemBCE"]) == float(ohem_bce(said, batch["target"], kept=7, threshold=0))
    )


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"keptt": 7}, "The loss OhemBCE has no option 'keptt'; did you mean 'kept'?"),
        ({"kept": 0}, "The option kept of OhemBCE is 0"),
        ({"rule": "publishd"}, "The option rule of OhemBCE is 'publishd'"),
    ],
)
def test_wrong_options_are_refused_before_data_is_read(options, says, tmp_path):
    losses = [{"name": "OhemBCE", "options": options}]
    recipe = small("ohem", target__outputs=[{"name": "heatmap", "option": "0", "losses": losses}])
    with pytest.raises(ValueError) as caught:
        train(recipe, tmp_path / "run", data=5, device="cpu", progress=False)
    assert says in str(caught.value)


def test_the_auxiliary_output_reaches_the_loss_in_training_only(tiny_data):
    recipe = small("bce_auxiliary")
    task, batch = training_task(recipe), batch_of(recipe, tiny_data)
    fine = torch.rand(batch["target"].shape)
    coarse = torch.rand(2, 1, 2, 8, 8)
    weight = task.loss._class_weights(batch["target"], "1", None)
    total, _, said = task.losses(lambda image: AuxiliaryOutput(coarse, fine), batch)
    assert said is fine
    assert float(total) == float(with_auxiliary((coarse, fine), batch["target"], weight, weighted_bce, weighted_bce))
    alone, _, _ = task.losses(lambda image: fine, batch)
    assert float(alone) == float(weighted_bce(fine, batch["target"], weight))
    assert [len(maps) for maps in task.panels(None, batch, said)] == [1, 1, 1]


def test_the_prior_depends_on_the_sample_and_not_on_the_batch(tiny_data):
    recipe = small("embedding_3d")
    task, batch = training_task(recipe), batch_of(recipe, tiny_data, size=3)
    network = build_model("unetv3_ebd", out_channels=1)
    task.follow_data(network, None, {}, None, print)
    seen = []

    def spy(image, prior):
        seen.append(prior)
        return torch.full_like(prior, 0.5)

    task.losses(spy, batch)
    one = {key: value[2:] for key, value in batch.items()}
    task.losses(spy, one)
    assert torch.equal(seen[0][2:], seen[1])
    expected = noisy_prior(batch["target"][2] > 0, generator=torch_generator(recipe.seed, "prior", 2))
    assert torch.equal(seen[1][0], expected)
    turned = (seen[0] != (batch["target"] > 0)).float().mean()
    assert 0.03 < float(turned) < 0.07
    samples = ValidationSamples(recipe, *(Volume(array) for array in tiny_data.open("validation")), divisor=(1, 4, 4))
    fabric = launch(device="cpu")
    assert validation_loss(fabric, network, task, samples) == validation_loss(fabric, network, task, samples)


def test_a_prior_is_guessed_by_another_training(tiny_data, tmp_path):
    second = start(small("embedding_3d"), tmp_path / "second", tiny_data)
    for variant, threshold in (("bce", 0.5), ("skeleton", 0.0)):
        first = start(small(variant), tmp_path / variant, tiny_data)
        recipe = small("embedding_3d", inference__prior=str(first), inference__dtype="float32")
        joined = with_prior(load_model(second), recipe)
        image = torch.rand(1, 1, 2, 32, 32)
        with torch.no_grad():
            prior = (load_model(first)(image) > threshold).float()
            assert torch.equal(joined(image), load_model(second)(image, prior))
        assert predict_from_recipe(joined, tiny_data.image, recipe, progress=False).shape == (1, *tiny_data.image.shape)
        assert "foreground_f1" in volume_evaluation(recipe, tiny_data)(load_model(second), 1)
    with pytest.raises(ValueError, match=r"set inference\.prior to the folder of a training"):
        with_prior(load_model(second), small("embedding_3d"))
    with pytest.raises(ValueError, match="wants a prior beside the image"):
        predict_from_recipe(load_model(second), tiny_data.image, small("embedding_3d"), progress=False)
    with pytest.raises(ValueError, match="which wants no prior"):
        with_prior(load_model(first), small("bce", inference__prior=str(first)))
    with pytest.raises(ValueError, match="wants a prior itself"):
        with_prior(load_model(second), small("embedding_3d", inference__prior=str(second)))
    far = start(small("affinity"), tmp_path / "far", tiny_data)
    with pytest.raises(ValueError, match="puts out no mask, but affinity_0, affinity_1, affinity_2"):
        with_prior(load_model(second), small("embedding_3d", inference__prior=str(far)))


def test_nearest_neighbours_learn_mask_and_vectors(tiny_data):
    recipe = small("nnc")
    task, batch = training_task(recipe), batch_of(recipe, tiny_data)
    assert batch["target"].shape[1] == 1
    assert task.channel_names[:2] == ["heatmap", "embedding_0"]
    torch.manual_seed(0)
    said = torch.rand(2, task.out_channels, *batch["target"].shape[2:])
    weight = task.loss._class_weights(batch["target"], "1", None)
    total, _, _ = task.losses(lambda image: said, batch)
    assert float(total) == float(nearest_prototype_loss(said, batch["target"], weight, prototypes="truth"))


def test_what_is_shown_of_embeddings(tiny_data):
    recipe = small("nnc")
    outputs = recipe.target.outputs
    labels = torch.tensor([0.0, 1.0, 2.0, 2.0]).view(1, 1, 1, 4)
    said = torch.zeros(training_task(recipe).out_channels, 1, 1, 4)
    said[0] = torch.tensor([0.1, 0.8, 0.9, 0.7])
    said[5] = torch.tensor([0.0, 1.0, 4.0, 4.0])
    truth, shown = shown_maps(outputs, labels, said)
    assert truth[0].flatten().tolist() == [0, 1, 1, 1]
    assert len(set(truth[1].flatten().tolist())) == 3
    assert torch.equal(shown[:1], said[:1])
    torch.testing.assert_close(shown[1].flatten(), torch.tensor([0, 0.25, 1, 1]))
    assert shown_pairs(outputs) == [None, None]
    assert torch.equal(principal_component(torch.ones(3, 1, 2, 2)), torch.zeros(1, 1, 2, 2))


@pytest.mark.parametrize(
    ("variant", "changes", "says"),
    [
        ("bce", {"model__settings": {"output": "sigmoid", "auxiliary": True}}, "no loss of target.outputs takes it"),
        ("bce_auxiliary", {"model__settings": {"auxiliary": False}}, "'unetv3', has none"),
        ("embedding_2d", {"target__outputs": [{"name": "heatmap", "option": "0", "losses": [{"name": "AuxBCE"}]}]},
         "The loss AuxBCE of target.outputs wants an auxiliary output"),
        ("bce", {"model__settings": {"output": "tanh"}}, "'tanh', from -1 to 1, but target.outputs 'heatmap' is not"),
        ("skeleton", {"model__settings": {"output": "sigmoid"}}, "runs from -1 to 1"),
        ("embedding_3d", {"training__evaluate_every": 1}, "inference.prior, from which the evaluation every"),
        ("embedding_3d", {"target__outputs": [{"name": "a", "offsets": [[0, 0, -1]], "losses": [
            {"name": "WeightedBCE"}]}]}, "whose prior is a mask, but target.outputs are not one mask"),
        ("nnc", {"target__outputs": [{"name": "a", "embedding": 37, "losses": [{"name": "NearestPrototype"}]}]},
         "for the kind of output 'mask and embedding', but target.outputs 'a' is of the kind 'embedding'"),
        ("bce", {"target__outputs": [{"name": "a", "option": "0", "losses": [{"name": "Discriminative"}]}]},
         "The loss Discriminative is for the kind of output 'embedding'"),
    ],
)  # fmt: skip
def test_networks_and_losses_that_do_not_belong_together_are_refused(variant, changes, says, tiny_data, tmp_path):
    with pytest.raises(ValueError) as caught:
        start(small(variant, **changes), tmp_path / "run", tiny_data)
    assert says in str(caught.value)
    assert not (tmp_path / "run").exists()


class Signed(nn.Module):
    """What a network with a tanh says: bright is 1, dark is -1."""

    def forward(self, image):
        return image * 2 - 1


def test_negative_values_of_a_tanh_are_stored_as_0(tiny_data):
    recipe = small("skeleton", inference__overlap=0.0)
    prediction = predict_from_recipe(Signed(), tiny_data.image, recipe, progress=False)
    expected = (tiny_data.image.astype(np.float64) / 255 * 2 - 1).clip(0) * 255
    np.testing.assert_allclose(prediction[0], expected, atol=1)
    assert prediction.dtype == np.uint8
    assert (prediction[0][tiny_data.image < 127] == 0).all()


def test_embeddings_are_neither_turned_nor_stored_as_bytes(tiny_data):
    channels = training_task(small("discriminative")).out_channels
    network = build_model("unetv3_ebd2", widths=(4, 4, 6), out_channels=channels)
    with pytest.raises(ValueError, match="'embedding' is an embedding, which uint8 cannot hold"):
        predict_from_recipe(network, tiny_data.image, small("discriminative", inference__dtype="uint8"))
    with pytest.raises(ValueError, match=r"set inference\.augment to null"):
        predict_from_recipe(network, tiny_data.image, small("discriminative", inference__augment=4))
    with pytest.raises(ValueError, match="no target of the recipe is an embedding with a mask"):
        prediction_channels(small("discriminative", inference__classify="nearest_prototype"))


def test_the_evaluation_of_the_foreground_chooses_the_best_checkpoint(tiny_data, tmp_path):
    changes = {
        "training__iterations": 6,
        "training__evaluate_every": 2,
        "postprocessing__foreground": 0.4,
        "postprocessing__seed": 0.5,
    }
    folder = start(small("bce", **changes), tmp_path / "run", tiny_data)
    log = rows_of(folder)
    scored = {i: f1 for i, f1 in zip(log["iteration"], log["foreground_f1"], strict=True) if f1 is not None}
    assert list(scored) == [2, 4, 6]
    assert all(log[name][1] is not None for name in ("precision", "recall"))
    best = read_checkpoint(folder)["best"]
    assert best["metric"] == "foreground_f1"
    assert best["value"] == max(scored.values())


def test_samples_lie_where_the_labels_are_known(tiny_data, tmp_path):
    from emlib.data import load_prepared, prepare_data
    from emlib.training.material import training_samples
    from emlib.volume import save_volume

    mask = np.zeros(tiny_data.image.shape, np.uint16)
    mask[:, :, :36] = 300
    for name, array in {"image": tiny_data.image, "labels": tiny_data.labels, "valid": mask}.items():
        save_volume(tmp_path / f"{name}.h5", array, voxel_size=tiny_data.voxel_size)
    source = {"source": "files", **{name: str(tmp_path / f"{name}.h5") for name in ("image", "labels", "valid")}}
    source |= {"split": {"train": [0, 4], "validation": [4, 6], "test": [6, 8]}}
    changes = {"data": source, "training__window": [2, 16, 16], "training__rejection": {"min_valid": 0.95}}
    changes |= {f"augmentation__{name}__probability": 0.0 for name in ("rotate", "rescale", "elastic", "misalign")}
    recipe = small("bce", **changes)
    prepare_data(recipe, tmp_path / "prepared")
    data = load_prepared(tmp_path / "prepared")
    np.testing.assert_array_equal(data.open_valid("train")[:], mask[:4] > 0)
    samples = training_samples(recipe, data, length=60, batch_size=1)
    size = samples.augmentation.sample_size
    assert size[2] < 40
    places = {int(samples.crops[index]["position"][2]) for index in range(60)}
    assert len(places) > 5
    assert all((mask[:, :, x : x + size[2]] > 0).mean() > 0.95 for x in places)
    prepare_data(small("bce", data=source | {"valid": None}), tmp_path / "prepared")
    assert load_prepared(tmp_path / "prepared").open_valid("train") is None
    source["valid"] = str(tmp_path / "short.h5")
    save_volume(tmp_path / "short.h5", mask[:3], voxel_size=tiny_data.voxel_size)
    with pytest.raises(ValueError, match=r"but the mask of data\.valid has \(3, 40, 40\)"):
        prepare_data(small("bce", data=source), tmp_path / "other")
