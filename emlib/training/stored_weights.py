"""Read a network's weights from whatever file holds them."""

from __future__ import annotations

from pathlib import Path

import torch

from emlib.models.weight_file import read_weight_file
from emlib.training.checkpoint import WEIGHTS, read_checkpoint, resolve_checkpoint

PREFIX = "module."  # of a network that was wrapped for several devices


def read_weights(path: str | Path) -> dict[str, torch.Tensor]:
    """Weights by name, on the CPU.

    Args:
        path: a checkpoint folder; a training's output folder, which stands for its best checkpoint; a `.safetensors`
            file; or a file of `torch.save` (loaded with `weights_only=True`, so it runs no code) that holds a state
            dict, at its top or under "state_dict", "model_state_dict" or "model".

    Returns:
        name -> tensor, without the prefix "module." of a network wrapped for several devices.

    Raises:
        FileNotFoundError: nothing is there, or a file of a checkpoint is missing.
        ValueError: a file is damaged, or holds something else.
    """
    path = Path(path)
    if not path.is_file():
        path = resolve_checkpoint(path)
        read_checkpoint(path)
        path = path / WEIGHTS
    content = read_weight_file(path)
    wrapped = all(name.startswith(PREFIX) for name in content)
    return {name.removeprefix(PREFIX) if wrapped else name: tensor for name, tensor in content.items()}
