"""From a checkpoint back to a network."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from emlib.models import build_model
from emlib.training.checkpoint import WEIGHTS, read_checkpoint, resolve_checkpoint
from emlib.training.memory_order import use_fast_memory_order


def load_model(checkpoint: str | Path, device: str | torch.device = "cpu") -> nn.Module:
    """The network of a checkpoint, in evaluation mode.

    Args:
        checkpoint: a checkpoint folder, or a training's output folder, which stands for its best checkpoint.
        device: where the network goes.

    Returns:
        The network. Its attribute `channel_names` lists what its output channels are, for example ["mask", "contour"].

    Raises:
        FileNotFoundError: no checkpoint, or a file of it is missing.
        ValueError: the checkpoint is damaged.
    """
    checkpoint = resolve_checkpoint(checkpoint)
    model = read_checkpoint(checkpoint)["model"]
    network = build_model(
        model["name"], in_channels=model["in_channels"], out_channels=model["out_channels"], **model["options"]
    )
    _copy_weights(network, checkpoint)
    network.channel_names = list(model["channel_names"])
    return use_fast_memory_order(network.to(device)).eval()


def load_weights(model: nn.Module, checkpoint: str | Path) -> nn.Module:
    """Put the weights of a checkpoint into `model`, which must have just the same layers.

    Raises:
        FileNotFoundError: no checkpoint, or a file of it is missing.
        ValueError: the checkpoint is damaged, or belongs to another network; the sentence names the first difference.
    """
    checkpoint = resolve_checkpoint(checkpoint)
    read_checkpoint(checkpoint)
    _copy_weights(model, checkpoint)
    return model


def _copy_weights(model: nn.Module, checkpoint: Path) -> None:
    from safetensors.torch import load_file

    stored = load_file(checkpoint / WEIGHTS)
    own = model.state_dict()
    for name in [*own, *(name for name in stored if name not in own)]:
        here, there = _shape(own.get(name)), _shape(stored.get(name))
        if here != there:
            belongs = read_checkpoint(checkpoint)["model"]
            raise ValueError(
                f"Checkpoint {checkpoint} holds weights of '{belongs['name']}' {belongs['options']} and does not fit "
                f"this {type(model).__name__}: layer '{name}' is {there} there and {here} here."
            )
    model.load_state_dict(stored)


def _shape(tensor: torch.Tensor | None) -> str:
    return "absent" if tensor is None else " x ".join(map(str, tensor.shape)) or "a single number"
