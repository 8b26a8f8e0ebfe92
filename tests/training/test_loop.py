"""One training: what it writes, what it measures, what it refuses, and that it is the same every time."""

import errno
import json
import signal
from pathlib import Path

import pytest
import torch
from training.reading import identical, rows_of, weights_of

from emlib.training import load_model, load_recipe_of, read_training_log
from emlib.training.checkpoint import list_checkpoints, read_checkpoint, read_state


def test_a_run_leaves_what_it_promises(run, tiny_recipe):
    folder, best = run(changes={"training.iterations": 6, "training.image_every": 3, "training.log_every": 2})
    assert {path.name for path in list_checkpoints(folder)} == {"checkpoint_000004", "checkpoint_000006"}
    assert best == folder / "checkpoint_000006"
    log = read_training_log(folder / "training.csv")
    assert list(log)[:4] == ["iteration", "loss", "learning_rate", "validation_loss"]
    assert log["iteration"] == [2, 4, 6]
    assert log["validation_loss"][:2] == [None, None]
    assert log["loss"][0] == pytest.approx(log["mask/WeightedBCE"][0] + log["contour/WeightedBCE"][0])
    content = read_checkpoint(best)
    assert content["best"] == {"checkpoint": best.name, "metric": "validation_loss", "value": log["validation_loss"][2]}
    assert content["model"]["options"] == {"widths": [4, 6]}
    assert content["voxel_size"] == [30.0, 8.0, 8.0]
    assert (
        content["recipe_hash"]
        == tiny_recipe({"training.iterations": 6, "training.image_every": 3, "training.log_every": 2}).hash
    )
    assert json.loads((folder / "best.json").read_text())["checkpoint"] == best.name
    state = read_state(best)
    assert set(state) == {"run", "optimizer", "precision", "random"}
    assert state["run"]["samples"] == 12
    assert load_recipe_of(folder, overrides=["inference.overlap=0.25"]).inference.overlap == 0.25
    assert load_model(folder)(torch.zeros(1, 1, 4, 16, 16)).shape == (1, 2, 4, 16, 16)

    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    assert {"loss", "mask/WeightedBCE", "learning_rate", "validation_loss"} <= set(events.Tags()["scalars"])
    assert [event.step for event in events.Scalars("loss")] == [2, 4, 6]
    assert [event.step for event in events.Images("sample")] == [3, 6]
    picture = events.Images("sample")[0]
    assert (picture.height, picture.width) == (16, 5 * 16)


def test_training_learns(run):
    faster = {
        "training.optimizer.learning_rate": 0.01,
        "training.iterations": 40,
        "training.schedule.warmup_iterations": 5,
    }
    folder, _ = run(changes=faster | {"training.validate_every": 0})
    loss = read_training_log(folder / "training.csv")["loss"]
    assert sum(loss[-8:]) < 0.7 * sum(loss[:8])


def test_the_same_seed_is_the_same_run_and_workers_change_nothing(run):
    one, _ = run("one")
    workers, _ = run("workers", {"training.workers": 2})
    other, _ = run("other", {"seed": 1})
    assert identical(weights_of(one), weights_of(workers))
    assert rows_of(one) == rows_of(workers)
    assert not identical(weights_of(one), weights_of(other))


def test_measuring_does_not_change_what_is_learned(run):
    def noisy(_network, _iteration):
        torch.rand(3)
        return {"score": 1.0}

    quiet, _ = run("quiet", {"training.validate_every": 0, "training.save_every": 100})
    busy, _ = run("busy", {"training.validate_every": 1, "training.evaluate_every": 2}, evaluate=noisy)
    assert identical(weights_of(quiet), weights_of(busy))


def test_accumulated_steps_equal_one_large_batch(run):
    plain = {"training.iterations": 4, "training.validate_every": 0, "training.optimizer.name": "sgd"}
    large, _ = run("large", plain | {"training.batch_size": 4})
    small, _ = run("small", plain | {"training.batch_size": 2, "training.accumulate": 2})
    for key, tensor in weights_of(large).items():
        torch.testing.assert_close(weights_of(small)[key], tensor, atol=1e-6, rtol=1e-6)
    assert rows_of(small)["loss"] == pytest.approx(rows_of(large)["loss"], rel=1e-6)


@pytest.mark.parametrize("stop_at", [1, 5])
@pytest.mark.parametrize(("number", "kind"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_an_interrupted_run_goes_on_and_ends_as_if_it_had_not_been(run, stop_at, number, kind, capsys):
    changes = {"training.evaluate_every": 1, "training.log_every": 2}
    handlers = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]

    def score(_network, iteration):
        if interrupting and iteration == stop_at:
            signal.raise_signal(number)
        return {"score": -abs(iteration - 7)}

    interrupting = False
    whole, best = run("whole", changes, evaluate=score)
    assert best.name == "checkpoint_000007"
    interrupting = True
    with pytest.raises(kind):
        run("parts", changes, evaluate=score, progress=True)
    assert f"Stopped after iteration {stop_at}; train again" in capsys.readouterr().out
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == handlers
    interrupting = False
    parts, best = run("parts", changes, evaluate=score)
    assert best.name == "checkpoint_000007"
    assert identical(weights_of(whole), weights_of(parts))
    assert rows_of(whole) == rows_of(parts)
    one, other = (read_state(list_checkpoints(folder)[0]) for folder in (whole, parts))
    assert one["run"] == other["run"]
    for key, moments in one["optimizer"]["state"].items():
        assert identical(moments, other["optimizer"]["state"][key])


def test_a_damaged_newest_checkpoint_is_reported_and_the_one_before_is_taken(run, capsys):
    whole, _ = run("whole")
    folder, _ = run("damaged", {"training.iterations": 8, "training.schedule.name": "constant"})
    constant, _ = run("constant", {"training.schedule.name": "constant"})
    newest = folder / "checkpoint_000008" / "state.pt"
    newest.write_bytes(newest.read_bytes()[:100])
    run("damaged", {"training.schedule.name": "constant"}, progress=True)
    assert (
        "state.pt was truncated or altered since it was written. Looking for an earlier one." in capsys.readouterr().out
    )
    assert identical(weights_of(folder), weights_of(constant))
    assert not identical(weights_of(folder), weights_of(whole))


def test_a_finished_run_is_not_repeated_but_can_be_prolonged(run):
    folder, best = run(changes={"training.iterations": 2})
    stamp = (best / "checkpoint.json").stat().st_mtime_ns
    assert run(changes={"training.iterations": 2})[1] == best
    assert (best / "checkpoint.json").stat().st_mtime_ns == stamp
    run(changes={"training.iterations": 3, "training.save_every": 50, "training.log_every": 3})
    assert read_training_log(folder / "training.csv")["iteration"] == [1, 2, 3]


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"seed": 3}, "seed = 0, but this recipe has 3"),
        ({"model.widths": [4, 8]}, "model.widths = [4, 6], but this recipe has [4, 8]"),
        ({"training.optimizer.learning_rate": 0.5}, "training.optimizer.learning_rate = 0.003"),
        ({"augmentation.flip.probability": 0.0}, "augmentation.flip.probability = 1.0"),
    ],
)
def test_another_recipe_is_refused_by_the_differing_key(run, change, key):
    run(changes={"training.iterations": 2})
    with pytest.raises(ValueError, match="holds a training with") as caught:
        run(changes={"training.iterations": 4} | change)
    assert key in str(caught.value)
    run(changes={"training.iterations": 2, "postprocessing.min_size": 1})
    fresh, _ = run(changes={"training.iterations": 4} | change, resume=False)
    assert read_training_log(fresh / "training.csv")["iteration"] == [1, 2, 3, 4]
    assert {path.name for path in list_checkpoints(fresh)} == {"checkpoint_000004"}


def test_a_full_disk_stops_the_run_in_one_sentence_and_it_can_go_on(run, monkeypatch):
    whole, _ = run("whole")
    real_write, states = Path.write_bytes, []

    def write(file, content):
        states.extend([file] * (file.name == "state.pt"))
        if len(states) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real_write(file, content)

    monkeypatch.setattr(Path, "write_bytes", write)
    with pytest.raises(OSError, match=r"Could not write .*checkpoint_000006: the disk is full") as caught:
        run("parts")
    folder = str(caught.value).split("Could not write ")[1].split("/checkpoint")[0]
    assert [path.name for path in list_checkpoints(folder)] == ["checkpoint_000004"]
    monkeypatch.undo()
    parts, _ = run("parts")
    assert identical(weights_of(whole), weights_of(parts))
    assert rows_of(whole) == rows_of(parts)


def test_the_evaluation_chooses_the_best_and_gets_its_columns(run):
    seen = []

    def evaluate(network, iteration):
        seen.append((iteration, network.training, torch.is_grad_enabled()))
        return {"score": {3: 0.5, 6: 0.9, 9: 0.2, 12: 0.9}[iteration], "other": float(iteration)}

    folder, best = run(changes={"training.evaluate_every": 3, "training.keep_last": 1}, evaluate=evaluate)
    assert seen == [(iteration, False, False) for iteration in (3, 6, 9, 12)]
    assert best.name == "checkpoint_000006"
    assert {path.name for path in list_checkpoints(folder)} == {"checkpoint_000006", "checkpoint_000012"}
    log = read_training_log(folder / "training.csv")
    assert list(log)[-2:] == ["score", "other"]
    assert [value for value in log["score"] if value is not None] == [0.5, 0.9, 0.2, 0.9]


def test_the_recipe_describes_an_evaluation(run):
    changes = {"training.iterations": 2, "training.evaluate_every": 2, "postprocessing.min_size": 1}
    folder, _ = run(changes=changes | {"evaluation.drop_truth_below": 0})
    log = read_training_log(folder / "training.csv")
    assert 0 <= log["ap75"][1] <= log["ap50"][1] <= 1
    assert log["ap75"][0] is None


def test_without_measurements_the_last_checkpoint_is_the_best(run):
    _, best = run(changes={"training.validate_every": 0, "training.iterations": 5})
    assert best.name == "checkpoint_000005"
