"""Where a training runs: one CPU, one GPU, or the processes that torchrun started."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch

PRECISIONS = {"32": "32-true", "16": "16-mixed", "bf16": "bf16-mixed"}


def launch(*, device: str | torch.device | None = None, precision: str = "32") -> Any:
    """A launched `lightning_fabric.Fabric`.

    Under torchrun (`WORLD_SIZE` set) all its processes train together with averaged gradients (DDP), each on its own
    GPU, or on the CPU with gloo. Otherwise one device is used.

    Args:
        device: "cpu", "cuda", "cuda:1", or "auto" or None for a GPU if there is one.
        precision: "32", "16" (mixed, with loss scaling; GPU only) or "bf16" (mixed).

    Raises:
        ValueError: a device that is not there, more processes than GPUs, or half precision on the CPU.
    """
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments import LightningEnvironment, TorchElasticEnvironment
    from lightning_fabric.strategies import DDPStrategy

    chosen = _choose_device(device)
    if precision == "16" and chosen.type != "cuda":
        raise ValueError("training.precision is '16', which needs a CUDA device; use 'bf16' or '32' on the CPU.")
    options: dict[str, Any] = {"accelerator": chosen.type, "precision": PRECISIONS[precision]}
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        local = int(os.environ.get("LOCAL_WORLD_SIZE", os.environ["WORLD_SIZE"]))
        if chosen.type == "cuda" and local > torch.cuda.device_count():
            there = torch.cuda.device_count()
            raise ValueError(
                f"torchrun started {local} processes on a machine with {there} CUDA devices, but each process needs "
                f"its own: use --nproc_per_node={there}, or the device 'cpu'."
            )
        # Kernels on a single channel have the same values in either memory order; torch sees the strides only.
        warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides", UserWarning)
        options |= {"devices": local, "num_nodes": int(os.environ["WORLD_SIZE"]) // local}
        # Process 0 evaluates and saves alone; the others must wait for it longer than the usual half hour.
        options |= {"strategy": DDPStrategy(timeout=timedelta(days=1)), "plugins": [TorchElasticEnvironment()]}
    else:
        # Named so that a notebook inside a Slurm job is not taken for one task of a distributed run.
        options |= {"devices": [chosen.index or 0] if chosen.type == "cuda" else 1, "plugins": [LightningEnvironment()]}
    with _quiet("lightning_fabric"):
        fabric = Fabric(**options)
        fabric.launch()
    return fabric


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Hold back a library's notes about what it was just told to do; its warnings still come through."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(before)


def _choose_device(device: str | torch.device | None) -> torch.device:
    if device is None or device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError:
        raise ValueError(f"device is '{device}', but 'auto', 'cpu', 'cuda' or 'cuda:<number>' was expected.") from None
    if chosen.type not in ("cpu", "cuda"):
        raise ValueError(f"device is '{device}', but training runs on 'cpu' or 'cuda' only.")
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device is '{device}', but torch finds no CUDA device here.")
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"device is '{device}', but there are only {torch.cuda.device_count()} CUDA devices.")
    return chosen
