"""From a checkpoint back to a network, and from any weights to a network that they fit wholly or in part."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from emlib.models import build_model
from emlib.training.checkpoint import read_checkpoint, resolve_checkpoint
from emlib.training.memory_order import use_fast_memory_order
from emlib.training.stored_weights import read_weights

SHOWN = 6


@dataclass(frozen=True)
class WeightReport:
    """Which layers of a network took stored weights.

    Attributes:
        source: where the weights came from.
        matched: layers that took theirs.
        missing: layers of the network that are not stored; they keep their fresh weights.
        unexpected: stored layers that the network does not have.
        mismatched: (layer, shape stored, shape in the network), other shapes; they keep their fresh weights.

    Example:
        >>> print(WeightReport("old.pth", ("a.weight",), (), ("b.bias",), (("head.weight", "3 x 8", "12 x 8"),)))
        weights of old.pth
        taken          1
        kept fresh     1  head.weight (3 x 8 there, 12 x 8 here)
        not used       1  b.bias
    """

    source: str
    matched: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched: tuple[tuple[str, str, str], ...]

    def __str__(self) -> str:
        fresh = [*(f"{name} ({there} there, {here} here)" for name, there, here in self.mismatched), *self.missing]
        rows = [("taken", len(self.matched), []), ("kept fresh", len(fresh), fresh)]
        rows.append(("not used", len(self.unexpected), list(self.unexpected)))
        return "\n".join([f"weights of {self.source}", *(_row(*row) for row in rows)])

    def to_dict(self) -> dict[str, Any]:
        """Plain types."""
        return asdict(self)


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
    load_weights(network, checkpoint)
    network.channel_names = list(model["channel_names"])
    return use_fast_memory_order(network.to(device)).eval()


def load_weights(model: nn.Module, path: str | Path, *, match: Literal["exact", "partial"] = "exact") -> WeightReport:
    """Put stored weights into `model`.

    Args:
        model: changed in place.
        path: a checkpoint folder, a training's output folder, or a file; see `emlib.training.stored_weights`.
        match: "exact" wants just the same layers; "partial" takes the layers of the same name and shape, such as all
            but the last one of a network with other output channels, and leaves the others as they are.

    Returns:
        Which layers took theirs; printed, it is a short table.

    Raises:
        FileNotFoundError: nothing is there, or a file of a checkpoint is missing.
        ValueError: a file is damaged; with "exact" the weights belong to another network (the sentence names the first
            difference); with "partial" not one layer fits.
    """
    if match not in ("exact", "partial"):
        raise ValueError(f"match is {match!r}, but 'exact' or 'partial' was expected.")
    stored, own = read_weights(path), model.state_dict()
    shapes = {name: (_shape(stored.get(name)), _shape(own.get(name))) for name in [*own, *stored]}
    report = WeightReport(
        source=str(path),
        matched=tuple(name for name in own if len(set(shapes[name])) == 1),
        missing=tuple(name for name in own if name not in stored),
        unexpected=tuple(name for name in stored if name not in own),
        mismatched=tuple(
            (name, *shapes[name]) for name in own if name in stored and shapes[name][0] != shapes[name][1]
        ),
    )
    different = [name for name in shapes if len(set(shapes[name])) > 1]
    if different and (match == "exact" or not report.matched):
        there, here = shapes[different[0]]
        raise ValueError(
            f"{_describe(path)} {'does not fit' if match == 'exact' else 'has no layer that fits'} this "
            f"{type(model).__name__}: layer '{different[0]}' is {there} there and {here} here."
        )
    model.load_state_dict({name: stored[name] for name in report.matched}, strict=False)
    return report


def _describe(path: str | Path) -> str:
    """A checkpoint with the network that it belongs to; a file with its name."""
    if Path(path).is_file():
        return str(path)
    path = resolve_checkpoint(path)
    belongs = read_checkpoint(path)["model"]
    return f"Checkpoint {path} holds weights of '{belongs['name']}' {belongs['options']} and"


def _shape(tensor: torch.Tensor | None) -> str:
    return "absent" if tensor is None else " x ".join(map(str, tensor.shape)) or "a single number"


def _row(title: str, count: int, names: list[str]) -> str:
    shown = ", ".join(names[:SHOWN]) + (f", and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
    return f"{title:12}{count:4}  {shown}".rstrip()
