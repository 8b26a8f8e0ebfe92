"""The one loop on classes: samples, learning, resuming, scores, and networks that cannot say classes."""

import signal

import numpy as np
import pytest
import torch
from training.image_scene import TINY as IMAGE
from training.image_scene import TinyData
from training.reading import identical, rows_of, weights_of

from emlib.recipe import load_recipe
from emlib.targets import cell_classes
from emlib.training import (
    ImageTrainingSamples,
    image_evaluation,
    load_model,
    read_checkpoint,
    read_training_log,
    train,
)

TINY = {
    "model.widths": [8, 16, 32],
    "training.window": [64, 64],
    "training.iterations": 4,
    "training.batch_size": 2,
    "training.amplify": 0,
    "training.log_every": 1,
    "training.image_every": 0,
    "training.save_every": 2,
    "training.validate_every": 2,
    "training.validation_samples": 2,
    "inference.window": [64, 64],
}


def class_recipe(changes=None, variant="baseline_unet"):
    return load_recipe("5_cells_flows", variant=variant, overrides=TINY | (changes or {}))


@pytest.fixture
def run(tmp_path):
    def start(name="run", changes=None, **options):
        options = {"data": TinyData(), "progress": False, "device": "cpu"} | options
        return tmp_path / name, train(class_recipe(changes), tmp_path / name, **options)

    return start


def test_a_sample_is_a_crop_and_its_classes():
    names = ("zoom", "flip", "rotate", "cell_intensity", "noise", "gamma", "histogram_shift")
    quiet = {f"augmentation.{name}.probability": 0.0 for name in names}
    data = TinyData()
    sample = ImageTrainingSamples(class_recipe(quiet), data.images, length=9)[4]
    number, y, x = sample["position"].tolist()
    cut = data.images[number][1][y : y + 64, x : x + 64]
    np.testing.assert_array_equal(sample["target"], cell_classes(cut))


def test_a_run_leaves_what_it_promises(run):
    folder, best = run(changes={"training.image_every": 2, "training.evaluate_every": 4})
    log = read_training_log(folder / "training.csv")
    assert log["loss"] == log["classes/DiceCE"]
    assert 0 <= log["f1"][3] <= 1
    content = read_checkpoint(best)
    assert content["model"]["channel_names"] == ["background", "interior", "boundary"]
    with torch.no_grad():
        classes = load_model(folder)(torch.rand(1, 3, 64, 64))
    torch.testing.assert_close(classes.sum(dim=1), torch.ones(1, 64, 64))


def test_it_learns_to_tell_cells_from_background(run):
    changes = {"training.iterations": 40, "training.save_every": 40, "training.validate_every": 0}
    changes |= {"augmentation": {"zoom": {"probability": 0.0}}, "training.optimizer.learning_rate": 0.01}
    folder, _ = run(changes=changes | {"training.schedule": {"name": "constant", "warmup_iterations": 0}})
    loss = read_training_log(folder / "training.csv")["loss"]
    assert np.mean(loss[-5:]) < 0.5 * np.mean(loss[:3])
    figures = image_evaluation(class_recipe(), TinyData())(load_model(folder), 40)
    assert figures["f1"] > 0.5


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


@pytest.mark.parametrize("variant", ["baseline_unetr", "baseline_swin_unetr"])
def test_the_other_baselines_train_too(variant, tmp_path):
    small = {"model.widths": None, "training.iterations": 1, "training.validate_every": 0}
    if variant == "baseline_unetr":
        sizes = {"window": [64, 64], "feature_size": 4, "hidden_size": 12, "mlp_size": 24, "heads": 3}
        small |= {f"model.settings.{key}": value for key, value in sizes.items()}
    folder = train(class_recipe(small, variant), tmp_path, data=TinyData(), device="cpu", progress=False)
    figures = image_evaluation(class_recipe(small, variant), TinyData())(load_model(folder), 1)
    assert 0 <= figures["f1"] <= 1


def test_the_evaluation_of_perfect_classes():
    class Perfect(torch.nn.Module):
        """Knows the images by heart; each is one window."""

        in_channels, min_divisor = 3, (1, 1)

        def forward(self, batch):
            truth = [images[next(i for i, one in enumerate(images) if same(one[0], image))][1] for image in batch]
            return torch.from_numpy(np.stack([cell_classes(labels) for labels in truth]))

    def same(image, window):
        return np.allclose(image / 255, window.permute(1, 2, 0), atol=1e-5)

    data = TinyData()
    images, recipe = data.images, class_recipe({"inference.window": [70, 90], "inference.batch_size": 1})
    assert image_evaluation(recipe, data)(Perfect(), 1)["f1"] == 1


@pytest.mark.parametrize(
    "model",
    [{"settings.output": "sigmoid"}, {"name": "mediar_former", "widths": None, "settings": IMAGE["model.settings"]}],
)
def test_networks_without_softmax_are_refused(model, run):
    with pytest.raises(ValueError, match="does not end in a softmax over them; the networks monai_unet"):
        run(changes={f"model.{key}": value for key, value in model.items()})
