"""Heat that spreads inside cells: the flow field of an instance label, in numpy and numba, without torch.

Two rooms need it: targets (what a network learns) and postprocessing (does a found cell fit the predicted flow?).
"""

from emlib.diffusion.flow import diffusion_flow
from emlib.diffusion.pieces import CellPieces, cell_pieces
from emlib.diffusion.rules import DIFFUSION_RULES, DiffusionRule, diffusion_rule
from emlib.diffusion.steps import DiffusionSteps, diffusion_steps

__all__ = [
    "DIFFUSION_RULES",
    "CellPieces",
    "DiffusionRule",
    "DiffusionSteps",
    "cell_pieces",
    "diffusion_flow",
    "diffusion_rule",
    "diffusion_steps",
]
