"""All targets of a recipe at once, as a network learns them."""

from __future__ import annotations

import numpy as np
import torch

from emlib.recipe_schema import TargetRecipe
from emlib.targets.affinity import affinities
from emlib.targets.erosion import erode_labels
from emlib.targets.label_arrays import as_label_tensor, like
from emlib.targets.options import build_target

MOST_INSTANCES = 2**24  # whole numbers up to this are exact in float32


def build_targets(
    labels: np.ndarray | torch.Tensor, target: TargetRecipe
) -> tuple[np.ndarray | torch.Tensor, np.ndarray | torch.Tensor | None]:
    """The targets of a recipe, in the order of the network's output channels.

    Each target is made from labels eroded by its own `label_erosion`, else by the section's. An `option` is defined
    everywhere; along `offsets` an affinity is known only where both voxels lie inside the volume. The target of an
    `embedding` is one channel with the instances, numbered from 1, so that float32 holds them.

    Args:
        labels: (z, y, x), any integer type, 0 = background; not changed.
        target: the recipe's section.

    Returns:
        values, float32 (c, z, y, x), and valid, bool of the same shape, on the labels' device. `valid` is None if
        every value is defined.

    Raises:
        TypeError, ValueError: as `build_target`, `affinities` and `erode_labels`.

    Example:
        >>> from emlib.recipe_schema import TargetOutput
        >>> outputs = (TargetOutput(name="near", option="2", losses=(), label_erosion=1),
        ...            TargetOutput(name="far", offsets=((0, 0, -2),), losses=()))
        >>> values, valid = build_targets(np.array([[[1, 1, 2, 2]]]), TargetRecipe(outputs=outputs))
        >>> values[2:, 0, 0], valid[3, 0, 0]
        (array([[1., 0., 0., 0.],
                [0., 0., 0., 0.]], dtype=float32), array([False, False,  True,  True]))
    """
    eroded: dict[int, np.ndarray | torch.Tensor] = {}
    values, valid = [], []
    for output in target.outputs:
        erosion = target.label_erosion if output.label_erosion is None else output.label_erosion
        if erosion not in eroded:
            eroded[erosion] = erode_labels(labels, erosion)
        if output.offsets is not None:
            made, known = affinities(eroded[erosion], output.offsets)
        else:
            is_embedding = output.embedding is not None
            made = _numbered(eroded[erosion]) if is_embedding else build_target(eroded[erosion], output.option)
            known = made == made  # everywhere
        values.append(made)
        valid.append(known)
    join = np.concatenate if isinstance(labels, np.ndarray) else torch.cat
    defined = all(output.offsets is None for output in target.outputs)
    return join(values), None if defined else join(valid)


def _numbered(labels: np.ndarray | torch.Tensor) -> np.ndarray | torch.Tensor:
    """float32 (1, z, y, x): 0 where the labels are 0, else 1 ... n.

    Raises:
        ValueError: more instances than float32 can tell apart.
    """
    tensor = as_label_tensor(labels)
    ids, numbers = torch.unique(tensor, return_inverse=True)
    # Ids of half of an unsigned type's range and more look negative, and sort before 0.
    background = int((ids < 0).sum()) if bool((ids == 0).any()) else len(ids)
    numbers = torch.where(tensor == 0, 0, numbers + (numbers < background).to(numbers.dtype))
    if len(ids) > MOST_INSTANCES:
        raise ValueError(f"A sample holds {len(ids)} ids, but an embedding can tell {MOST_INSTANCES} apart at most.")
    return like(labels)(numbers.to(torch.float32)[None])
