"""The augmentation of a training run on images of cells: settings in, samples out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from emlib.augmentation.cells.boundary_exclusion import exclude_boundaries
from emlib.augmentation.cells.cell_intensity import change_cell_intensity
from emlib.augmentation.cells.cropping import CropGeometry, draw_crop, take_crop
from emlib.augmentation.cells.grey_values import GREY_VALUES, change_grey_values
from emlib.augmentation.draws import Draws
from emlib.recipe_schema import CellAugmentationRecipe

_MEANING = {
    "boundary_exclusion": "leaves the outermost pixels of larger cells out of the labels",
    "zoom": "shows everything larger or smaller",
    "flip": "reverses y or x",
    "rotate": "turns by 90, 180 or 270 degrees",
    "cell_intensity": "brightens some of the cells",
    "noise": "adds Gaussian noise",
    "gamma": "bends the grey values",
    "smooth": "blurs",
    "histogram_shift": "maps grey values by a random rising line",
    "sharpen": "sharpens",
}


def build_cell_augmentation(settings: CellAugmentationRecipe, *, window: Sequence[int]) -> CellAugmentation:
    """The augmentation that the section of a recipe of images describes.

    Args:
        settings: probabilities and strengths.
        window: (y, x) pixels that the network is trained on.

    Raises:
        TypeError: settings of another kind.
        ValueError: a window that is not two positive whole numbers.

    Example:
        >>> import numpy as np
        >>> from emlib.randomness import torch_generator
        >>> augmentation = build_cell_augmentation(CellAugmentationRecipe(flip={"probability": 1.0}), window=(8, 8))
        >>> image, labels = np.zeros((20, 30, 3), np.uint8), np.zeros((20, 30), np.uint32)
        >>> image, labels = augmentation(image, labels, torch_generator(0, "sample", 7))
        >>> tuple(image.shape), tuple(labels.shape), labels.dtype
        ((3, 8, 8), (8, 8), torch.int64)
    """
    return CellAugmentation(settings, window)


class CellAugmentation:
    """Random windows of an image and its labels, changed together; the same generator seed gives the same sample.

    The order is MEDIAR's: zoom, crop, flip, rotation; then, on the image, cells of different brightness, noise, gamma,
    blur, histogram shift, sharpening. Boundaries are taken out of the labels before they are zoomed. Targets are made
    from the labels that come out, so that flows need not be turned.

    Attributes:
        window: (y, x) of what comes out.
        settings: the recipe's section.
    """

    def __init__(self, settings: CellAugmentationRecipe, window: Sequence[int]) -> None:
        if not isinstance(settings, CellAugmentationRecipe):
            raise TypeError(f"settings are a {type(settings).__name__}, but a CellAugmentationRecipe was expected.")
        sides = tuple(window)
        whole = all(isinstance(side, int) and not isinstance(side, bool) and side > 0 for side in sides)
        if len(sides) != 2 or not whole:
            raise ValueError(f"window is {window!r}, but two whole numbers (y, x) above 0 were expected.")
        self.settings, self.window = settings, sides

    def __call__(self, image: Any, labels: Any, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """One sample; see `sample`, which also tells where it comes from."""
        return self.sample(image, labels, generator)[:2]

    def sample(
        self, image: Any, labels: Any, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor, CropGeometry]:
        """Draw and cut out one sample.

        Args:
            image: (y, x, c) uint8, an array or anything that is sliced like one.
            labels: (y, x) ids, likewise.
            generator: on the CPU; all random numbers come from it.

        Returns:
            image float32 (c, y, x), mostly in [0, 1] (values are not clipped), labels int64 (y, x), and where they come
            from.

        Raises:
            TypeError, ValueError: an image of another type or shape than its labels need.
        """
        _check(image, labels)
        draws = Draws(generator)
        geometry = draw_crop(labels.shape, self.window, self.settings, draws)
        if draws.chance(self.settings.boundary_exclusion.probability):
            small_area = self.settings.boundary_exclusion.small_area
            labels = _ThinnedLabels(labels, small_area)
        pixels, ids = take_crop(image, labels, geometry, self.window)
        intensity = self.settings.cell_intensity
        chosen = {
            "share": intensity.share,
            "strength": intensity.strength,
            "darken": intensity.darken,
            "published": intensity.published,
        }
        if draws.chance(intensity.probability):
            pixels = change_cell_intensity(pixels, _renumbered(ids), generator, **chosen)
        for name in GREY_VALUES:
            if draws.chance(getattr(self.settings, name).probability):
                pixels = change_grey_values(pixels, name, self.settings, draws)
        return pixels, ids, geometry

    def describe(self) -> list[str]:
        """One line for each change that is switched on.

        Example:
            >>> build_cell_augmentation(CellAugmentationRecipe(flip={"probability": 0.5}), window=(8, 8)).describe()
            ['flip (probability 0.5): reverses y or x']
        """
        on = [(name, getattr(self.settings, name).probability) for name in CellAugmentationRecipe.model_fields]
        return [f"{name} (probability {share:g}): {_MEANING[name]}" for name, share in on if share > 0]


class _ThinnedLabels:
    """Labels without the boundaries of cells, thinned where they are read; a pixel more on each side is looked at."""

    def __init__(self, labels: Any, small_area: int) -> None:
        self.labels, self.small_area, self.shape = labels, small_area, labels.shape

    def __getitem__(self, box: tuple[slice, slice]) -> Any:
        wide = tuple(slice(max(0, part.start - 1), part.stop + 1) for part in box)
        inner = tuple(slice(p.start - w.start, p.stop - w.start) for p, w in zip(box, wide, strict=True))
        return exclude_boundaries(np.ascontiguousarray(self.labels[wide]), small_area=self.small_area)[inner]


def _renumbered(ids: torch.Tensor) -> torch.Tensor:
    """The same cells as 0, 1, 2, ...: the published rule counts ids up to the largest."""
    found, places = torch.unique(ids, return_inverse=True)
    return places if int(found[0]) == 0 else places + 1


def _check(image: Any, labels: Any) -> None:
    if str(image.dtype) != "uint8" or len(image.shape) != 3:
        raise TypeError(f"The image is {image.dtype} of shape {tuple(image.shape)}, but uint8 (y, x, c) was expected.")
    if tuple(image.shape[:2]) != tuple(labels.shape):
        raise ValueError(f"The image has shape {tuple(image.shape)}, but its labels have {tuple(labels.shape)}.")
    if 0 in labels.shape:
        raise ValueError(f"The image is empty: its shape is {tuple(image.shape)}.")
