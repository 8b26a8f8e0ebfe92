"""Training on affinities: validity reaches the loss, pictures are in colour, neurites are scored as a partition."""

import numpy as np
import pytest
import torch
from torch import nn

from emlib.evaluation import adapted_rand_error, variation_of_information
from emlib.inference import predict_from_recipe
from emlib.postprocessing import segment
from emlib.targets import affinities, build_targets
from emlib.training import read_training_log, volume_evaluation
from emlib.training.batch_norm import synchronize_batch_norm
from emlib.training.launch import launch
from emlib.training.pictures import Pictures
from emlib.training.samples import TrainingSamples, ValidationSamples, make_loader
from emlib.training.tasks import training_task
from emlib.training.validation import validation_loss
from emlib.volume import Volume

FAR = [[0, -3, 0], [0, 0, -3], [-3, 0, 0]]
BCE = [{"name": "WeightedBCE", "class_weight": "1"}, {"name": "DiceLoss", "weight": 0.5}]
AFFINITY = {
    "target": {
        "label_erosion": 1,
        "outputs": [
            {"name": "mask", "option": "0", "losses": BCE},
            {"name": "near", "option": "2", "label_erosion": 0, "losses": BCE},
            {"name": "far", "offsets": FAR, "losses": BCE},
        ],
    }
}


def test_samples_carry_what_is_known(tiny_recipe, tiny_data):
    recipe = tiny_recipe(AFFINITY)
    image, labels = (Volume(array) for array in tiny_data.open("validation"))
    sample = ValidationSamples(recipe, image, labels, divisor=(1, 2, 2))[0]
    z, y, x = sample["position"].tolist()
    crop = tiny_data.labels[z : z + 4, y : y + 16, x : x + 16]
    target, valid = build_targets(crop, recipe.target)
    np.testing.assert_array_equal(sample["target"], target)
    np.testing.assert_array_equal(sample["valid"], valid)
    np.testing.assert_array_equal(sample["valid"][4:], affinities(crop, FAR)[1])
    assert bool(sample["valid"][:4].all())
    augmented = TrainingSamples(recipe, image, labels, length=4)[1]
    assert augmented["valid"].shape == augmented["target"].shape == (7, 4, 16, 16)
    assert "valid" not in ValidationSamples(tiny_recipe(), image, labels, divisor=(1, 2, 2))[0]


class Constant(nn.Module):
    """The same answer everywhere, another one where `elsewhere` says."""

    min_divisor = (1, 2, 2)

    def __init__(self, elsewhere) -> None:
        super().__init__()
        self.answer = torch.where(elsewhere, 0.9, 0.4)

    def forward(self, image):
        return self.answer.expand(len(image), *self.answer.shape)


def test_what_is_not_known_counts_nothing_in_the_loss(tiny_recipe, tiny_data):
    recipe = tiny_recipe(AFFINITY)
    image, labels = (Volume(array) for array in tiny_data.open("validation"))
    samples = ValidationSamples(recipe, image, labels, divisor=(1, 2, 2))
    task = training_task(recipe)
    valid = samples[0]["valid"]
    fabric = launch(device="cpu")
    unknown, known = Constant(~valid), Constant(torch.zeros_like(valid))
    assert validation_loss(fabric, unknown, task, samples) == validation_loss(fabric, known, task, samples)
    elsewhere = valid.clone()
    elsewhere[:, 1:] = False
    assert validation_loss(fabric, Constant(elsewhere), task, samples) != validation_loss(fabric, known, task, samples)


def test_affinities_are_learned(run):
    changes = AFFINITY | {
        "training.iterations": 60, "training.schedule.warmup_iterations": 5, "training.validate_every": 0,
        "training.optimizer.learning_rate": 0.02, "training.image_every": 30,
    }  # fmt: skip
    folder, _ = run(changes=changes)
    log = read_training_log(folder / "training.csv")
    for part in ("near/WeightedBCE", "far/WeightedBCE", "loss"):
        assert sum(log[part][-8:]) < 0.8 * sum(log[part][:8])


def test_three_affinities_are_one_picture_in_colour(tmp_path):
    from emlib.targets import affinity_pairs

    shown = {}
    pictures = Pictures(tmp_path, start=0, pairs=[None, *affinity_pairs("2", "near")])
    pictures.writer.add_image = lambda _name, image, _iteration, dataformats: shown.update({dataformats: image})
    image, target = torch.full((1, 3, 2, 4), 0.5), torch.rand(4, 3, 2, 4)
    prediction = torch.rand(4, 3, 2, 4) * 2
    pictures.add_sample(1, image, target, prediction)
    pictures.close()
    assert list(shown) == ["CHW"]
    panels = shown["CHW"].split(4, dim=-1)
    assert len(panels) == 5
    for panel, maps in zip(panels, (image, target[:1], target[1:], prediction[:1], prediction[1:]), strict=True):
        assert torch.equal(panel, maps[:, 1].clamp(0, 1).expand(3, -1, -1))


MASK_CONTOUR = ("seed_mask", "seed_contour", "foreground")


class Threshold(nn.Module):
    """Marks the boxes of the tiny volume."""

    def forward(self, image):
        return (image > 0.5).float()


def test_neurites_are_scored_by_rand_and_information(tiny_recipe, tiny_data):
    changes = {
        "data.structure": "neurites",
        "target": {"outputs": [{"name": "mask", "option": "0", "losses": BCE}]},
        "postprocessing": {"method": "mask_components", **dict.fromkeys(MASK_CONTOUR), "min_size": 2},
        "evaluation.convention": "cremi",
    }
    recipe = tiny_recipe(changes)
    figures = volume_evaluation(recipe, tiny_data)(Threshold(), 1)
    assert list(figures) == ["rand_f_score", "voi_split", "voi_merge"]
    prediction = predict_from_recipe(Threshold(), tiny_data.image, recipe, progress=False)
    found = segment(prediction, "mask_components", channels=["mask"], **recipe.postprocessing.parameters())
    rand = adapted_rand_error(found, tiny_data.labels, convention="cremi")
    voi = variation_of_information(found, tiny_data.labels)
    assert figures == {
        "rand_f_score": pytest.approx(1 - rand.error), "voi_split": voi.split, "voi_merge": voi.merge,
    }  # fmt: skip
    assert 0.2 < figures["rand_f_score"] < 1
    without_border = tiny_recipe(changes | {"evaluation.border": [0, 1.5]})
    assert volume_evaluation(without_border, tiny_data)(Threshold(), 1) != figures


def test_the_best_checkpoint_has_the_highest_rand_score(run):
    changes = {
        "data.structure": "neurites", "training.evaluate_every": 4, "postprocessing.min_size": 1,
        "postprocessing.seed_mask": 0.5, "postprocessing.foreground": 0.4, "postprocessing.seed_contour": 0.6,
    }  # fmt: skip
    folder, best = run(changes=changes)
    log = read_training_log(folder / "training.csv")
    scored = {i: value for i, value in zip(log["iteration"], log["rand_f_score"], strict=True) if value is not None}
    assert list(scored) == [4, 8, 12]
    assert best.name == f"checkpoint_{max(scored, key=scored.get):06.0f}"


def test_batch_norm_is_synchronised_on_gpus_only():
    lines = []
    network = nn.Sequential(nn.Conv3d(1, 2, 1), nn.BatchNorm3d(2), nn.BatchNorm3d(2))
    assert synchronize_batch_norm(network, "cpu", lines.append) is network
    assert lines == [
        "SyncBatchNorm needs GPUs: the 2 batch norm layers of this network use each process's own samples."
    ]
    there = synchronize_batch_norm(network, "cuda", lines.append)
    assert sum(isinstance(module, nn.SyncBatchNorm) for module in there.modules()) == 2
    plain = nn.Conv3d(1, 2, 1)
    assert synchronize_batch_norm(plain, "cpu", lines.append) is plain
    assert len(lines) == 1


def test_more_processes_than_gpus_are_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    with pytest.raises(ValueError, match="torchrun started 2 processes on a machine with 1 CUDA devices"):
        launch(device="cuda")


def test_batches_carry_validity(tiny_recipe, tiny_data):
    recipe = tiny_recipe(AFFINITY)
    image, labels = (Volume(array) for array in tiny_data.open("train"))
    samples = TrainingSamples(recipe, image, labels, length=2)
    (batch,) = make_loader(samples, range(2), batch_size=2)
    assert batch["valid"].shape == (2, 7, 4, 16, 16)
    assert batch["valid"].dtype == torch.bool
