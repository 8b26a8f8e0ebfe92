"""The one loop on images: samples, learning, resuming, scores."""

import signal

import numpy as np
import pytest
import torch
from training.image_scene import TINY, TinyData, tiny_recipe
from training.reading import identical, rows_of, weights_of

from emlib.data import amplify
from emlib.data.amplified_sampling import EpochOrder
from emlib.losses import CompositeLoss
from emlib.models import build_model
from emlib.recipe import load_recipe
from emlib.targets import build_image_targets, channel_names, gradient_flow, output_channel_count
from emlib.training import (
    ImageTrainingSamples,
    ImageValidationSamples,
    image_evaluation,
    load_model,
    load_recipe_of,
    read_checkpoint,
    read_training_log,
    train,
)
from emlib.training.checkpoint import list_checkpoints
from emlib.training.samples import make_loader

QUIET = {
    f"augmentation.{name}.probability": 0.0
    for name in ("zoom", "flip", "rotate", "cell_intensity", "noise", "gamma", "histogram_shift")
}


@pytest.fixture
def run(tmp_path):
    def start(name="run", changes=None, **options):
        options = {"data": TinyData(), "progress": False, "device": "cpu"} | options
        return tmp_path / name, train(tiny_recipe(changes), tmp_path / name, **options)

    return start


def test_a_sample_is_a_crop_and_its_targets():
    data = TinyData()
    samples = ImageTrainingSamples(tiny_recipe(QUIET), data.images, length=9)
    sample = samples[4]
    number, y, x = sample["position"].tolist()
    image, labels = data.images[number]
    np.testing.assert_allclose(sample["image"].permute(1, 2, 0), image[y : y + 64, x : x + 64] / 255, atol=1e-6)
    cut = labels[y : y + 64, x : x + 64]
    np.testing.assert_array_equal(sample["target"][:2], gradient_flow(cut, rule="mediar"))
    np.testing.assert_array_equal(sample["target"][2], cut > 0)
    assert sorted(int(samples[i]["position"][0]) for i in range(3, 6)) == [0, 1, 2]


def test_a_sample_depends_on_seed_and_number_only():
    one, other = (ImageTrainingSamples(tiny_recipe(), TinyData().images, length=20) for _ in range(2))
    torch.manual_seed(3)
    [one[i] for i in (7, 2, 15)]
    assert all(torch.equal(torch.as_tensor(one[4][k]), torch.as_tensor(other[4][k])) for k in one[4])
    assert not torch.equal(one[4]["image"], one[5]["image"])
    reseeded = ImageTrainingSamples(tiny_recipe({"seed": 1}), TinyData().images, length=20)
    assert not torch.equal(one[4]["image"], reseeded[4]["image"])
    batches = list(make_loader(one, range(3, 9), batch_size=2, workers=2))
    assert torch.equal(batches[1]["image"][1], other[6]["image"])


def test_validation_samples_are_fixed_and_take_every_image_in_turn():
    samples = ImageValidationSamples(tiny_recipe({"training.validation_samples": 4}), TinyData().images)
    assert [int(samples[i]["position"][0]) for i in range(len(samples))] == [0, 1, 2, 0]
    assert torch.equal(samples[1]["image"], ImageValidationSamples(tiny_recipe(), TinyData().images)[1]["image"])
    with pytest.raises(ValueError, match="'validation' has no image"):
        ImageValidationSamples(tiny_recipe(), [])


def test_amplified_sampling_repeats_what_is_rare():
    # The published sizes of 40 clusters, which give 2,111 items an epoch.
    sizes = [3, 4, 7, 7, 7, 8, 9, 9, 9, 9, 10, 10, 11, 12, 13, 14, 15, 16, 16, 16, 17, 18, 18, 19, 19, 22, 23, 29, 34]
    sizes += [34, 34, 35, 41, 42, 49, 56, 58, 59, 71, 117]
    groups = [cluster for cluster, size in enumerate(sizes) for _ in range(size)]
    assert (len(groups), len(amplify(groups, 50))) == (1000, 2111)
    assert amplify(groups, 0) == list(range(1000))
    samples = ImageTrainingSamples(tiny_recipe({"training.amplify": 2}), TinyData().images, length=8)
    assert sorted(samples.order.items) == [0, 1, 1, 2]
    order = EpochOrder(range(5), seed=1)
    assert [order[i] for i in range(10)] == [EpochOrder(range(5), seed=1)[i] for i in range(10)]
    assert [order[i] for i in range(5)] != [order[i] for i in range(5, 10)]
    with pytest.raises(ValueError, match="does not say which modality"):
        ImageTrainingSamples(tiny_recipe({"training.amplify": 2}), list(TinyData().images), length=8)


def test_the_loss_is_the_published_one():
    outputs = load_recipe("5_cells_flows", profile="paper").target.outputs
    loss = CompositeLoss([(output.name, output_channel_count(output), output.losses) for output in outputs])
    generator = torch.Generator().manual_seed(0)
    logit, flow = (torch.randn((2, n, 8, 9), generator=generator) for n in (1, 2))
    labels = torch.zeros(8, 9, dtype=torch.int64)
    labels[2:6, 1:5], labels[2:6, 5:8] = 1, 2
    target = build_image_targets(labels, load_recipe("5_cells_flows").target)[None].expand(2, -1, -1, -1)
    total, parts = loss(torch.cat([flow / 5, torch.sigmoid(logit)], dim=1), target)
    published = torch.nn.functional.binary_cross_entropy_with_logits(logit, target[:, 2:])
    published = published + 0.5 * torch.nn.functional.mse_loss(flow, 5 * target[:, :2])
    torch.testing.assert_close(total, published, rtol=1e-5, atol=1e-6)
    assert set(parts) == {"flow/WeightedMSE", "probability/WeightedBCE"}


def test_a_run_leaves_what_it_promises(run):
    folder, best = run(changes={"training.image_every": 2, "training.evaluate_every": 4})
    log = read_training_log(folder / "training.csv")
    assert log["iteration"] == [1, 2, 3, 4]
    assert 0 <= log["f1"][3] <= 1
    content = read_checkpoint(best)
    assert content["model"]["channel_names"] == channel_names(tiny_recipe().target.outputs)
    assert content["model"]["channel_names"] == ["flow_y", "flow_x", "probability"]
    assert (content["best"]["metric"], content["voxel_size"]) == ("f1", None)
    assert load_recipe_of(folder, overrides=["inference.overlap=0.25"]).inference.overlap == 0.25
    network = load_model(folder)
    with torch.no_grad():
        assert network(torch.zeros(1, 3, 64, 64)).shape == (1, 3, 64, 64)


def test_an_interrupted_run_ends_as_if_it_had_not_been(run):
    def score(_network, iteration):
        if interrupting and iteration == 1:
            signal.raise_signal(signal.SIGINT)
        return {"score": float(iteration)}

    interrupting = False
    whole, _ = run("whole", {"training.evaluate_every": 1}, evaluate=score)
    interrupting = True
    with pytest.raises(KeyboardInterrupt):
        run("parts", {"training.evaluate_every": 1}, evaluate=score)
    interrupting = False
    parts, _ = run("parts", {"training.evaluate_every": 1}, evaluate=score)
    assert identical(weights_of(whole), weights_of(parts))
    assert rows_of(whole) == rows_of(parts)


def test_published_settings_train_on_small_images(tmp_path):
    """Changes, losses, schedule, amplified sampling and evaluation: all but sizes, precision and count as published."""
    small = {key: value for key, value in TINY.items() if key.startswith("model") or "window" in key}
    small |= {"training.iterations": 2, "training.batch_size": 2, "training.precision": "32", "training.workers": 0}
    small |= {"training.amplify": 2, "training.validate_every": 0, "training.evaluate_every": 2}
    recipe = load_recipe("5_cells_flows", profile="paper", overrides=small)
    best = train(recipe, tmp_path, data=TinyData(), device="cpu", progress=False)
    assert read_checkpoint(best)["best"]["metric"] == "f1"
    assert read_training_log(tmp_path / "training.csv")["learning_rate"] == pytest.approx([2e-5], rel=1e-6)


def test_data_is_prepared_if_none_is_given(tmp_path):
    small = {"data.images": 12, "data.shapes": [[64, 64], [64, 64]], "training.iterations": 1, "training.amplify": 4}
    small |= {"data.split": {"train": 0.5, "validation": 0.25, "test": 0.25}, "training.validate_every": 0}
    train(tiny_recipe(small), tmp_path, device="cpu", progress=False)
    assert (tmp_path / "data" / "images.csv").is_file()
    assert len(list_checkpoints(tmp_path)) == 1


def test_the_evaluation_is_the_mean_f1_of_the_images():
    class Perfect(torch.nn.Module):
        """Knows the images by heart; each is one window."""

        in_channels, min_divisor = 3, (1, 1)

        def forward(self, batch):
            truth = [images[next(i for i, one in enumerate(images) if same(one[0], image))][1] for image in batch]
            targets = [build_image_targets(labels.astype(np.int64), recipe.target) for labels in truth]
            return torch.from_numpy(np.stack(targets))

    def same(image, window):
        return np.allclose(image / 255, window.permute(1, 2, 0), atol=1e-5)

    data = TinyData()
    images, recipe = (
        data.images,
        tiny_recipe({"inference.window": [70, 90], "inference.augment": None, "inference.batch_size": 1}),
    )
    figures = image_evaluation(recipe, data)(Perfect(), 1)
    assert figures == {"f1": 1.0, "median_f1": 1.0, "precision": 1.0, "recall": 1.0}


def test_an_encoder_starts_from_a_file_that_the_checkpoint_does_not_need(run, tmp_path):
    donor = build_model("mediar_former", **tiny_recipe().model.settings)
    torch.save(donor.encoder.state_dict(), tmp_path / "mit_b0.pth")
    changes = {"model.encoder_weights": str(tmp_path / "mit_b0.pth"), "training.iterations": 1}
    changes["training.optimizer.learning_rate"] = 1e-12
    folder, _ = run(changes=changes | {"training.validate_every": 0})
    (tmp_path / "mit_b0.pth").unlink()
    key = "patch_embed1.proj.weight"
    torch.testing.assert_close(load_model(folder).encoder.state_dict()[key], donor.encoder.state_dict()[key])
    with pytest.raises(ValueError, match=r"model\.encoder_weights is set, but"):
        run("unet", {"model": {"name": "monai_unet", "settings": {"dimensions": 2}}} | changes)


def test_a_network_of_the_other_kind_is_refused(run):
    with pytest.raises(ValueError, match="a network of volumes, but the recipe is of images"):
        run(changes={"model.name": "rsunet", "model.settings": {}})
    with pytest.raises(ValueError, match="windows divisible by"):
        run(changes={"training.window": [60, 64]})
