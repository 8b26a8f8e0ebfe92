"""Read the weights in a file of torch or safetensors, running no code from it."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

# Under which of these keys a training program keeps the weights, if not at the top.
KEYS = ("state_dict", "model_state_dict", "model")


def read_weight_file(path: str | Path) -> dict[str, torch.Tensor]:
    """Weights by name, on the CPU.

    Args:
        path: a `.safetensors` file, or a file of `torch.save` (loaded with `weights_only=True`) that holds a state
            dict, at its top or under "state_dict", "model_state_dict" or "model".

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, or holds something else.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     torch.save({"state_dict": {"bias": torch.zeros(2)}}, Path(folder) / "old.pth")
        ...     read_weight_file(Path(folder) / "old.pth")
        {'bias': tensor([0., 0.])}
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file of weights at {path}.")
    content = _safetensors(path) if path.suffix == ".safetensors" else _pickled(path)
    for key in KEYS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not content or not all(map(_is_weight, content.items())):
        raise ValueError(
            f"{path} holds no weights: names and tensors, or these under {' or '.join(KEYS)}, were expected."
        )
    return dict(content)


def _is_weight(item: tuple[Any, Any]) -> bool:
    return isinstance(item[0], str) and isinstance(item[1], torch.Tensor)


def _safetensors(path: Path) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} is not a whole safetensors file: {' '.join(str(error).split())}.") from None


def _pickled(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise ValueError(f"{path} holds more than tensors and plain values, or is no file of torch.save.") from None
    except PermissionError:
        raise
    except (RuntimeError, EOFError, KeyError, ValueError, OSError):
        raise ValueError(f"{path} is no whole file of torch.save.") from None
