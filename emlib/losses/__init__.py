"""Losses between predicted probabilities and targets, alone (`build_loss`) or one per output (`CompositeLoss`)."""

from emlib.losses.composite import CompositeLoss, LossTerm
from emlib.losses.dice_cross_entropy import dice_ce_loss
from emlib.losses.overlap import dice_loss, jaccard_loss
from emlib.losses.registry import build_loss, list_losses
from emlib.losses.voxelwise import weighted_bce, weighted_mse

__all__ = [
    "CompositeLoss",
    "LossTerm",
    "build_loss",
    "dice_ce_loss",
    "dice_loss",
    "jaccard_loss",
    "list_losses",
    "weighted_bce",
    "weighted_mse",
]
