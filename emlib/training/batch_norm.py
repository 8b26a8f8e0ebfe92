"""Batch norm in distributed training: one mean and variance over the samples of all processes."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def synchronize_batch_norm(network: nn.Module, device_type: str, say: Callable[[str], None]) -> nn.Module:
    """The network with its batch norms exchanged for synchronised ones, which torch has for GPUs only.

    On the CPU the network is returned as it is, and one sentence says so if it has batch norms: each process then
    normalises by its own samples, so that the result depends on how many processes there are.

    Example:
        >>> lines = []
        >>> _ = synchronize_batch_norm(nn.Sequential(nn.BatchNorm3d(2)), "cpu", lines.append)
        >>> print(*lines)
        SyncBatchNorm needs GPUs: the 1 batch norm layers of this network use each process's own samples.
    """
    count = sum(isinstance(module, BATCH_NORMS) for module in network.modules())
    if not count:
        return network
    if device_type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(network)
    say(f"SyncBatchNorm needs GPUs: the {count} batch norm layers of this network use each process's own samples.")
    return network
