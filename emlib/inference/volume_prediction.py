"""Predict a volume of any size with a network that sees a window at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from emlib.formats.fingerprint import volume_fingerprint
from emlib.formats.memory_size import memory_in_bytes
from emlib.inference.affinity_rule import AffinityRule, as_pairs
from emlib.inference.blending import blending_window
from emlib.inference.freed_memory import keep_freed_memory
from emlib.inference.ledger import model_fingerprint
from emlib.inference.prediction_output import ArrayOutput, StreamedOutput, check_output_path, refuse_loss
from emlib.inference.quantization import check_output_dtype, quantise
from emlib.inference.sliding_window import predicted_planes
from emlib.inference.symmetries import ChannelRule, Symmetry, symmetries
from emlib.inference.window_predictor import WindowPredictor
from emlib.inference.window_reader import WindowReader
from emlib.inference.window_weights import WindowWeights
from emlib.inference.windows import plan_windows
from emlib.targets import VoxelPair

if TYPE_CHECKING:
    from emlib.volume import Volume


def predict_volume(
    model: nn.Module,
    volume: Volume | np.ndarray | str | Path,
    *,
    window: int | Sequence[int],
    overlap: float | Sequence[float] = 0.5,
    stride: int | Sequence[int] | None = None,
    pad: int | Sequence[int] | None = None,
    blending: str = "gaussian",
    augment: int | str | Sequence[Symmetry] | None = None,
    reduce: str = "mean",
    offsets: Sequence[Sequence[int] | VoxelPair | None] | None = None,
    channel_rule: ChannelRule | None = None,
    non_negative: Sequence[int] = (),
    batch_size: int = 1,
    precision: str = "32",
    out: str | Path | None = None,
    key: str | None = None,
    dtype: str = "uint8",
    channels: Sequence[str] | None = None,
    device: str | torch.device | None = None,
    intensity_range: tuple[float, float] | None = None,
    memory: int | str = "2GiB",
    resume: bool = True,
    progress: bool = True,
) -> np.ndarray | Volume:
    """Slide a window over a volume and blend the network's predictions where windows overlap.

    Planes are finished, stored and forgotten in z order, so memory depends on the window and on the plane, not on
    the number of planes. If even that is more than `memory`, the running sums are kept in a temporary file; values
    are the same bit for bit.

    With `out`, finished planes go to a hidden file beside it, with a ledger. A run that was interrupted, or killed,
    goes on from there when it is called again with the same model, volume and settings, and gives the same values
    as an uninterrupted one; called with others it prints one line and starts over. `out` itself appears, or is
    replaced, only when everything is written.

    Args:
        model: torch module from float32 (n, 1, z, y, x) in [0, 1] to (n, c, z, y, x) of the same z, y, x. It runs in
            evaluation mode without gradients and stays on `device`.
        volume: (z, y, x), a Volume, an array or a path. uint8 is divided by 255, floats must be in [0, 1]; for
            anything else give `intensity_range`.
        window: voxels, one number or (z, y, x); must be a multiple of `model.min_divisor`.
        overlap: share of a window that its neighbour covers too; ignored if `stride` is given.
        stride: step between windows in voxels. The last window of an axis ends where the axis ends.
        pad: reflected voxels added at the volume's faces and removed afterwards. A volume smaller than the window
            is padded by reflection until the window fits.
        blending: "gaussian", "bump" or "constant", see `blending_window`.
        augment: test-time augmentation, None, 4, 8, 16 or a name, see `symmetries`.
        reduce: "mean", "min" or "max" over the augmented predictions.
        offsets: for affinities, the (z, y, x) offset of each output channel: it compares v with v + offset, stored
            at v; None for a channel without direction (a mask). Augmentation then exchanges and shifts channels as it
            must, and an affinity to a voxel outside a window counts only where no window holds both voxels.
        channel_rule: for other channels with a direction (flows), see `Symmetry.invert`.
        non_negative: numbers of output channels whose values below 0 become 0, after blending: those of a network that
            ends in a tanh, of which only the positive half is stored.
        batch_size: windows per forward pass.
        precision: "32", "16" or "bf16" (autocast; sums are always float32).
        out: file to write, .zarr, .h5 or .hdf5; None returns an array.
        key: name of the array inside `out`.
        dtype: "uint8" (floor of 255 times the probability), "float16" or "float32".
        channels: names of the output channels, stored as the attribute "channels" (offsets as "offsets").
        device: where to run; None is where the model is.
        intensity_range: (low, high) that become 0 and 1; values outside are clipped.
        memory: budget for sums and buffers, such as "2GiB"; the network's own memory comes on top.
        resume: False starts over even if an interrupted run could go on.
        progress: show how many windows are done.

    Returns:
        (c, z, y, x): an array, or the Volume written to `out`.

    Raises:
        ValueError, TypeError: a setting, the volume or the model's output is wrong, or something other than an earlier
            prediction is at `out`; the sentence says what and where.
        OSError: the output cannot be written.

    Example:
        >>> network = nn.Identity()
        >>> image = np.full((8, 20, 20), 51, np.uint8)
        >>> prediction = predict_volume(network, image, window=(4, 8, 8), progress=False)
        >>> prediction.shape, prediction.dtype, np.unique(prediction)
        ((1, 8, 20, 20), dtype('uint8'), array([51], dtype=uint8))
    """
    from emlib.volume import open_volume

    dtype = check_output_dtype(dtype)
    budget = memory_in_bytes(memory)
    if isinstance(batch_size, bool) or not hasattr(batch_size, "__index__") or batch_size < 1:
        raise ValueError(f"batch_size must be a whole number of at least 1, not {batch_size!r}.")
    channels = _check_channel_names(channels)
    if out is not None:
        check_output_path(out)
    chosen = symmetries(augment)
    volume = open_volume(volume)
    if volume.ndim != 3:
        raise ValueError(f"The volume must have three axes (z, y, x), not the shape {tuple(volume.shape)}.")
    if out is not None:
        refuse_loss(out, key, volume)
    plan = plan_windows(volume.shape, window, overlap=overlap, stride=stride, pad=pad)
    pairs, channel_rule = _affinity_rule(offsets, channel_rule, channels, chosen)
    weights = WindowWeights(torch.from_numpy(blending_window(blending, plan.window)), plan, pairs)
    reader = WindowReader(volume, plan, intensity_range=intensity_range, cache_bytes=budget // 4)
    predictor = WindowPredictor(
        model, plan.window, symmetries=chosen, reduce=reduce, precision=precision, device=device,
        channel_rule=channel_rule, known=None if pairs is None else channel_rule.known(plan.window),
        channels=len(pairs) if pairs is not None else None if channels is None else len(channels),
    )  # fmt: skip
    if out is None:
        output: ArrayOutput | StreamedOutput = ArrayOutput(plan.shape, dtype)
    else:
        settings = {
            "window": plan.window, "stride": plan.stride, "pad": (plan.before, plan.after), "blending": blending,
            "augment": [symmetry.name for symmetry in chosen], "reduce": reduce, "batch_size": int(batch_size),
            "channel_rule": getattr(channel_rule, "__qualname__", repr(channel_rule)), "precision": str(precision),
            "key": key, "dtype": dtype, "channels": channels, "intensity_range": reader.intensity_range,
            "voxel_size": volume.voxel_size, "device": predictor.device.type, "torch": torch.__version__,
        }  # fmt: skip
        settings |= {"non_negative": list(non_negative)} if non_negative else {}
        fingerprint = {"model": model_fingerprint(model), "volume": volume_fingerprint(volume), **settings}
        output = StreamedOutput(
            out, plan.shape, dtype, fingerprint=fingerprint, resume=resume, key=key,
            voxel_size=volume.voxel_size, channels=channels, buffer_bytes=budget // 8,
            offsets=None if pairs is None else [None if pair is None else pair.offset for pair in pairs],
        )  # fmt: skip
    with contextlib.ExitStack() as stack:
        if isinstance(output, StreamedOutput):
            stack.enter_context(output.locked())
        stack.enter_context(predictor.ready())
        if predictor.device.type == "cpu":
            stack.enter_context(keep_freed_memory())
        finished = predicted_planes(
            plan, reader, predictor, weights, batch_size=int(batch_size), first=output.done,
            memory=budget - budget // 4 - budget // 8, scratch=None if out is None else Path(out).parent,
            progress=progress,
        )  # fmt: skip
        for planes in finished:
            for channel in non_negative:
                planes[channel].clamp_(min=0)
            output.append(quantise(planes, dtype))
        return output.finish()


def _check_channel_names(channels: Sequence[str] | None) -> list[str] | None:
    if channels is None:
        return None
    if isinstance(channels, str) or not all(isinstance(name, str) for name in channels):
        raise TypeError(f"channels must be a list of names, one for each output channel, not {channels!r}.")
    return list(channels)


def _affinity_rule(
    offsets: Sequence[Sequence[int] | VoxelPair | None] | None,
    channel_rule: ChannelRule | None,
    channels: list[str] | None,
    chosen: Sequence[Symmetry],
) -> tuple[tuple[VoxelPair | None, ...] | None, ChannelRule | None]:
    """The voxel pairs of the channels and the rule that turns them back, both checked before any work is done."""
    if offsets is None:
        return None, channel_rule
    if channel_rule is not None:
        raise ValueError("offsets and channel_rule were both given; offsets bring their own channel rule.")
    pairs = as_pairs(offsets)
    if channels is not None and len(channels) != len(pairs):
        raise ValueError(
            f"There are {len(pairs)} offsets but {len(channels)} channels; each channel needs one (or None)."
        )
    rule = AffinityRule(pairs)
    for symmetry in chosen:
        rule.sources(symmetry)
    return pairs, rule
