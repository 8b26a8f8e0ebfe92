"""Weights from other files and other networks: what matches is taken, and everything is reported."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from training.reading import weights_of

from emlib.models import build_model
from emlib.training import load_weights, read_checkpoint


def network(seed=0, **options):
    torch.manual_seed(seed)
    return build_model(**({"name": "rsunet", "widths": (4, 6)} | options))


def wrapped(weights):
    return {f"module.{name}": tensor for name, tensor in weights.items()}


WAYS = {
    "plain.pth": lambda weights, path: torch.save(weights, path),
    "nested.pth.tar": lambda weights, path: torch.save({"iteration": 7, "state_dict": wrapped(weights)}, path),
    "model.pt": lambda weights, path: torch.save({"model": weights, "epoch": 3}, path),
    "weights.safetensors": lambda weights, path: save_file(weights, path),
    "wrapped.safetensors": lambda weights, path: save_file(wrapped(weights), path),
}


@pytest.mark.parametrize("name", WAYS)
@pytest.mark.parametrize("match", ["exact", "partial"])
def test_every_kind_of_file_is_read(tmp_path, name, match):
    source, model = network(), network(1)
    WAYS[name](source.state_dict(), tmp_path / name)
    report = load_weights(model, tmp_path / name, match=match)
    assert report.source == str(tmp_path / name)
    assert set(report.matched) == set(source.state_dict())
    assert all(torch.equal(tensor, source.state_dict()[key]) for key, tensor in model.state_dict().items())


def test_a_partial_match_takes_what_fits_and_reports_the_rest(tmp_path):
    """From one input channel and three targets to two and twelve, with a layer that is not there and one too many."""
    options = {"name": "unet_residual_3d", "widths": (4, 6)}
    source, model = network(out_channels=3, **options), network(1, in_channels=2, out_channels=12, **options)
    stored = source.state_dict()
    lost = list(stored)[5]
    stored["old_head.bias"] = stored.pop(lost)
    torch.save(stored, tmp_path / "old.pth")
    fresh = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    report = load_weights(model, tmp_path / "old.pth", match="partial")

    assert report.missing == (lost,)
    assert report.unexpected == ("old_head.bias",)
    assert report.mismatched == (
        ("encoder.0.0.weight", "4 x 1 x 1 x 5 x 5", "4 x 2 x 1 x 5 x 5"),
        ("head.weight", "3 x 4 x 1 x 5 x 5", "12 x 4 x 1 x 5 x 5"),
        ("head.bias", "3", "12"),
    )
    changed = {name for name, *_ in report.mismatched}
    for name, tensor in model.state_dict().items():
        taken = name in report.matched
        assert torch.equal(tensor, stored[name] if taken else fresh[name])
        assert taken != (name in changed or name == lost)
    table = str(report).splitlines()
    assert len(table) == 4
    assert table[1].split() == ["taken", str(len(report.matched))]
    assert table[2].startswith(f"kept fresh{len(changed) + 1:6}")
    assert table[3].split() == ["not", "used", "1", "old_head.bias"]


def test_what_does_not_fit_is_refused(tmp_path):
    torch.save(network().state_dict(), tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"a\.pth does not fit this RSUNet: layer '.*' is .* there and .* here"):
        load_weights(network(out_channels=5), tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"a\.pth has no layer that fits this Linear: layer 'weight' is absent there"):
        load_weights(nn.Linear(2, 2), tmp_path / "a.pth", match="partial")
    with pytest.raises(ValueError, match="match is 'some', but 'exact' or 'partial'"):
        load_weights(network(), tmp_path / "a.pth", match="some")


class Command:
    """An object whose unpickling would run code."""

    def __reduce__(self):
        return print, ("run",)


@pytest.mark.parametrize(
    ("name", "write", "says"),
    [
        ("text.pth", lambda path: path.write_text("weights"), "text.pth"),
        ("code.pth", lambda path: torch.save({"model": Command()}, path), "more than tensors and plain values"),
        ("list.pth", lambda path: torch.save([1, 2], path), "holds no weights"),
        ("empty.pth", lambda path: torch.save({}, path), "holds no weights"),
        ("mixed.pth", lambda path: torch.save({"a": torch.ones(1), "b": 2}, path), "holds no weights"),
        ("cut.safetensors", lambda path: path.write_bytes(b"\x08\0\0"), "not a whole safetensors file"),
        ("cut.pth", lambda path: path.write_bytes(whole_file(path)[:-50]), "cut.pth"),
        ("nothing.pth", lambda _path: None, "There is no checkpoint"),
    ],
)
def test_files_that_hold_no_weights_are_refused_in_one_sentence(tmp_path, capsys, name, write, says):
    write(tmp_path / name)
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        load_weights(network(), tmp_path / name)
    assert says in str(caught.value)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capsys.readouterr().out == ""


def whole_file(path):
    torch.save(network().state_dict(), path)
    return path.read_bytes()


def test_training_starts_from_a_partial_match_and_keeps_its_report(run, tmp_path, capsys):
    stored = network(out_channels=3).state_dict()
    torch.save({"state_dict": wrapped(stored)}, tmp_path / "old.pth")
    still = {"training.optimizer.name": "sgd", "training.optimizer.learning_rate": 1e-30, "training.save_every": 1}
    changes = still | {"model.pretrained": str(tmp_path / "old.pth"), "training.iterations": 1}
    with pytest.raises(ValueError, match="does not fit this RSUNet"):
        run("exact", changes)
    changes |= {"model.pretrained_match": "partial"}
    folder, checkpoint = run("partial", changes, progress=True)
    assert f"weights of {tmp_path / 'old.pth'}\ntaken" in capsys.readouterr().out
    report = read_checkpoint(checkpoint)["pretrained"]
    assert set(report["unexpected"]) == set(stored) - set(report["matched"])
    assert any(name.startswith("decoders.output2") for name in report["unexpected"])
    for name in report["matched"]:
        torch.testing.assert_close(weights_of(folder)[name], stored[name], atol=1e-7, rtol=0)

    (tmp_path / "old.pth").unlink()
    _, later = run("partial", changes | {"training.iterations": 2})
    assert read_checkpoint(later)["pretrained"] == report
