"""One table from the published names of losses to functions."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch

from emlib.losses.auxiliary import (
    RESIZES,
    auxiliary_bce,
    auxiliary_mse,
    auxiliary_ohem_bce,
    auxiliary_ohem_mse,
    auxiliary_ohem_mse_2,
)
from emlib.losses.dice_cross_entropy import dice_ce_loss
from emlib.losses.discriminative import NORMALIZATIONS, discriminative_loss, discriminative_two_class_loss
from emlib.losses.hard_examples import BCE_RULES, MSE_RULES, ohem_bce, ohem_mse
from emlib.losses.nearest_prototype import PROTOTYPES, nearest_prototype_loss
from emlib.losses.option_values import check_option
from emlib.losses.overlap import dice_loss, jaccard_loss
from emlib.losses.voxelwise import weighted_bce, weighted_mse

Loss = Callable[..., torch.Tensor]
_LOSSES: dict[str, Loss] = {
    "WeightedBCE": weighted_bce,
    "DiceLoss": dice_loss,
    "WeightedMSE": weighted_mse,
    "JaccardLoss": jaccard_loss,
    "DiceCE": dice_ce_loss,
    "OhemBCE": ohem_bce,
    "OhemMSE": ohem_mse,
    "AuxBCE": auxiliary_bce,
    "AuxMSE": auxiliary_mse,
    "AuxOhemBCE": auxiliary_ohem_bce,
    "AuxOhemMSE": auxiliary_ohem_mse,
    "AuxOhemMSE2": auxiliary_ohem_mse_2,
    "NearestPrototype": nearest_prototype_loss,
    "Discriminative": discriminative_loss,
    "DiscriminativeTwoClasses": discriminative_two_class_loss,
}
_INPUTS = {
    "NearestPrototype": "mask and embedding",
    "Discriminative": "embedding",
    "DiscriminativeTwoClasses": "embedding",
}
_WORDS = {"resize": RESIZES, "prototypes": PROTOTYPES, "normalization": NORMALIZATIONS}


def list_losses() -> list[str]:
    """Names that `build_loss` knows.

    Example:
        >>> list_losses()
        ['WeightedBCE', 'DiceLoss', 'WeightedMSE', 'JaccardLoss', 'DiceCE', 'OhemBCE', 'OhemMSE', 'AuxBCE', 'AuxMSE',
         'AuxOhemBCE', 'AuxOhemMSE', 'AuxOhemMSE2', 'NearestPrototype', 'Discriminative', 'DiscriminativeTwoClasses']
    """
    return list(_LOSSES)


def takes_auxiliary(name: str) -> bool:
    """Whether the loss of this name takes an auxiliary output beside the prediction.

    Example:
        >>> takes_auxiliary("AuxBCE"), takes_auxiliary("WeightedBCE")
        (True, False)
    """
    return name in _LOSSES and name.startswith("Aux")


def loss_input(name: str) -> str:
    """What channels the loss of this name takes: those of a "map", an "embedding", or a "mask and embedding".

    Example:
        >>> loss_input("OhemBCE"), loss_input("Discriminative"), loss_input("NearestPrototype")
        ('map', 'embedding', 'mask and embedding')
    """
    return _INPUTS.get(name, "map")


def build_loss(name: str, **options: Any) -> Loss:
    """A loss by its published name.

    Args:
        name: see `list_losses`.
        options: `smooth` and `power` of DiceLoss, `smooth` of JaccardLoss and DiceCE, `kept`, `threshold` and `rule` of
            OHEM, and more: the keywords of the functions in this room, which say what they mean.

    Returns:
        A function of (prediction, target, weight=None), tensors (n, c, z, y, x), that gives a scalar tensor. The Aux*
        take a pair (auxiliary, prediction) too; NearestPrototype takes a mask and an embedding, the Discriminative* an
        embedding, and the three a target of one channel.

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
        check_option(name, key, value, _words(name, key))
    return partial(function, **options)


def _words(name: str, key: str) -> tuple[str, ...]:
    if key == "rule":
        return BCE_RULES if name.endswith("BCE") else MSE_RULES
    return _WORDS.get(key, ())


def _hint(name: str, known: Iterable[str]) -> str:
    known = list(known)
    near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
    if near:
        return f"; did you mean '{near[0]}'?"
    return f"; there are {', '.join(known)}." if known else "; it has none."
