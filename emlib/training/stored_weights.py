"""Read a network's weights from whatever file holds them."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from emlib.training.checkpoint import WEIGHTS, read_checkpoint, resolve_checkpoint

# Under which of these keys a training program keeps the weights, if not at the top.
KEYS = ("state_dict", "model", "model_state_dict")
PREFIX = "module."  # of a network that was wrapped for several devices


def read_weights(path: str | Path) -> dict[str, torch.Tensor]:
    """Weights by name, on the CPU.

    Args:
        path: a checkpoint folder; a training's output folder, which stands for its best checkpoint; a `.safetensors`
            file; or a file of `torch.save` (loaded with `weights_only=True`, so it runs no code) that holds a state
            dict, at its top or under "state_dict", "model" or "model_state_dict".

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
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    for key in KEYS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    tensors = isinstance(content, Mapping) and all(isinstance(value, torch.Tensor) for value in content.values())
    if not tensors or not content:
        raise ValueError(
            f"{path} holds no weights: names and tensors, or these under {' or '.join(KEYS)}, were expected."
        )
    wrapped = all(str(name).startswith(PREFIX) for name in content)
    return {str(name).removeprefix(PREFIX) if wrapped else str(name): tensor for name, tensor in content.items()}


def _read_safetensors(path: Path) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} is not a whole safetensors file: {' '.join(str(error).split())}.") from None


def _read_torch(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise ValueError(f"{path} holds more than tensors and plain values, or is no file of torch.save.") from None
    except PermissionError:
        raise
    except (RuntimeError, EOFError, KeyError, ValueError, OSError):
        raise ValueError(f"{path} is no whole file of torch.save.") from None
