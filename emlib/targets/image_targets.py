"""All targets of a recipe of images at once, as a network learns them."""

from __future__ import annotations

import numpy as np
import torch

from emlib.recipe_schema import ImageTargetRecipe
from emlib.targets.cell_classes import cell_classes
from emlib.targets.gradient_flow import gradient_flow


def build_image_targets(labels: np.ndarray | torch.Tensor, target: ImageTargetRecipe) -> np.ndarray | torch.Tensor:
    """The targets of a recipe of images, in the order of the network's output channels.

    Args:
        labels: (y, x), any integer type, 0 = background; not changed. What lies in several pieces, as where the border
            of a crop cuts a cell, has a flow to the centre of each.
        target: the recipe's section.

    Returns:
        float32 (c, y, x) on the labels' device: the flow along y and x (unit vectors, 0 in the background), and 1 where
        any cell is; or the three classes of `cell_classes`.

    Raises:
        TypeError, ValueError: as `gradient_flow` and `cell_classes`.

    Example:
        >>> from emlib.recipe_schema import ImageTargetOutput
        >>> outputs = (ImageTargetOutput(name="flow", kind="flow", rule="mediar", losses=()),
        ...            ImageTargetOutput(name="probability", kind="mask", losses=()))
        >>> build_image_targets(np.array([[0, 7, 7, 7]]), ImageTargetRecipe(outputs=outputs))[1:, 0]
        array([[ 0.,  1.,  0., -1.],
               [ 0.,  1.,  1.,  1.]], dtype=float32)
    """
    made = []
    for output in target.outputs:
        if output.kind == "flow":
            made.append(gradient_flow(labels, rule=output.rule))
        elif output.kind == "classes":
            made.append(cell_classes(labels))
        elif isinstance(labels, np.ndarray):
            made.append((labels != 0).astype(np.float32)[None])
        else:
            made.append((labels != 0).to(torch.float32)[None])
    return (np.concatenate if isinstance(labels, np.ndarray) else torch.cat)(made)
