"""One table from the published names of losses to functions."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch

from emlib.losses.dice_cross_entropy import dice_ce_loss
from emlib.losses.overlap import dice_loss, jaccard_loss
from emlib.losses.voxelwise import weighted_bce, weighted_mse

Loss = Callable[..., torch.Tensor]
_LOSSES: dict[str, Loss] = {
    "WeightedBCE": weighted_bce,
    "DiceLoss": dice_loss,
    "WeightedMSE": weighted_mse,
    "JaccardLoss": jaccard_loss,
    "DiceCE": dice_ce_loss,
}


def list_losses() -> list[str]:
    """Names that `build_loss` knows.

    Example:
        >>> list_losses()
        ['WeightedBCE', 'DiceLoss', 'WeightedMSE', 'JaccardLoss', 'DiceCE']
    """
    return list(_LOSSES)


def build_loss(name: str, **options: Any) -> Loss:
    """A loss by its published name.

    Args:
        name: see `list_losses`.
        options: `smooth` and `power` of DiceLoss, `smooth` of JaccardLoss and DiceCE.

    Returns:
        A function of (prediction, target, weight=None), tensors (n, c, z, y, x), that gives a scalar tensor.

    Raises:
        ValueError: no loss has this name, no option has this name, or its value is out of range.

    Example:
        >>> loss = build_loss("DiceLoss", power=2)
        >>> float(loss(torch.ones(2, 1, 1, 4, 4), torch.ones(2, 1, 1, 4, 4)))
        0.0
    """
    if name not in _LOSSES:
        raise ValueError(f"There is no loss '{name}'{_hint(name, _LOSSES)}")
    function = _LOSSES[name]
    known = [key for key, value in inspect.signature(function).parameters.items() if value.kind is value.KEYWORD_ONLY]
    for key, value in options.items():
        if key not in known:
            raise ValueError(f"The loss {name} has no option '{key}'{_hint(key, known)}")
        if key == "smooth" and not value > 0:
            raise ValueError(f"The option smooth of {name} is {value!r}, but a number above 0 was expected.")
        if key == "power" and value not in (1, 2):
            raise ValueError(f"The option power of {name} is {value!r}, but 1 or 2 was expected.")
    return partial(function, **options)


def _hint(name: str, known: Iterable[str]) -> str:
    known = list(known)
    near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
    if near:
        return f"; did you mean '{near[0]}'?"
    return f"; there are {', '.join(known)}." if known else "; it has none."
