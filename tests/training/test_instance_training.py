"""The one loop on detected objects: samples, losses, limits, resuming, giving up, scores."""

import signal

import numpy as np
import pytest
import torch
from inference.perfect_detector import PerfectDetector, as_image
from training.image_scene import TinyData as PixelData
from training.instance_scene import TINY, WHOLE, TinyData, tiny_recipe
from training.reading import identical, rows_of, weights_of

from emlib.data import load_prepared_images, make_cell_set, save_nuclei_folders
from emlib.models import build_model, detection_target, limits_for
from emlib.recipe import load_recipe
from emlib.training import (
    ImageTrainingSamples,
    instance_evaluation,
    load_model,
    read_checkpoint,
    read_training_log,
    train,
    training_task,
)
from emlib.training.checkpoint import list_checkpoints
from emlib.training.image_samples import number_objects
from emlib.training.resume import check_same_training
from emlib.training.tasks import InstanceTask

NAMES = ["classifier", "box", "mask", "objectness", "proposal"]


@pytest.fixture
def run(tmp_path):
    def start(name="run", changes=None, **options):
        options = {"data": TinyData(), "progress": False, "device": "cpu"} | options
        return tmp_path / name, train(tiny_recipe(changes), tmp_path / name, **options)

    return start


def one_batch():
    image, labels = TinyData().images[0]
    pixels = torch.from_numpy(image).permute(2, 0, 1).float() / 255
    target = number_objects(torch.from_numpy(labels.astype(np.int64)))
    empty = torch.zeros_like(target)
    return {"image": torch.stack([pixels, pixels.flip(1)]), "target": torch.stack([target, empty])}


def test_a_sample_is_a_crop_and_its_objects():
    off = {f"augmentation.{name}.probability": 0.0 for name in ("zoom", "flip", "rotate")}
    data = TinyData()
    sample = ImageTrainingSamples(tiny_recipe(off), data.images, length=9)[4]
    number, y, x = sample["position"].tolist()
    cut = data.images[number][1][y : y + 64, x : x + 64].astype(np.int64)
    assert (sample["target"].dtype, sample["target"].shape) == (torch.int32, (1, 64, 64))
    np.testing.assert_array_equal(sample["target"][0], np.unique(cut, return_inverse=True)[1].reshape(64, 64))
    full = torch.full((2, 2), 9)
    assert number_objects(full).tolist() == [[[1, 1], [1, 1]]]


def test_losses_are_weighted_and_named():
    weights = {"classifier": 1.0, "box": 0.5, "mask": 2.0, "objectness": 0.0, "proposal": 3.0}
    task = training_task(tiny_recipe({"target.losses": weights}))
    assert task.loss_names == ["classifier", "box", "mask", "proposal"]
    torch.manual_seed(0)
    network, batch = build_model("mask_rcnn_tiny", **tiny_recipe().model.settings), one_batch()
    torch.manual_seed(1)
    total, parts, _ = task.losses(network, batch)
    torch.manual_seed(1)
    expected = network(batch["image"], [detection_target(labels[0].numpy()) for labels in batch["target"]])
    assert list(parts) == task.loss_names
    torch.testing.assert_close(parts["mask"], expected["loss_mask"].detach())
    by_hand = expected["loss_classifier"] + 0.5 * expected["loss_box_reg"] + 2 * expected["loss_mask"]
    torch.testing.assert_close(total, by_hand + 3 * expected["loss_rpn_box_reg"])
    total.backward()
    assert all(parameter.grad is not None for parameter in network.parameters() if parameter.requires_grad)


def test_a_run_leaves_what_it_promises(run):
    folder, best = run(changes={"training.image_every": 2, "training.evaluate_every": 4})
    log = read_training_log(folder / "training.csv")
    assert log["iteration"] == [1, 2, 3, 4]
    assert [name for name in log if name in NAMES] == NAMES
    assert log["loss"] == pytest.approx([sum(values) for values in zip(*(log[name] for name in NAMES), strict=True)])
    assert [value is None for value in log["validation_loss"]] == [True, False, True, False]
    assert all(0 <= log[name][3] <= 1 for name in ("ap", "ap50", "ap75", "ap50_100", "f1"))
    content = read_checkpoint(best)
    assert content["best"]["metric"] == "ap"
    assert content["model"]["channel_names"] == ["background", "object"]
    found = load_model(folder)(torch.zeros(1, 3, 64, 64))
    assert found[0]["boxes"].shape[1] == 4
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    assert [one.step for one in events.Images("sample")] == [2, 4]


@pytest.mark.parametrize("changes", [{}, WHOLE], ids=["windows", "whole images"])
def test_an_interrupted_run_ends_as_if_it_had_not_been(run, changes):
    def score(_network, iteration):
        if interrupting and iteration == 1:
            signal.raise_signal(signal.SIGINT)
        return {"score": float(iteration)}

    changes = changes | {"training.evaluate_every": 1, "training.iterations": 3}
    interrupting = False
    whole, _ = run("whole", changes, evaluate=score)
    interrupting = True
    with pytest.raises(KeyboardInterrupt):
        run("parts", changes | {"training.workers": 2}, evaluate=score)
    interrupting = False
    parts, _ = run("parts", changes | {"training.workers": 1}, evaluate=score)
    assert identical(weights_of(whole), weights_of(parts))
    assert rows_of(whole) == rows_of(parts)


def test_it_gives_up_when_nothing_gets_better_and_may_be_asked_to_go_on(run):
    scores = {1: 0.1, 2: 0.5, 3: 0.4, 4: 0.5, 5: 0.6, 6: 0.2, 7: float("nan"), 8: 0.9}

    def score(_network, iteration):
        if iteration in stops:
            stops.remove(iteration)
            signal.raise_signal(signal.SIGINT)
        return {"score": scores[iteration]}

    changes = {"training.evaluate_every": 1, "training.validate_every": 0, "training.iterations": 8}
    changes |= {"training.save_every": 100, "training.batch_size": 1}
    stops = []
    patient, best = run("patient", changes | {"training.patience": 2}, evaluate=score)
    assert read_training_log(patient / "training.csv")["iteration"] == [1, 2, 3, 4]
    assert best.name == "checkpoint_000002"
    stops = [3]
    with pytest.raises(KeyboardInterrupt):
        run("parts", changes | {"training.patience": 2}, evaluate=score)
    parts, _ = run("parts", changes | {"training.patience": 2}, evaluate=score)
    assert rows_of(parts) == rows_of(patient)
    assert identical(weights_of(parts), weights_of(patient))
    # Once more is no training at all; with more patience it goes on as if it had never stopped.
    assert run("parts", changes | {"training.patience": 2}, evaluate=None)[1].name == "checkpoint_000002"
    more, best = run("parts", changes | {"training.patience": 3}, evaluate=score)
    assert best.name == "checkpoint_000008"
    whole, _ = run("whole", changes, evaluate=score)
    assert identical(weights_of(more), weights_of(whole))
    assert [row for row in rows_of(more)["score"] if row == row] == [
        row for row in rows_of(whole)["score"] if row == row]  # fmt: skip


def test_a_loss_that_is_not_finite_names_its_whole_images(run, monkeypatch):
    def broken(self, model, batch):
        total, parts, said = plain(self, model, batch)
        return total * float("nan"), parts, said

    plain = InstanceTask.losses
    monkeypatch.setattr(InstanceTask, "losses", broken)
    with pytest.raises(ValueError, match=r"stopped at iteration 1: .* samples \(number at image, y, x\) 0 at \("):
        run(changes=WHOLE)


def test_limits_follow_the_fullest_image(run, capsys):
    data = TinyData()
    full = np.zeros((64, 64), np.uint32)
    full[::2, ::2] = np.arange(1, 1025).reshape(32, 32)
    data.images.append((np.repeat((full > 0)[..., None].astype(np.uint8) * 200, 3, axis=2), full))
    changes = {"training.iterations": 1, "training.batch_size": 1, "training.validate_every": 0}
    changes |= {"model.settings.proposals_before_nms": None, "model.settings.proposals_after_nms": None}
    folder, best = run(changes=changes, data=data, progress=True)
    said = capsys.readouterr().out
    assert "the fullest image has 1024 objects; kept of an image are 10240 candidates a level, 8192 proposals" in said
    assert read_checkpoint(best)["model"]["options"]["objects_per_image"] == 1024
    network = load_model(folder)
    limits = limits_for(1024)
    assert network.roi_heads.detections_per_img == limits.detections == 2100
    assert network.rpn.most_proposals == (limits.after_nms,) * 2


def test_limits_that_are_too_low_are_warned_about(run):
    changes = {"training.iterations": 1, "model.settings.detections_per_image": 2}
    with pytest.warns(UserWarning, match="detections_per_image is 2, but 8 of 10 images have more objects, up to 3;"):
        _, best = run(changes=changes)
    assert read_checkpoint(best)["model"]["options"]["detections_per_image"] == 2
    assert load_model(best).roi_heads.detections_per_img == 2


def test_the_validation_loss_is_the_same_each_time_and_changes_nothing(run):
    quiet, _ = run("quiet", {"training.validate_every": 0, "training.log_every": 4})
    loud, _ = run("loud", {"training.validate_every": 1})
    again, _ = run("again", {"training.validate_every": 4})
    assert identical(weights_of(quiet), weights_of(loud))
    one, other = (read_training_log(folder / "training.csv")["validation_loss"][3] for folder in (loud, again))
    assert one == other


def test_the_evaluation_of_a_perfect_detector_and_of_one_that_is_capped():
    data, recipe = TinyData(), tiny_recipe({"postprocessing.min_size": 1})
    crowd = np.zeros((130, 130), np.uint32)
    for number in range(144):
        crowd[number // 12 * 10 + 2 : number // 12 * 10 + 9, number % 12 * 10 + 3 : number % 12 * 10 + 10] = number + 1
    data.images[:] = [(as_image(labels), labels) for labels in (crowd, crowd[:40], np.zeros_like(crowd))]
    figures = instance_evaluation(recipe, data)(PerfectDetector(), 1)
    assert {name: figures[name] for name in ("ap", "ap50", "ap75", "f1")} == {"ap": 1, "ap50": 1, "ap75": 1, "f1": 1}
    # 100 of the 144 objects of the first image, and the 48 of the second: precision is 1 up to this recall.
    assert figures["ap50_100"] == pytest.approx((1 + 100 * 148 // 192) / 101)
    with pytest.warns(UserWarning, match="more objects than it may report"):
        few = instance_evaluation(recipe, data)(PerfectDetector(most=72), 1)
    assert few["ap"] == few["ap50_100"] == pytest.approx((1 + 100 * 120 // 192) / 101)
    data.images[:] = data.images[2:]
    with pytest.raises(ValueError, match="'validation' have no object"):
        instance_evaluation(recipe, data)
    data.images.clear()
    with pytest.raises(ValueError, match="'validation' has no image"):
        instance_evaluation(recipe, data)


def test_a_training_of_an_older_recipe_goes_on():
    recipe = load_recipe("5_cells_flows")
    stored = recipe.model_dump(mode="json")
    assert stored["training"].pop("patience") is None
    for key in ("folds", "cells", "sizes"):
        assert stored["data"].pop(key) is None
    check_same_training(stored, recipe, "run")
    check_same_training(stored, recipe.with_overrides({"training.patience": 3}), "run")
    with pytest.raises(ValueError, match=r"data\.folds\.count"):
        check_same_training(stored, recipe.with_overrides({"data.folds": {"count": 3}}), "run")


def test_backbone_weights_are_needed_where_the_norm_is_frozen_and_not_needed_afterwards(run, tmp_path):
    with pytest.raises(ValueError, match=r"set model\.backbone_weights to a file of ImageNet weights"):
        run("none", {"model.settings.norm": "frozen"})
    donor = build_model("mask_rcnn_tiny", norm="batch")
    donor.backbone.body.bn1.running_var.fill_(2)
    body = {key: value for key, value in donor.backbone.body.state_dict().items() if "num_batches" not in key}
    torch.save(body, tmp_path / "body.pth")
    changes = {"model.backbone_weights": str(tmp_path / "body.pth"), "model.settings.norm": "frozen"}
    folder, _ = run("frozen", changes | {"training.iterations": 1, "training.validate_every": 0})
    (tmp_path / "body.pth").unlink()
    torch.testing.assert_close(load_model(folder).backbone.body.conv1.weight, donor.backbone.body.conv1.weight)


def test_published_settings_train_on_a_small_competition(tmp_path):
    """Layout of the folders, folds, whole images, schedule: all but sizes and the network as published."""
    pictures = make_cell_set(5, modalities=["stained"], shapes=((48, 64), (64, 64)), cells=4)
    root = save_nuclei_folders(pictures[:4], tmp_path / "codalab-nuclei", test=pictures[4:])
    copy = root / "train" / "nuclei_00000" / "masks" / ".ipynb_checkpoints"
    copy.mkdir()
    (copy / "mask_0001-checkpoint.png").write_bytes(b"")
    small = {"model.name": "mask_rcnn_tiny", "model.settings": TINY["model.settings"] | {"short_side": 56}}
    small |= {"training.iterations": 2, "training.workers": 0, "training.image_every": 0}
    recipe = load_recipe("4_nuclei_maskrcnn", profile="paper", overrides=small)
    best = train(recipe, tmp_path / "run", data_dir=tmp_path, device="cpu", progress=False)
    assert best.name == "checkpoint_000002"
    assert read_training_log(tmp_path / "run" / "training.csv")["learning_rate"] == pytest.approx([4.9975e-7])
    data = load_prepared_images(tmp_path / "run" / "data")
    assert [len(data.open(split)) for split in ("train", "validation", "test")] == [3, 0, 1]
    assert load_model(best).test_short_sides == (56,)


def test_networks_of_the_other_kind_are_refused(run, tmp_path):
    with pytest.raises(ValueError, match=r"a network that does not detect objects, but data\.kind is 'instances'"):
        run("a", {"model": {"name": "monai_unet", "settings": {"dimensions": 2}}})
    with pytest.raises(ValueError, match="a network of volumes, but the recipe is of images"):
        run("b", {"model": {"name": "rsunet", "settings": {}}})
    pixels = load_recipe("5_cells_flows", overrides={"model": {"name": "mask_rcnn_tiny", "settings": {}}})
    with pytest.raises(ValueError, match=r"a network that detects objects, but data\.kind is 'images'"):
        train(pixels, tmp_path / "c", data=PixelData(), device="cpu", progress=False)
    assert list_checkpoints(tmp_path / "c") == []
