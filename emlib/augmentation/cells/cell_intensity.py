"""Brighten some cells and not others, so that a network does not learn that all cells of a picture look alike."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from emlib.augmentation.cells.cell_arrays import check_sample, tensor_of
from emlib.augmentation.draws import Draws

# Beyond this the published rule would draw from more numbers than there can be cells.
MOST_PUBLISHED_IDS = 2**24


def change_cell_intensity(
    image: Any,
    labels: Any,
    generator: torch.Generator,
    *,
    share: float = 0.4,
    strength: float = 0.7,
    darken: bool = False,
    published: bool = False,
) -> Any:
    """Multiply the pixels of randomly chosen cells by a factor of at least 1.

    Every chosen cell has its own factor 1 + u, u uniform in [0, strength); with `darken` half of them are divided by
    it instead. Values are not clipped. The number of chosen cells is `share` of those in the sample, rounded up or
    down at random so that it is right on average also where there are few.

    The published program (Lee et al., MEDIAR, 2022) does something else, and `published=True` repeats it: of the
    numbers 0 ... n - 1, n the largest id, the whole part of `share` n are drawn, so that the background may be
    brightened and the last cell never is, ids that are not in the crop use up draws, and all get one common factor.

    Args:
        image: (c, y, x) or (y, x) floats, usually in [0, 1]. Not changed.
        labels: (y, x) ids, 0 = background, on the same device; any integer type.
        generator: on the CPU; all random numbers come from it, so that every device gives the same result.
        share: of the cells, 0 to 1.
        strength: 0 or more.
        darken: see above.
        published: see above.

    Returns:
        A new image of the same kind.

    Raises:
        TypeError: an image that is not of floats, labels that are not integers, or a generator of another kind.
        ValueError: shapes or devices that do not fit, negative ids, a share or strength out of range, or `darken`
            with `published`.

    Example:
        >>> from emlib.randomness import torch_generator
        >>> labels = np.array([[0, 1, 1, 2]])
        >>> image = np.full((1, 1, 4), 0.5, dtype=np.float32)
        >>> new = change_cell_intensity(image, labels, torch_generator(0), share=1.0)
        >>> bool(new[0, 0, 0] == 0.5), bool(new[0, 0, 1] == new[0, 0, 2] > 0.5), bool(new[0, 0, 3] != new[0, 0, 1])
        (True, True, True)
    """
    if isinstance(image, np.ndarray) and isinstance(labels, np.ndarray):
        tensors = (tensor_of(image), tensor_of(labels))
        options = {"share": share, "strength": strength, "darken": darken, "published": published}
        return change_cell_intensity(*tensors, generator, **options).numpy()
    check_sample(image, labels)
    if not 0 <= share <= 1 or not 0 <= strength < float("inf"):
        raise ValueError(f"share is {share} and strength {strength}, but 0 to 1 and 0 or more were expected.")
    if darken and published:
        raise ValueError("darken is not part of the published rule; pass one of darken and published.")
    draws = Draws(generator)
    ids, places = torch.unique(labels.to(torch.int64), return_inverse=True)
    factors = torch.ones(ids.numel(), dtype=torch.float64)
    ids = ids.cpu()
    if published:
        largest = int(ids[-1])
        if largest > MOST_PUBLISHED_IDS:
            raise ValueError(f"The largest id is {largest}; number the cells without gaps for the published rule.")
        chosen = draws.some_of(largest, int(share * largest)) if largest else []
        factors[torch.isin(ids, torch.tensor(chosen, dtype=torch.int64))] = 1 + draws.uniform(0, strength)
    else:
        cells = torch.nonzero(ids > 0).flatten()
        number = int(share * cells.numel() + draws.uniform())
        chosen = cells[draws.some_of(cells.numel(), min(number, cells.numel()))]
        own = 1 + strength / 2 + draws.field((chosen.numel(),), strength / 2).to(torch.float64)
        if darken:
            own = torch.where(draws.field((chosen.numel(),), 1.0) < 0, 1 / own, own)
        factors[chosen] = own
    return image * factors.to(device=image.device, dtype=image.dtype)[places]
