"""The order of a network's weights in memory that makes it fast."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

Network = TypeVar("Network", bound=nn.Module)


def use_fast_memory_order(network: Network) -> Network:
    """Store weights with the channels last: convolutions then run up to 2 times faster, in training and inference.

    Values and results stay the same up to rounding. The network is changed and returned.

    Example:
        >>> layer = use_fast_memory_order(nn.Conv3d(2, 3, 3))
        >>> layer.weight.is_contiguous(memory_format=torch.channels_last_3d)
        True
        >>> use_fast_memory_order(nn.Conv2d(2, 3, 3)).weight.is_contiguous(memory_format=torch.channels_last)
        True
    """
    if not any(parameter.ndim == 5 for parameter in network.parameters()):
        network = network.to(memory_format=torch.channels_last)
    else:
        for parameter in network.parameters():
            if parameter.ndim == 5:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last_3d)
    for parameter in network.parameters():
        if parameter.ndim in (4, 5) and parameter.shape[2:].numel() == 1:
            # For kernels of one voxel both orders are the same; distributed training warns about the other strides.
            parameter.data = parameter.data.flatten().view(parameter.shape)
    return network
