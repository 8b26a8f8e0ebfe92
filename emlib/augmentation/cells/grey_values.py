"""Random changes of a whole picture's grey values, as MEDIAR makes them; MONAI has them all."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import Any

import torch

from emlib.augmentation.draws import Draws
from emlib.recipe_schema import CellAugmentationRecipe

SEEDS = 2**31
# In the published order.
GREY_VALUES = ("noise", "gamma", "smooth", "histogram_shift", "sharpen")


def change_grey_values(image: torch.Tensor, name: str, settings: CellAugmentationRecipe, draws: Draws) -> torch.Tensor:
    """One of `GREY_VALUES`, with the strength that the settings name, whatever their probability.

    Args:
        image: (c, y, x) float32, usually in [0, 1]; not changed.
        name: which.
        settings: the recipe's section.
        draws: one number is drawn: the seed of MONAI's transform.

    Returns:
        A new image, float32 of the same shape; values are not clipped.

    Raises:
        ImportError: MONAI is not installed.
        KeyError: no such change.

    Example:
        >>> from emlib.randomness import torch_generator
        >>> image = torch.linspace(0, 1, 48).reshape(3, 4, 4)
        >>> darker = change_grey_values(image, "gamma", CellAugmentationRecipe(), Draws(torch_generator(0)))
        >>> bool((darker <= image + 1e-6).all()), darker.dtype
        (True, torch.float32)
    """
    kind, options = _transform(name, getattr(settings, name))
    transform = getattr(_monai(), kind)(prob=1.0, **options)
    transform.set_random_state(seed=draws.integer(0, SEEDS))
    changed = transform(image)
    # MONAI may wrap tensors in a class of its own.
    changed = changed.as_tensor() if hasattr(changed, "as_tensor") else torch.as_tensor(changed)
    return changed.to(torch.float32)


def _transform(name: str, part: Any) -> tuple[str, dict[str, Any]]:
    """The class of MONAI and its arguments. MONAI calls the first axis after the channels x."""
    table = {
        "noise": lambda: ("RandGaussianNoise", {"mean": 0.0, "std": part.std}),
        "gamma": lambda: ("RandAdjustContrast", {"gamma": (part.low, part.high)}),
        "smooth": lambda: ("RandGaussianSmooth", {"sigma_x": part.sigma_y, "sigma_y": part.sigma_x}),
        "histogram_shift": lambda: ("RandHistogramShift", {"num_control_points": part.control_points}),
        "sharpen": lambda: (
            "RandGaussianSharpen",
            {"sigma1_x": part.sigma, "sigma1_y": part.sigma, "alpha": part.strength},
        ),
    }
    return table[name]()


def _monai() -> ModuleType:
    """`monai.transforms`, which takes seconds to import and is so only when a change needs it."""
    try:
        return import_module("monai.transforms")
    except ModuleNotFoundError as error:
        raise ImportError(
            f'MONAI cannot be imported ({error}); install it with pip install "emlib[models]".'
        ) from error
