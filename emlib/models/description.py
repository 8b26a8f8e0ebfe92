"""What a network is made of: its layers, the shapes they put out, and how many parameters they hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class LayerRow:
    """One layer of a network.

    Attributes:
        name: dotted name inside the network.
        kind: class of the layer.
        output_shape: (N, C, Z, Y, X) of its last output, or None if the forward pass does not use the layer.
        parameters: weights and biases it holds itself.
        trained: whether any of them is trained.
    """

    name: str
    kind: str
    output_shape: tuple[int, ...] | None
    parameters: int
    trained: bool


def count_parameters(model: nn.Module, *, trained_only: bool = False) -> int:
    """Number of weights and biases; with `trained_only` without the frozen ones.

    Example:
        >>> count_parameters(nn.Linear(3, 2))
        8
    """
    return sum(p.numel() for p in model.parameters() if p.requires_grad or not trained_only)


def describe_model(model: nn.Module, input_shape: Sequence[int]) -> list[LayerRow]:
    """Rows for a table of the network's layers in order of use, found by one forward pass on zeros.

    The pass is in evaluation mode; a network that wants a prior of the mask beside the image gets zeros for it too.

    Args:
        model: any network; its mode (training or evaluation) is restored.
        input_shape: (N, C, Z, Y, X).

    Returns:
        One row per layer that has parameters of its own or no layers inside. Layers that the
        forward pass does not use come last, with output_shape None. The parameters add up to `count_parameters`.

    Example:
        >>> rows = describe_model(nn.Sequential(nn.Conv3d(1, 4, 1), nn.ELU()), (1, 1, 2, 8, 8))
        >>> [(row.name, row.output_shape, row.parameters) for row in rows]
        [('0', (1, 4, 2, 8, 8), 8), ('1', (1, 4, 2, 8, 8), 0)]
    """
    layers = {name: layer for name, layer in model.named_modules() if _is_layer(layer)}
    shapes: dict[str, tuple[int, ...]] = {}

    def remember(name: str):
        def hook(_layer: nn.Module, _inputs: tuple, output: torch.Tensor) -> None:
            shapes[name] = tuple(output.shape)

        return hook

    handles = [layer.register_forward_hook(remember(name)) for name, layer in layers.items()]
    training = model.training
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    try:
        model.eval()
        with torch.no_grad():
            inputs = [torch.zeros(tuple(input_shape), device=device)]
            if getattr(model, "needs_prior", False):
                inputs.append(inputs[0][:, :1])
            model(*inputs)
    finally:
        model.train(training)
        for handle in handles:
            handle.remove()
    order = [*shapes, *(name for name in layers if name not in shapes)]
    return [_row(name, layers[name], shapes.get(name)) for name in order]


def _is_layer(module: nn.Module) -> bool:
    return not list(module.children()) or bool(list(module.parameters(recurse=False)))


def _row(name: str, layer: nn.Module, shape: tuple[int, ...] | None) -> LayerRow:
    own = list(layer.parameters(recurse=False))
    return LayerRow(name, type(layer).__name__, shape, sum(p.numel() for p in own), any(p.requires_grad for p in own))
