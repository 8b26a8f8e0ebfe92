"""Weights that a backbone has learned elsewhere, from a file that somebody has."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from emlib.models.weight_file import read_weight_file

# What wraps a network puts before each name, and where a whole Mask R-CNN keeps its backbone.
WRAPPERS = ("module.", "_orig_mod.", "model.")
BODY = "backbone.body."
CLASSIFIER = "fc."
SHOWN = 3


def load_backbone_weights(network: nn.Module, path: str | Path) -> None:
    """Put the weights of a residual network into the backbone of a Mask R-CNN. Nothing is ever downloaded.

    Args:
        network: `build_model("mask_rcnn_r101_fpn")` or another Mask R-CNN; changed in place.
        path: a file of torchvision's ResNet-50, ResNet-101 or ResNeXt-101 32x8d that has learned ImageNet, or of a
            whole Mask R-CNN of torchvision's or of this package, of which the backbone is taken; `.safetensors`, or of
            `torch.save`, which is read without running code from it. The classifier (`fc`) is left aside.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, or its weights are not those of this backbone: the sentence counts what is
            missing, unexpected or of another shape, and names the first of each. The network is then unchanged.

    Example:
        >>> from emlib.models import build_model
        >>> load_backbone_weights(build_model("mask_rcnn_r101_fpn"), "resnet101.pth")  # doctest: +SKIP
    """
    body = network.backbone.body
    stored = _body_weights(read_weight_file(path))
    expected = body.state_dict()
    # Only trained batch normalisation counts batches, and files from before it did have no count.
    counters = [name for name in {*stored, *expected} if name.endswith("num_batches_tracked")]
    stored |= {name: expected[name] for name in counters if name in expected and name not in stored}
    stored = {name: value for name, value in stored.items() if name in expected or name not in counters}
    differences = {
        "missing": [name for name in expected if name not in stored],
        "unexpected": [name for name in stored if name not in expected],
        "of another shape": [
            f"{name} ({_shape(stored[name])} there, {_shape(value)} here)"
            for name, value in expected.items()
            if name in stored and stored[name].shape != value.shape
        ],
    }
    if any(differences.values()):
        found = "; ".join(f"{len(names)} {what}: {_some(names)}" for what, names in differences.items() if names)
        raise ValueError(f"{path} does not fit the backbone of this {network.name}: of its weights {found}.")
    body.load_state_dict(stored)


def looks_fresh(body: nn.Module) -> bool:
    """Whether no statistics have been loaded into a backbone of frozen batch normalisation: all variances are 1.

    Example:
        >>> looks_fresh(nn.Conv2d(1, 1, 1))
        False
    """
    variances = [value for name, value in body.state_dict().items() if name.endswith("running_var")]
    return bool(variances) and all(bool((value == 1).all()) for value in variances)


def _body_weights(stored: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    while wrapper := next((w for w in WRAPPERS if stored and all(name.startswith(w) for name in stored)), None):
        stored = {name.removeprefix(wrapper): value for name, value in stored.items()}
    if any(name.startswith(BODY) for name in stored):
        return {name.removeprefix(BODY): value for name, value in stored.items() if name.startswith(BODY)}
    return {name: value for name, value in stored.items() if not name.startswith(CLASSIFIER)}


def _some(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")


def _shape(tensor: torch.Tensor) -> str:
    return " x ".join(map(str, tensor.shape)) or "a single number"
