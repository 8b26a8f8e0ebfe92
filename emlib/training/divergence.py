"""A training whose numbers are no longer finite: said in one sentence, and never saved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch


def explain_divergence(iteration: int, losses: Mapping[str, float], own: float, batches: list[dict[str, Any]]) -> str:
    """One sentence about a loss that is not finite.

    Args:
        iteration: the update that could not be made, counted from 1.
        losses: mean over all processes, by name.
        own: this process's total loss.
        batches: what this process saw in this iteration.
    """
    figures = ", ".join(f"{name} {value:g}" for name, value in losses.items())
    if torch.isfinite(torch.tensor(own)):
        return f"Training stopped at iteration {iteration}: the loss of another process is not finite ({figures})."
    samples = [
        f"{int(index)} at {tuple(position.tolist())}"
        for batch in batches
        for index, position in zip(batch["index"], batch["position"], strict=True)
    ]
    images = batches[0]["image"]
    axes = "image, y, x" if isinstance(images, list) or images.ndim == 4 else "z, y, x"
    return (
        f"Training stopped at iteration {iteration}: the loss is not finite ({figures}) on samples (number at {axes}) "
        f"{', '.join(samples)}; a lower learning rate or gradient clipping may help, and nothing of it was saved."
    )


def refuse_broken_weights(iteration: int, weights: Mapping[str, torch.Tensor]) -> None:
    """Stop before a checkpoint of weights that are not finite is written.

    Raises:
        ValueError: names the first such layer.

    Example:
        >>> refuse_broken_weights(7, {"head.bias": torch.tensor([1.0, float("nan")])})
        Traceback (most recent call last):
        ValueError: Training stopped at iteration 7: the weights of head.bias are not finite; nothing of it was saved.
    """
    for name, tensor in weights.items():
        if not torch.isfinite(tensor).all():
            raise ValueError(
                f"Training stopped at iteration {iteration}: the weights of {name} are not finite; "
                "nothing of it was saved."
            )
