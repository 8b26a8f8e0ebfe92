"""What the settings do to a training, and what it refuses: numbers that are not finite, settings that cannot work."""

import pytest
import torch
from safetensors.torch import load_file
from training.reading import weights_of

from emlib.training import tasks
from emlib.training.checkpoint import list_checkpoints


@pytest.mark.parametrize("broken", ["nan", "inf"])
def test_a_loss_that_is_not_finite_stops_the_run_and_is_not_saved(run, monkeypatch, broken):
    class Breaking(tasks.CompositeLoss):
        calls = 0

        def __call__(self, *arguments):
            total, parts = super().__call__(*arguments)
            Breaking.calls += 1
            return total * (float(broken) if Breaking.calls == 6 else 1), parts

    monkeypatch.setattr(tasks, "CompositeLoss", Breaking)
    with pytest.raises(ValueError) as caught:
        run(changes={"training.validate_every": 0})
    message = str(caught.value)
    assert "stopped at iteration 6" in message
    assert "samples (number at z, y, x) 10 at (" in message
    assert "11 at (" in message
    assert "\n" not in message


def test_weights_that_are_not_finite_are_never_saved(run, tmp_path):
    changes = {"training.optimizer.name": "sgd", "training.optimizer.learning_rate": 1e36, "training.save_every": 1}
    with pytest.raises(ValueError, match=r"stopped at iteration .* not finite"):
        run(changes=changes | {"training.schedule.name": "constant", "training.schedule.warmup_iterations": 0})
    for path in list_checkpoints(tmp_path / "run"):
        assert all(torch.isfinite(tensor).all() for tensor in load_file(path / "weights.safetensors").values())


def test_training_starts_from_pretrained_weights(run):
    first, checkpoint = run("first", {"training.iterations": 3})
    still = {"training.iterations": 1, "training.optimizer.name": "sgd", "training.optimizer.learning_rate": 1e-30}
    second, _ = run("second", still | {"model.pretrained": str(checkpoint)})
    for key, tensor in weights_of(first).items():
        torch.testing.assert_close(weights_of(second)[key], tensor, atol=1e-7, rtol=0)
    with pytest.raises(ValueError, match="does not fit this RSUNet"):
        run("third", {"model.pretrained": str(checkpoint), "model.widths": [4, 8]})


@pytest.mark.parametrize(("key", "value"), [("clip_norm", 1e-3), ("clip_value", 1e-6)])
def test_clipping_bounds_the_step(run, key, value):
    plain = {
        "training.iterations": 1, "training.optimizer.name": "sgd", "training.optimizer.learning_rate": 1.0,
        "training.optimizer.weight_decay": 0.0, "training.schedule.name": "constant",
        "training.schedule.warmup_iterations": 0, "training.validate_every": 0,
    }  # fmt: skip
    clipped, _ = run("clipped", plain | {f"training.{key}": value})
    start, _ = run("start", plain | {"training.optimizer.learning_rate": 1e-30})
    steps = torch.cat([(weights_of(clipped)[key] - tensor).flatten() for key, tensor in weights_of(start).items()])
    size = steps.norm() if key == "clip_norm" else steps.abs().max()
    assert float(size) == pytest.approx(value, rel=0.1)


def test_bfloat16_trains(run):
    folder, _ = run(changes={"training.precision": "bf16", "training.iterations": 2})
    assert all(tensor.dtype == torch.float32 for tensor in weights_of(folder).values())


@pytest.mark.parametrize(
    ("changes", "options", "says"),
    [
        ({"training.precision": "16"}, {}, "needs a CUDA device"),
        ({}, {"device": "gpu"}, "device is 'gpu'"),
        ({"training.clip_norm": 1.0, "training.clip_value": 1.0}, {}, "clip by one of them"),
        ({}, {"evaluate": lambda _network, _iteration: {}}, "evaluate_every is 0"),
        ({"training.window": [4, 15, 16], "training.validate_every": 0}, {}, "divisible by (1, 2, 2)"),
        ({"model.name": "rsunt"}, {}, "did you mean 'rsunet'"),
    ],
)
def test_settings_that_cannot_work_are_refused(run, changes, options, says):
    with pytest.raises(ValueError) as caught:
        run(changes=changes, **options)
    assert says in str(caught.value)


def test_data_of_another_kind_is_refused(run):
    with pytest.raises(TypeError, match="data is a int, but a folder or an object"):
        run(data=5)
    with pytest.raises(FileNotFoundError, match="holds no prepared data"):
        run(data="no_such_folder")


def test_a_folder_that_cannot_be_made_is_said(run, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"Could not write .*: a part of the path is a file"):
        run("file/run")
    with pytest.raises(ValueError, match="is a file, but a folder"):
        run("file")
