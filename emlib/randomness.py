"""One seed for everything: derived seeds, seeded generators, and the state of all generators as one object."""

from __future__ import annotations

import hashlib
import random
from typing import Any

import numpy as np


def derive_seed(seed: int, *keys: int | str) -> int:
    """A 63-bit seed that depends on `seed` and on every key, the same on every machine and Python version.

    Counter-based seeding makes sample i of a run the same whichever worker makes it, and whether or not the run
    was interrupted before it: seed it with `derive_seed(recipe.seed, "sample", i)`.

    Example:
        >>> derive_seed(0, "sample", 1) == derive_seed(0, "sample", 1)
        True
        >>> derive_seed(0, "sample", 1) == derive_seed(0, "sample", 2)
        False
    """
    text = "/".join([str(int(seed)), *(f"{type(key).__name__}:{key}" for key in keys)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def numpy_generator(seed: int, *keys: int | str) -> np.random.Generator:
    """A numpy generator seeded with `derive_seed(seed, *keys)`."""
    return np.random.default_rng(derive_seed(seed, *keys))


def torch_generator(seed: int, *keys: int | str) -> Any:
    """A CPU `torch.Generator` seeded with `derive_seed(seed, *keys)`."""
    import torch

    return torch.Generator().manual_seed(derive_seed(seed, *keys))


def seed_everything(seed: int) -> None:
    """Seed python's, numpy's and torch's (all devices) global generators."""
    import torch

    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - libraries below us still read the global generator
    torch.manual_seed(seed)


def random_state() -> dict[str, Any]:
    """The state of python's, numpy's and torch's global generators, of plain types and tensors only.

    It survives `torch.save` and `torch.load(weights_only=True)`.
    """
    import torch

    version, internal, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state()  # noqa: NPY002
    return {
        "python": [version, list(internal), gauss],
        "numpy": [name, torch.from_numpy(keys.astype(np.int64)), int(position), int(has_gauss), float(cached)],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore_random_state(state: dict[str, Any]) -> None:
    """Put every generator back to what `random_state` returned."""
    import torch

    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    name, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, cached))  # noqa: NPY002
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])
