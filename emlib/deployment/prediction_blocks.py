"""The first stage: a network's prediction, block by block, with the values of one call on the whole volume."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from emlib.scaling import Block, BlockVolume
from emlib.volume import Volume

if TYPE_CHECKING:
    from torch import nn


class Predictor(Protocol):
    """What `deploy` takes as `predict`: it can be sent to other processes, and depends on its arguments alone.

    Attributes:
        channels: names of the prediction's channels.
        identity: all that the values depend on beside the volume, by name, as plain values.
    """

    channels: tuple[str, ...]
    identity: Mapping[str, Any]

    def __call__(self, volume: Volume, block: Block) -> np.ndarray:
        """The prediction of the voxels that the block owns: uint8 (c, z, y, x)."""


@dataclass(frozen=True)
class NetworkPredictor:
    """A network as `deploy` applies it.

    Each block is predicted from just those windows of the whole volume's plan that reach into it, so its values are
    those of `predict_volume` on the whole volume: bit for bit on a CPU with `batch_size` 1, otherwise up to the
    rounding of the network's arithmetic, which may differ with the number of windows in a batch.

    Args:
        network: torch module; a checkpoint is better where there are workers, which read it once each.
        settings: keywords of `emlib.inference.predict_volume`: `window`, and as needed `overlap`, `stride`, `pad`,
            `blending`, `augment`, `reduce`, `batch_size`, `precision`, `device`, `intensity_range`, `non_negative`.
        channels: names of the output channels.

    Raises:
        ValueError: settings without a window, or with one that only a whole volume can have.
    """

    network: nn.Module
    settings: Mapping[str, Any]
    channels: tuple[str, ...] = ("heatmap",)

    def __post_init__(self) -> None:
        if "window" not in self.settings:
            raise ValueError("The settings of a network's prediction need at least a window.")
        if strange := sorted({"out", "key", "resume", "offsets", "dtype", "progress"} & set(self.settings)):
            raise ValueError(
                f"The setting {strange[0]} cannot be given for blocks; their values are uint8 in one .zarr."
            )

    @property
    def identity(self) -> dict[str, Any]:
        """Fingerprint of the weights, and the settings."""
        from emlib.inference.ledger import model_fingerprint

        settings = {name: value for name, value in self.settings.items() if name not in ("device", "memory")}
        return {"weights": model_fingerprint(self.network), **settings}

    def __call__(self, volume: Volume, block: Block) -> np.ndarray:
        from emlib.inference import predict_volume

        plain = {name: value for name, value in self.settings.items() if name not in ("overlap", "stride", "pad")}

        def predict(part: np.ndarray, stride: tuple[int, ...]) -> np.ndarray:
            return predict_volume(
                self.network, part, **plain, stride=stride, channels=list(self.channels), progress=False
            )

        return predict_block(volume, block, self.settings, predict)


@dataclass(frozen=True)
class CheckpointPredictor:
    """The network of a checkpoint, applied with the settings of its recipe; see `NetworkPredictor`.

    Args:
        checkpoint: a checkpoint folder, or a training's output folder.
        overrides: changes of the recipe, such as `inference.overlap=0.25`.
        device: where to run.
        intensity_range: intensities that become 0 and 1, for other images than uint8.
    """

    checkpoint: Path
    overrides: tuple[str, ...] = ()
    device: str = "cpu"
    intensity_range: tuple[float, float] | None = None
    channels: tuple[str, ...] = field(init=False)
    identity: Mapping[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        from emlib.inference import prediction_channels
        from emlib.inference.ledger import model_fingerprint
        from emlib.training.checkpoint import resolve_checkpoint

        object.__setattr__(self, "checkpoint", resolve_checkpoint(self.checkpoint))
        model, recipe = self._load()
        settings = recipe.inference.model_dump(mode="json", exclude={"memory", "prior"})
        identity = {"weights": model_fingerprint(model), **settings, "intensity_range": self.intensity_range}
        identity["outputs"] = [output.model_dump(mode="json") for output in recipe.target.outputs]
        object.__setattr__(self, "channels", tuple(prediction_channels(recipe)))
        object.__setattr__(self, "identity", identity)

    def __call__(self, volume: Volume, block: Block) -> np.ndarray:
        from emlib.inference import predict_from_recipe

        model, recipe = self._load()

        def predict(part: np.ndarray, stride: tuple[int, ...]) -> np.ndarray:
            inside = recipe.with_overrides([f"inference.stride={list(stride)}", "inference.pad=[0, 0, 0]"])
            return predict_from_recipe(
                model, part, inside, device=self.device, intensity_range=self.intensity_range, progress=False
            )

        return predict_block(volume, block, recipe.inference.settings(), predict)

    def _load(self) -> tuple[nn.Module, Any]:
        return _load(self.checkpoint, self.overrides, self.device)


@lru_cache(maxsize=1)
def _load(checkpoint: Path, overrides: tuple[str, ...], device: str) -> tuple[nn.Module, Any]:
    """One network a process, however many blocks it does."""
    from emlib.training import load_model, load_recipe_of, with_prior

    recipe = load_recipe_of(checkpoint, overrides=overrides)
    return with_prior(load_model(checkpoint, device=device), recipe), recipe


def predict_block(
    volume: Volume,
    block: Block,
    settings: Mapping[str, Any],
    predict: Callable[[np.ndarray, tuple[int, ...]], np.ndarray],
) -> np.ndarray:
    """The prediction of one block from the windows of the whole volume's plan that reach into it.

    Args:
        volume: (z, y, x).
        block: whose voxels are wanted.
        settings: `window`, `overlap`, `stride` and `pad` of the whole volume's plan.
        predict: gets a part of the volume, padded where the plan pads, and the stride; lays windows from its first
            voxel on, without padding, and returns (c, z, y, x).

    Returns:
        uint8 (c, z, y, x) of the block's shape.
    """
    from emlib.inference.windows import plan_windows
    from emlib.postprocessing.probabilities import as_grey_levels

    wanted = {name: settings[name] for name in ("window", "overlap", "stride", "pad") if name in settings}
    plan = plan_windows(volume.shape, **wanted)
    low, high, inner = [], [], []
    for axis in range(3):
        start, stop = (edge + plan.before[axis] for edge in (block.start[axis], block.stop[axis]))
        reaching = [at for at in plan.positions[axis] if at < stop and at + plan.window[axis] > start]
        low.append(reaching[0] - plan.before[axis])
        high.append(reaching[-1] + plan.window[axis] - plan.before[axis])
        inner.append(slice(block.start[axis] - low[-1], block.stop[axis] - low[-1]))
    prediction = predict(volume.read_box(low, high, padding="reflect"), plan.stride)
    return np.stack([as_grey_levels(channel[tuple(inner)], "The prediction") for channel in prediction])


@dataclass(frozen=True)
class PredictBlock:
    """Predict one block and write it."""

    volume: Volume
    predict: Predictor
    out: BlockVolume

    def __call__(self, block: Block) -> dict[str, Any]:
        values = np.asarray(self.predict(self.volume, block))
        wanted = (len(self.predict.channels), *block.shape)
        if values.dtype != np.uint8 or values.shape != wanted:
            raise ValueError(
                f"predict must return uint8 {wanted} for {block}, it returned {values.dtype} {values.shape}."
            )
        return {"prediction": self.out.write(block, values)}
