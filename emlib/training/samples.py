"""Training samples: a crop, its augmentation and its targets, all from (seed, index) alone."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from emlib.augmentation import build_augmentation
from emlib.data.chunks import ChunkedTileDataset
from emlib.data.patches import PatchDataset
from emlib.randomness import derive_seed, torch_generator
from emlib.recipe import Recipe
from emlib.targets import build_targets
from emlib.volume import Volume


def make_loader(
    samples: Dataset, indices: range, *, batch_size: int, workers: int = 0, pin_memory: bool = False
) -> DataLoader:
    """Batches of the samples with these indices, in this order whatever the number of workers.

    For process r of w and samples from `start` on, `range(start + r, stop, w)` deals out every global batch in turn,
    so that w processes with batches of b see together what one process sees with batches of w * b. Samples of unequal
    sizes say by a method `collate` how a list of them becomes a batch.
    """
    return DataLoader(
        samples,
        batch_size=batch_size,
        sampler=indices,
        num_workers=workers,
        pin_memory=pin_memory,
        worker_init_fn=_prepare_worker,
        collate_fn=getattr(samples, "collate", None),
    )


def _prepare_worker(_worker: int) -> None:
    """One thread a worker, and signals as usual: a worker inherits the training process's own handlers."""
    import signal

    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _finish(recipe: Recipe, image: torch.Tensor, labels: torch.Tensor, crop: dict[str, Any]) -> dict[str, Any]:
    target, valid = build_targets(labels, recipe.target)
    return {
        "image": image[None],
        "target": target,
        **({} if valid is None else {"valid": valid}),
        "index": int(crop["index"]),
        "position": torch.tensor([int(start) for start in crop["position"]]),
    }


class TrainingSamples(Dataset):
    """What a network is trained on: item i depends on the recipe, its seed and i, not on workers or history.

    Args:
        recipe: sections data, target, augmentation and training.
        image, labels: volumes (z, y, x), uint8 and integer.
        length: number of samples in the run.
        batch_size: samples of one iteration, of all processes together (for `recipe.data.chunk_iterations`).
        valid: volume of the same shape, not 0 where the labels are known (for `training.rejection.min_valid`).

    An item is a dictionary of `image` float32 (1, Z, Y, X) in [0, 1], `target` float32 (C, Z, Y, X), `index`, and
    `position` int64 (z, y, x) of the crop in the volume; and, where the target is not defined everywhere (affinities
    along offsets), `valid` bool (C, Z, Y, X). Class weights follow from the target, inside the loss.
    """

    def __init__(
        self,
        recipe: Recipe,
        image: Volume,
        labels: Volume,
        *,
        length: int,
        batch_size: int = 1,
        valid: Volume | None = None,
    ) -> None:
        self.recipe = recipe
        self.augmentation = build_augmentation(recipe.augmentation, window=recipe.training.window)
        data = recipe.data
        options: dict[str, Any] = {
            "size": self.augmentation.sample_size,
            "seed": derive_seed(recipe.seed, "crops"),
            "length": length,
            "min_foreground": recipe.training.rejection.min_foreground,
            "rejection_probability": recipe.training.rejection.probability,
            "min_voxels": recipe.training.rejection.min_voxels or 0,
            "valid": valid,
            "min_valid": recipe.training.rejection.min_valid or 0.0,
            "padding": data.pad,
        }
        if data.chunks is None:
            self.crops = PatchDataset(image, labels, **options)
        else:
            options |= {"chunks": data.chunks, "overlap": data.chunk_overlap}
            options |= {"chunk_iterations": data.chunk_iterations, "batch_size": batch_size}
            self.crops = ChunkedTileDataset(image, labels, **options)

    def __len__(self) -> int:
        return len(self.crops)

    def __getitem__(self, index: int) -> dict[str, Any]:
        crop = self.crops[index]
        generator = torch_generator(self.recipe.seed, "augmentation", index)
        image, labels = self.augmentation(torch.from_numpy(crop["image"]), torch.from_numpy(crop["labels"]), generator)
        return _finish(self.recipe, image, labels, crop)


class ValidationSamples(Dataset):
    """A fixed set of crops of the validation split, without augmentation or rejection.

    The crop is the training window, or as much of it as the split has (a multiple of `divisor` on every axis).
    Items are as in `TrainingSamples`.
    """

    def __init__(self, recipe: Recipe, image: Volume, labels: Volume, *, divisor: tuple[int, int, int]) -> None:
        self.recipe = recipe
        fitting = [length // step * step for length, step in zip(image.shape, divisor, strict=True)]
        # An axis that is shorter than the divisor itself keeps the window and is continued by reflection.
        size = tuple(min(w, f) if f else w for w, f in zip(recipe.training.window, fitting, strict=True))
        length = recipe.training.validation_samples
        self.crops = PatchDataset(image, labels, size=size, seed=derive_seed(recipe.seed, "validation"), length=length)

    def __len__(self) -> int:
        return len(self.crops)

    def __getitem__(self, index: int) -> dict[str, Any]:
        crop = self.crops[index]
        image = torch.from_numpy(crop["image"]).to(torch.float32) / 255
        return _finish(self.recipe, image, torch.from_numpy(crop["labels"]), crop)
