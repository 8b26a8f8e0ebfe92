"""Gradient flows: in every pixel of a cell the direction to the cell's centre."""

from __future__ import annotations

import numpy as np
import torch

from emlib.diffusion import diffusion_flow, diffusion_rule
from emlib.targets.gradient_flow_torch import flow_of_labels
from emlib.targets.label_arrays import as_label_tensor, like


def gradient_flow(
    labels: np.ndarray | torch.Tensor,
    *,
    rule: str = "cellpose3",
    separate_pieces: bool = True,
    as_published: bool = False,
) -> np.ndarray | torch.Tensor:
    """Unit vectors along which every pixel of a cell finds the cell's centre, bent around the cell's shape.

    Heat is put into the centre and spreads inside the cell: a step adds 1 at the centre and replaces every pixel by
    the mean over itself and its 8 neighbours (in 3-D, as in Cellpose, its 6 neighbours), where what is not this cell
    counts 0. The flow is the gradient of the heat (central differences, again 0 outside the cell), divided by its
    length. h, w are the sides of a cell's box:

    | rule | centre: the pixel nearest to | steps (2-D) | gradient of |
    |---|---|---|---|
    | `cellpose3` | the mean of the pixels | 2 (h + w + 4), each cell its own | heat |
    | `mediar` (also Cellpose 2) | the median of the pixels | 2 max(h + w + 2) for all cells | ln(1 + heat) |
    | `cellpose4` | the mean rounded to a pixel | 2 max(h + w + 2) for all cells | heat |

    In 3-D the steps are 6 times the sum of the three sides, each lengthened by the same margin. The rules agree to
    some tenths of a degree. Touching cells do not influence each other, and a flow is a unit vector, or zero: where
    heat is equal on both sides along every axis (to rounding), as in the centre of a symmetric cell.

    A cell in several pieces (cut by a crop, say; 8-connected in 2-D, 6-connected in 3-D) is treated as that many
    cells, so that each piece has a centre that its pixels can reach. The published code has one centre per id, and
    the other pieces have no flow.

    Args:
        labels: (y, x) or (z, y, x), any integer type, 0 = background; ids may have gaps. Not changed.
        rule: see the table.
        separate_pieces: False gives one centre per id, as published; pieces without it get zero flow.
        as_published: reproduce the published values exactly: one centre per id, a gradient that reads the heat of
            touching cells (not `cellpose3`), ln(1 + heat) that rounds small heat to 0 (`mediar`), and 1e-20
            (`mediar`) or 1e-60 added to the length.

    Returns:
        float32 (2, y, x) or (3, z, y, x), components in the order of the axes, on the labels' device (compiled code
        on the CPU, torch code elsewhere, with the same result). Zero in the background.

    Raises:
        TypeError: labels that are not whole numbers.
        ValueError: another number of axes, empty labels, negative ids, an unknown rule.

    Source: Stringer et al., Nature Methods 2021 (Cellpose), and its versions 2 to 4; Lee et al. 2022 (MEDIAR).

    Example:
        >>> flow = gradient_flow(np.array([[9, 9, 9, 4, 4, 4]]))
        >>> flow[1]
        array([[ 1.,  0., -1.,  1.,  0., -1.]], dtype=float32)
        >>> flow.shape, bool(flow[0].any())
        ((2, 1, 6), False)
    """
    diffusion_rule(rule)
    is_section = getattr(labels, "ndim", 3) == 2
    tensor = as_label_tensor(labels[None] if is_section else labels)
    tensor = tensor[0] if is_section else tensor
    if tensor.device.type == "cpu":
        flow = torch.from_numpy(
            diffusion_flow(tensor.numpy(), rule, separate_pieces=separate_pieces, as_published=as_published)
        )
    else:
        flow = flow_of_labels(tensor, rule, separate_pieces=separate_pieces, as_published=as_published)
    return like(labels)(flow)
