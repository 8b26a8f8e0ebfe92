"""The augmentation of a training run: settings in, a function on samples out."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence

import numpy as np
import torch

from emlib.augmentation.draws import Draws
from emlib.augmentation.geometry import draw_geometry, sample_size
from emlib.augmentation.intensity import change_grayscale, cut_blur, cut_noise
from emlib.augmentation.resampling import resample
from emlib.augmentation.section_artefacts import blur_by_motion, hide_parts
from emlib.recipe_schema import AugmentationRecipe

# The published list (rotate, rescale, ..., cut noise) is walked from its end; this keeps that order.
_INTENSITY: dict[str, Callable[..., None]] = {
    "cut_noise": cut_noise,
    "cut_blur": cut_blur,
    "motion_blur": blur_by_motion,
    "missing_parts": hide_parts,
    "grayscale": change_grayscale,
}
_MEANING = {
    "rotate": "turns the sections by a random angle (or by right angles)",
    "rescale": "zooms y and x independently",
    "elastic": "deforms all sections by one smooth random field",
    "grayscale": "changes contrast, brightness and gamma",
    "missing_parts": "fills a stripe of some sections with their mean",
    "missing_section": "removes sections from image and labels",
    "misalign": "shifts or turns one section, or all from one on",
    "motion_blur": "smears a few sections along y or x",
    "cut_blur": "coarsens the pixels of a cuboid",
    "cut_noise": "adds noise in a cuboid",
    "flip": "flips z, y and x and swaps y and x, each half of the time",
}


def augmentation_names() -> list[str]:
    """The names of all augmentations, as in the recipe's section `augmentation`.

    Example:
        >>> augmentation_names()[:3]
        ['rotate', 'rescale', 'elastic']
    """
    return list(AugmentationRecipe.model_fields)


def build_augmentation(settings: AugmentationRecipe, *, window: Sequence[int]) -> Augmentation:
    """The augmentation that a recipe's section describes.

    Args:
        settings: probabilities and strengths.
        window: (z, y, x) voxels that the network is trained on.

    Raises:
        TypeError: settings of another kind.
        ValueError: a window that is not three positive whole numbers, or a zoom range that runs downwards.

    Example:
        >>> from emlib.randomness import torch_generator
        >>> augmentation = build_augmentation(AugmentationRecipe(flip={"probability": 1.0}), window=(4, 16, 16))
        >>> image, labels = torch.rand(4, 16, 16), torch.ones(4, 16, 16, dtype=torch.int64)
        >>> new_image, new_labels = augmentation(image, labels, torch_generator(0, "sample", 7))
        >>> tuple(new_image.shape)
        (4, 16, 16)
    """
    return Augmentation(settings, window)


def single_augmentation(name: str, settings: AugmentationRecipe, *, window: Sequence[int]) -> Augmentation:
    """One augmentation alone, at probability 1 and with the recipe's strength, to look at.

    Raises:
        ValueError: no augmentation has this name.

    Example:
        >>> single_augmentation("cut_blur", AugmentationRecipe(), window=(4, 16, 16)).describe()
        ['cut_blur (probability 1): coarsens the pixels of a cuboid']
    """
    names = augmentation_names()
    if name not in names:
        near = difflib.get_close_matches(str(name), names, n=1)
        hint = f"; did you mean '{near[0]}'?" if near else f"; there are {', '.join(names)}."
        raise ValueError(f"There is no augmentation '{name}'{hint}")
    switches = {other: {"probability": float(other == name)} for other in names}
    alone = {other: getattr(settings, other).model_copy(update=switch) for other, switch in switches.items()}
    return Augmentation(settings.model_copy(update=alone), window)


class Augmentation:
    """Random changes of one sample; the same generator seed gives the same change.

    Order: missing sections, misalignment, zoom, rotation and elastic deformation are one resampling from the enlarged
    sample to the window, together with right-angle turns and flips. Then follow, on the image, noise and blur in a
    cuboid, motion blur, missing parts and grey values. The published systems (VIDAR, PyTorch Connectomics) apply the
    same list in the same order within these two groups, but work on the enlarged sample, draw noise and blur before the
    geometry, and flip last. Artefacts are as likely in every orientation, so flipping first changes nothing; doing
    geometry first saves four fifths of the work and keeps artefacts at the strength that the settings name.

    Attributes:
        window: (z, y, x) of what comes out.
        sample_size: (z, y, x) of what goes in: large enough that turned and shrunken samples hardly ever reach past
            the border, where the sample is continued by reflection. Equal to the window if nothing needs a margin.
        settings: the recipe's section.
    """

    def __init__(self, settings: AugmentationRecipe, window: Sequence[int]) -> None:
        if not isinstance(settings, AugmentationRecipe):
            raise TypeError(f"The settings are a {type(settings).__name__}, but an AugmentationRecipe was expected.")
        whole = all(isinstance(length, int | np.integer) and length > 0 for length in window)
        if len(window) != 3 or not whole:
            raise ValueError(f"The window is {tuple(window)}, but three whole numbers (z, y, x) above 0 were expected.")
        if settings.rescale.low > settings.rescale.high:
            limits = f"{settings.rescale.low} to {settings.rescale.high}"
            raise ValueError(f"augmentation.rescale goes from {limits}, but it must not run downwards.")
        self.settings = settings
        self.window = tuple(int(length) for length in window)
        self.sample_size = sample_size(settings, self.window)

    def __call__(
        self, image: torch.Tensor, labels: torch.Tensor, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Change one sample.

        Args:
            image: (z, y, x) of `sample_size`; float32 in [0, 1], or uint8, which is quicker: only what is seen is
                converted. A tensor on any device, or a numpy array. Not changed.
            labels: integers of the same shape, on the same device. Not changed.
            generator: on the CPU; all random numbers come from it.

        Returns:
            image (float32 in [0, 1]) and labels (type as given) of shape `window`; numpy for numpy.

        Raises:
            TypeError: an image that is neither float32 nor uint8, labels that are not integers, or a generator that
                is not on the CPU.
            ValueError: shapes or devices that do not fit, or intensities outside [0, 1].
        """
        if isinstance(image, np.ndarray) and isinstance(labels, np.ndarray):
            # "W": torch warns about read-only memory, although nothing is written to it here.
            tensors = (torch.from_numpy(np.require(array, requirements="CW")) for array in (image, labels))
            return tuple(tensor.numpy() for tensor in self(*tensors, generator))
        self._check(image, labels)
        draws = Draws(generator)
        geometry = draw_geometry(self.settings, self.window, self.sample_size, draws)
        image, labels = resample(image, labels, geometry, self.window)
        low, high = (float(value) for value in torch.aminmax(image))
        if not (low >= -1e-3 and high <= 1 + 1e-3):
            raise ValueError(f"The image has values from {low:g} to {high:g}, but [0, 1] was expected.")
        for name, change in _INTENSITY.items():
            part = getattr(self.settings, name)
            if draws.chance(part.probability):
                change(image, part, draws)
        return image, labels

    def describe(self) -> list[str]:
        """One line for each augmentation that is switched on.

        Example:
            >>> build_augmentation(AugmentationRecipe(elastic={"probability": 0.75}), window=(4, 16, 16)).describe()
            ['elastic (probability 0.75): deforms all sections by one smooth random field']
        """
        lines = []
        for name in augmentation_names():
            probability = getattr(self.settings, name).probability
            if probability > 0:
                lines.append(f"{name} (probability {probability:g}): {_MEANING[name]}")
        return lines

    def __repr__(self) -> str:
        names = [name for name in augmentation_names() if getattr(self.settings, name).probability > 0]
        return f"Augmentation({', '.join(names) or 'centre crop'}; sample {self.sample_size} -> window {self.window})"

    def _check(self, image: torch.Tensor, labels: torch.Tensor) -> None:
        if not isinstance(image, torch.Tensor) or not isinstance(labels, torch.Tensor):
            kinds = f"{type(image).__name__} and {type(labels).__name__}"
            raise TypeError(f"Image and labels are {kinds}, but two tensors or two numpy arrays were expected.")
        if image.dtype not in (torch.float32, torch.uint8):
            raise TypeError(f"The image is {image.dtype}, but float32 in [0, 1] or uint8 was expected.")
        if labels.dtype not in (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64):
            raise TypeError(f"The labels are {labels.dtype}, but int64 (or a narrower integer type) was expected.")
        for name, array in (("image", image), ("labels", labels)):
            if tuple(array.shape) != self.sample_size:
                shape = tuple(array.shape)
                raise ValueError(f"The sample's {name} has shape {shape}, but {self.sample_size} was expected.")
        if image.device != labels.device:
            raise ValueError(f"The image is on {image.device}, but its labels are on {labels.device}.")
