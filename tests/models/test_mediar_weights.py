"""Published weights by name: whole networks, encoders alone, wrapped networks, and files that do not fit."""

import pickle

import pytest
import torch
from safetensors.torch import save_file

from emlib.models import build_model, load_mediar_weights, mediar_state_dict

SMALL = {"encoder": "mit_b0", "decoder_channels": (32, 24, 16, 12, 8), "attention_channels": 8}


def network(seed):
    torch.manual_seed(seed)
    return build_model("mediar_former", **SMALL)


@pytest.fixture(scope="module")
def published():
    """Weights under the names that MEDIAR's own class gives them: MA-Net's modules, and two heads of its own."""
    from segmentation_models_pytorch import MAnet
    from torch import nn

    class Published(MAnet):
        def __init__(self):
            super().__init__(
                "mit_b0",
                encoder_weights=None,
                decoder_channels=SMALL["decoder_channels"],
                decoder_pab_channels=SMALL["attention_channels"],
            )
            self.segmentation_head = None
            for name, outputs in (("cellprob_head", 1), ("gradflow_head", 2)):
                first, last = nn.Conv2d(8, 4, 3, padding=1), nn.Conv2d(4, outputs, 3, padding=1)
                layers = [first, nn.Mish(), nn.BatchNorm2d(4), last, nn.Identity(), nn.Identity()]
                setattr(self, name, nn.Sequential(*layers))

    torch.manual_seed(7)
    return {key: value.clone() for key, value in Published().state_dict().items()}


def equal(state, weights):
    return state.keys() == weights.keys() and all(torch.equal(value, weights[key]) for key, value in state.items())


@pytest.mark.parametrize("prefix", ["", "module.", "module._orig_mod.", "model."])
@pytest.mark.parametrize("under", [None, "state_dict", "model"])
def test_published_weights_fit_by_name(published, tmp_path, prefix, under):
    stored = {prefix + key: value for key, value in published.items()}
    torch.save(stored if under is None else {under: stored, "epoch": 3}, tmp_path / "phase2.pth")
    model = network(0)
    load_mediar_weights(model, tmp_path / "phase2.pth")
    assert equal(model.state_dict(), published)


def test_safetensors_and_the_projects_own_loader_fit_too(published, tmp_path):
    from emlib.training.weights import load_weights

    save_file(published, tmp_path / "phase2.safetensors")
    first, second = network(0), network(1)
    load_mediar_weights(first, tmp_path / "phase2.safetensors")
    report = load_weights(second, tmp_path / "phase2.safetensors")
    assert equal(first.state_dict(), published)
    assert equal(second.state_dict(), published)
    assert len(report.matched) == len(published)


def test_names_are_mapped_and_heads_that_are_not_ours_left_out():
    zero = torch.zeros(1)
    names = ["module.encoder.head.weight", "module.segmentation_head.0.bias", "module.decoder.center.top_conv.bias"]
    assert list(mediar_state_dict(dict.fromkeys(names, zero))) == ["decoder.center.top_conv.bias"]
    alone = mediar_state_dict({"patch_embed1.proj.bias": zero, "block1.0.norm1.bias": zero, "head.bias": zero})
    assert list(alone) == ["encoder.patch_embed1.proj.bias", "encoder.block1.0.norm1.bias"]
    # A prefix that only some names have is part of them.
    assert list(mediar_state_dict({"module.a": zero, "encoder.b": zero})) == ["module.a", "encoder.b"]
    assert mediar_state_dict({}) == {}


@pytest.mark.parametrize("whole", [False, True])
def test_an_encoder_starts_from_a_file(published, tmp_path, whole):
    encoder = {key.removeprefix("encoder."): value for key, value in published.items() if key.startswith("encoder.")}
    alone = encoder | {"head.weight": torch.zeros(1000, 256), "head.bias": torch.zeros(1000)}
    save_file(published if whole else alone, tmp_path / "mit_b0.safetensors")
    torch.manual_seed(0)
    model = build_model("mediar_former", **SMALL, encoder_weights_file=tmp_path / "mit_b0.safetensors")
    assert equal(model.encoder.state_dict(), encoder)
    # The rest is fresh, and the same as without the file.
    other = network(0)
    assert equal(model.decoder.state_dict(), other.decoder.state_dict())
    assert equal(model.gradflow_head.state_dict(), other.gradflow_head.state_dict())
    assert not equal(other.encoder.state_dict(), encoder)


def test_weights_that_do_not_fit_are_counted_and_named(published, tmp_path):
    wrong = dict(published)
    del wrong["gradflow_head.0.bias"], wrong["gradflow_head.3.bias"]
    wrong["gradflow_head.9.bias"] = torch.zeros(2)
    wrong["cellprob_head.3.weight"] = torch.zeros(2, 4, 3, 3)
    torch.save(wrong, tmp_path / "wrong.pth")
    model = network(0)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(ValueError) as caught:
        load_mediar_weights(model, tmp_path / "wrong.pth")
    says = str(caught.value)
    assert "2 missing: gradflow_head.0.bias, gradflow_head.3.bias" in says
    assert "1 unexpected: gradflow_head.9.bias" in says
    assert "1 of another shape: cellprob_head.3.weight (2 x 4 x 3 x 3 there, 1 x 4 x 3 x 3 here)" in says
    assert "\n" not in says
    assert equal(model.state_dict(), before)


def test_an_encoder_of_other_colours_refuses_the_weights(published, tmp_path):
    torch.save(published, tmp_path / "whole.pth")
    with pytest.raises(
        ValueError, match=r"1 of another shape: patch_embed1.proj.weight \(32 x 3 x 7 x 7 there, 32 x 1"
    ):
        build_model("mediar_former", **SMALL, in_channels=1, encoder_weights_file=tmp_path / "whole.pth")


class RunsOnUnpickling:
    """Leaves a file behind if anything unpickles it."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


def test_files_that_hold_no_weights_are_refused_and_run_no_code(tmp_path):
    model = network(0)
    (tmp_path / "bad.pth").write_bytes(pickle.dumps(RunsOnUnpickling(tmp_path / "trace"), protocol=2))
    (tmp_path / "cut.pth").write_bytes(b"PK\x03\x04cut")
    (tmp_path / "cut.safetensors").write_bytes(b"cut")
    (tmp_path / "empty.pth").write_bytes(b"")
    torch.save([torch.zeros(1)], tmp_path / "list.pth")
    torch.save({"epoch": 3}, tmp_path / "numbers.pth")
    torch.save({}, tmp_path / "nothing.pth")
    for name in ("bad.pth", "cut.pth", "cut.safetensors", "empty.pth", "list.pth", "numbers.pth", "nothing.pth"):
        with pytest.raises(ValueError, match=name) as caught:
            load_mediar_weights(model, tmp_path / name)
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "trace").exists()
    with pytest.raises(FileNotFoundError, match=r"no file of weights at .*absent\.pth"):
        load_mediar_weights(model, tmp_path / "absent.pth")
