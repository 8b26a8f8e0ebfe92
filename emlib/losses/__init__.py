"""Losses between what a network says and its targets, alone (`build_loss`) or one per output (`CompositeLoss`)."""

from emlib.losses.auxiliary import with_auxiliary
from emlib.losses.composite import CompositeLoss, LossTerm
from emlib.losses.dice_cross_entropy import dice_ce_loss
from emlib.losses.discriminative import discriminative_loss, discriminative_two_class_loss
from emlib.losses.hard_examples import ohem_bce, ohem_mse
from emlib.losses.nearest_prototype import nearest_prototype_loss, nearest_prototype_probability
from emlib.losses.overlap import dice_loss, jaccard_loss
from emlib.losses.registry import build_loss, list_losses, loss_input, takes_auxiliary
from emlib.losses.voxelwise import weighted_bce, weighted_mse

__all__ = [
    "CompositeLoss",
    "LossTerm",
    "build_loss",
    "dice_ce_loss",
    "dice_loss",
    "discriminative_loss",
    "discriminative_two_class_loss",
    "jaccard_loss",
    "list_losses",
    "loss_input",
    "nearest_prototype_loss",
    "nearest_prototype_probability",
    "ohem_bce",
    "ohem_mse",
    "takes_auxiliary",
    "weighted_bce",
    "weighted_mse",
    "with_auxiliary",
]
