"""Published weights of MEDIAR, and of SegFormer encoders, for `mediar_former`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from emlib.models.weight_file import read_weight_file

# What wraps a network puts before each name.
WRAPPERS = ("module.", "_orig_mod.", "model.")
PARTS = ("encoder.", "decoder.", "cellprob_head.", "gradflow_head.")
# Parts that no weights of MEDIAR-Former belong to: the heads that it leaves out of MA-Net and of SegFormer.
REMOVED = ("segmentation_head.", "encoder.head.", "head.")
SHOWN = 3


def mediar_state_dict(stored: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Stored weights under the names that `mediar_former` has.

    Two sources are known. MEDIAR stores the whole network as `encoder.*`, `decoder.*`, `cellprob_head.*` and
    `gradflow_head.*`. SegFormer encoders that have learned ImageNet are stored alone, from `patch_embed1.*` to
    `norm4.*`, and get the prefix `encoder.`. Removed are the prefixes of networks wrapped for several devices or
    compiled, and the heads that MEDIAR-Former does not have.

    Inferred, since no file of MEDIAR's was at hand: that the names inside encoder and decoder are those of
    segmentation_models_pytorch, and those inside a head count the layers in their order (0 convolution, 2
    normalisation, 3 convolution).

    Example:
        >>> list(mediar_state_dict({"module.encoder.norm4.bias": torch.zeros(2), "module.cellprob_head.3.bias": None}))
        ['encoder.norm4.bias', 'cellprob_head.3.bias']
        >>> list(mediar_state_dict({"norm4.bias": torch.zeros(2), "head.bias": torch.zeros(1000)}))
        ['encoder.norm4.bias']
    """
    names = {name: name for name in stored}
    while wrapper := next((w for w in WRAPPERS if names and all(n.startswith(w) for n in names.values())), None):
        names = {name: short.removeprefix(wrapper) for name, short in names.items()}
    names = {name: short for name, short in names.items() if not short.startswith(REMOVED)}
    if not any(short.startswith(PARTS) for short in names.values()):
        names = {name: f"encoder.{short}" for name, short in names.items()}
    return {short: stored[name] for name, short in names.items()}


def load_mediar_weights(network: nn.Module, path: str | Path) -> None:
    """Put the published weights of MEDIAR, from a file that somebody has, into a network.

    Args:
        network: `build_model("mediar_former")`, or a smaller one that the file was written for; changed in place.
        path: a file of `torch.save` with a state dict (see `mediar_state_dict`), or of safetensors. It is read without
            running code from it.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, or its weights are not those of this network: the sentence counts what is
            missing, unexpected or of another shape, and names the first of each. The network is then unchanged.

    Example:
        >>> from emlib.models import build_model
        >>> load_mediar_weights(build_model("mediar_former"), "from_phase2.pth")  # doctest: +SKIP
    """
    _load(network, mediar_state_dict(read_weight_file(path)), path)


def load_encoder_weights(encoder: nn.Module, path: str | Path) -> None:
    """Put weights that are stored alone, or as part of a whole network, into an encoder.

    Args:
        encoder: `network.encoder` of a `mediar_former`; changed in place.
        path: a file as for `load_mediar_weights`, for example the one of segmentation_models_pytorch's `mit_b5` that
            has learned ImageNet. Of a whole network the other parts are left aside. The weights of three colours fit an
            encoder of three channels only.

    Raises:
        FileNotFoundError, ValueError: as `load_mediar_weights`.
    """
    weights = mediar_state_dict(read_weight_file(path))
    own = {name.removeprefix("encoder."): value for name, value in weights.items() if name.startswith("encoder.")}
    _load(encoder, own, path)


def _load(network: nn.Module, weights: Mapping[str, torch.Tensor], path: str | Path) -> None:
    expected = network.state_dict()
    differences = {
        "missing": [name for name in expected if name not in weights],
        "unexpected": [name for name in weights if name not in expected],
        "of another shape": [
            f"{name} ({_shape(weights[name])} there, {_shape(value)} here)"
            for name, value in expected.items()
            if name in weights and weights[name].shape != value.shape
        ],
    }
    if any(differences.values()):
        found = "; ".join(f"{len(names)} {what}: {_some(names)}" for what, names in differences.items() if names)
        raise ValueError(f"{path} does not fit this {type(network).__name__}: of its weights {found}.")
    # torch's own method: the encoders of segmentation_models_pytorch override theirs and take no further arguments.
    nn.Module.load_state_dict(network, dict(weights))


def _some(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")


def _shape(tensor: torch.Tensor) -> str:
    return " x ".join(map(str, tensor.shape)) or "a single number"
