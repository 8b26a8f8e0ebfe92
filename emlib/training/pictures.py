"""TensorBoard: the figures of a training as curves, and pictures of what the network sees and says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from emlib.atomic import explain_write_error
from emlib.targets import VoxelPair


def panel_channels(pairs: Sequence[VoxelPair | None]) -> list[tuple[int, ...]]:
    """Which channels are shown together: three affinity channels of one target in colour, every other one alone.

    Example:
        >>> from emlib.targets import affinity_pairs
        >>> panel_channels([None, *affinity_pairs("2", "near"), *affinity_pairs("2-1-9-9-v1", "far")])
        [(0,), (1, 2, 3), (4, 5, 6)]
    """
    panels: list[tuple[int, ...]] = []
    channel = 0
    while channel < len(pairs):
        three = pairs[channel : channel + 3]
        together = len(three) == 3 and None not in three and len({pair.group for pair in three}) == 1
        panels.append(tuple(range(channel, channel + 3)) if together else (channel,))
        channel = panels[-1][-1] + 1
    return panels


class Pictures:
    """TensorBoard event files beside the table, in `tensorboard/`.

    Args:
        folder: the training's output folder.
        start: iterations done before; later events of an interrupted run are hidden.
        pairs: for each target channel its voxel pair or None, see `emlib.targets.channel_pairs`; affinities are shown
            in colour, three channels as red, green and blue.
    """

    def __init__(self, folder: Path, *, start: int, pairs: Sequence[VoxelPair | None] = ()) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.panels = panel_channels(pairs)
        self.path = folder / "tensorboard"
        try:
            self.writer = SummaryWriter(str(self.path), purge_step=start + 1 if start else None)
        except OSError as error:
            raise explain_write_error(error, self.path) from error

    def add_scalars(self, row: Mapping[str, Any]) -> None:
        """One point on the curve of every figure of a row of the table."""
        try:
            for name, value in row.items():
                if name != "iteration":
                    self.writer.add_scalar(name, value, row["iteration"])
        except OSError as error:
            raise explain_write_error(error, self.path) from error

    def add_sample(self, iteration: int, image: torch.Tensor, target: torch.Tensor, prediction: torch.Tensor) -> None:
        """A picture of one sample's central section: image, then all targets, then all predictions.

        Args:
            image, target, prediction: (C, Z, Y, X), or (C, Y, X), in [0, 1]. Channels whose target has values below 0,
                such as flows, are taken to run from -1 to 1.
        """
        sections = [_section(tensor).detach().float().cpu() for tensor in (image, target, prediction)]
        signed = sections[1].amin(dim=(1, 2), keepdim=True) < 0
        sections[1:] = [torch.where(signed, maps / 2 + 0.5, maps) for maps in sections[1:]]
        sections = [maps.clamp(0, 1) for maps in sections]
        coloured = image.ndim == 3 and len(sections[0]) == 3
        image_panels = [(0, 1, 2)] if coloured else [(channel,) for channel in range(len(sections[0]))]
        panels = self.panels or [(channel,) for channel in range(len(sections[1]))]
        chosen = zip(sections, (image_panels, panels, panels), strict=True)
        # One channel is grey: the same in red, green and blue.
        shown = [maps[list(channels)].expand(3, -1, -1) for maps, panel in chosen for channels in panel]
        try:
            self.writer.add_image("sample", torch.cat(shown, dim=-1), iteration, dataformats="CHW")
        except OSError as error:
            raise explain_write_error(error, self.path) from error

    def close(self) -> None:
        """Write down what is still waiting.

        Raises:
            OSError: it could not be written.
        """
        try:
            self.writer.close()
        except OSError as error:
            raise explain_write_error(error, self.path) from error


def _section(tensor: torch.Tensor) -> torch.Tensor:
    """The central section of a volume; an image is its own."""
    return tensor[:, tensor.shape[1] // 2] if tensor.ndim == 4 else tensor
