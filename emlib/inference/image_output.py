"""What the three channels of a network of images mean, and so how several predictions are averaged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from emlib.inference.flow_rule import turn_flow_back
from emlib.inference.symmetries import ChannelRule

CHANNELS = 3
# Probabilities nearer to 0 or 1 than this count as this near: their logits are averaged.
CERTAIN = 1e-7
# How far from 1 the classes' probabilities may add up: a softmax in half precision is within this.
ROUNDING = 0.02


@dataclass(frozen=True)
class ImageOutput:
    """One meaning of the three channels of a network's output.

    Attributes:
        channels: what they are, in words.
        to_averaged: from the output, float32 (n, 3, y, x), to what is averaged over symmetries, networks and windows;
            raises a ValueError for an output that cannot be of this kind.
        from_averaged: from such averages (3, y, x) to the prediction; may work in place.
        channel_rule: how channels with a direction are turned back, see `Symmetry.invert`; None where none has one.
    """

    channels: str
    to_averaged: Callable[[torch.Tensor], torch.Tensor]
    from_averaged: Callable[[torch.Tensor], torch.Tensor]
    channel_rule: ChannelRule | None = None


def _with_logits(output: torch.Tensor) -> torch.Tensor:
    return torch.cat([output[:, :2], torch.logit(output[:, 2:], eps=CERTAIN)], dim=1)


def _with_probabilities(averages: torch.Tensor) -> torch.Tensor:
    averages[2] = torch.sigmoid(averages[2])
    return averages


def _checked_classes(output: torch.Tensor) -> torch.Tensor:
    low, sums = output.amin(), output.sum(dim=1)
    # NaN is not refused here: that it is no number is said later, in its own words.
    if low < 0 or (sums - 1).abs().amax() > ROUNDING:
        raise ValueError(
            "The model's output is not the probabilities of classes, of which every pixel has one: they add up to "
            f"{float(sums.amin()):.3g} ... {float(sums.amax()):.3g}, the lowest is {float(low):.3g}. A network that "
            "ends in a softmax was expected."
        )
    return output


# Flows as they are and probabilities as logits, as MEDIAR averages them.
FLOWS = ImageOutput("flow along y and x, probability", _with_logits, _with_probabilities, turn_flow_back)
# Averages of numbers up to 1 can be a rounding error above it.
CLASSES = ImageOutput(
    "probabilities of background, interior and boundary", _checked_classes, lambda averages: averages.clamp_(0, 1)
)
