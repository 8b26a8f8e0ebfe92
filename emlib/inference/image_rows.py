"""The prediction of an image, from top to bottom, a few rows at a time: as soon as no further window covers them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from emlib.inference.freed_memory import keep_freed_memory
from emlib.inference.image_output import CHANNELS, ImageOutput
from emlib.inference.image_pixels import Normalization, as_pixels
from emlib.inference.image_predictor import ImagePredictor
from emlib.inference.image_windows import ImagePlan, image_window_weights, plan_image_windows
from emlib.progress import progress as show_progress


class ImageRows:
    """Slides a window over an image and blends; sums are kept for one row of windows only.

    Args:
        output: what the networks predict.
        model, image, window, overlap, blending, augment, batch_size, precision, device, normalize, progress: as in
            `predict_flows`.

    Raises:
        TypeError, ValueError, OSError: as there; what the networks say is looked at when the rows are made.
    """

    def __init__(
        self,
        output: ImageOutput,
        model: nn.Module | Sequence[nn.Module],
        image: Any,
        *,
        window: int | Sequence[int],
        overlap: float,
        blending: str,
        augment: str | None,
        batch_size: int | None,
        precision: str,
        device: str | torch.device | None,
        normalize: Normalization,
        progress: bool,
    ) -> None:
        if batch_size is not None and (
            isinstance(batch_size, bool) or not hasattr(batch_size, "__index__") or batch_size < 1
        ):
            raise ValueError(f"batch_size must be a whole number of at least 1, or None, not {batch_size!r}.")
        self.batch_size, self.progress = batch_size, progress
        self.pixels = as_pixels(image, normalize)
        self.plan = plan_image_windows(self.pixels.shape[:2], window, overlap)
        self.weights = torch.from_numpy(image_window_weights(blending, self.plan.window))
        self.predictor = ImagePredictor(
            model, output, self.plan.window, augment=augment, precision=precision, device=device
        )
        channels = self.predictor.in_channels
        if channels not in (1, 3):
            raise ValueError(f"The network takes {channels} channels, but networks of 1 or 3 are used here.")
        self.shape = (CHANNELS, *self.plan.shape)

    def __iter__(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Rows of the image and their values, float32 (3, rows, x), each row once."""
        plan, (height, width) = self.plan, self.plan.window
        sums = torch.zeros((CHANNELS, height, plan.padded[1]))
        total = torch.zeros((height, plan.padded[1]))
        bar = show_progress(range(len(plan)), label="predicting", unit="windows", show=self.progress)
        steps = iter(bar)
        rows = plan.positions[0]
        with self.predictor.ready():
            with self._memory():
                self.at_once = int(self.batch_size or self.predictor.choose_batch_size())
            for number, y in enumerate(rows):
                # Not while others work with what is yielded: their memory is not to be kept.
                with self._memory():
                    for prediction, x in self._row_of_windows(y):
                        sums[:, :, x : x + width] += prediction * self.weights
                        total[:, x : x + width] += self.weights
                        next(steps)
                done = (rows[number + 1] if number + 1 < len(rows) else y + height) - y
                values = self.predictor.output.from_averaged(sums[:, :done] / total[:done])
                first, last = max(0, y - plan.before[0]), min(plan.shape[0], y + done - plan.before[0])
                if last > first:
                    inside = slice(first + plan.before[0] - y, last + plan.before[0] - y)
                    across = slice(plan.before[1], plan.before[1] + plan.shape[1])
                    yield slice(first, last), values[:, inside, across].numpy()
                for sheet in (sums, total[None]):
                    sheet[:, : height - done] = sheet[:, done:].clone()
                    sheet[:, height - done :] = 0
        # The bar is closed when its iterator ends.
        next(steps, None)

    def _memory(self) -> contextlib.AbstractContextManager:
        return keep_freed_memory() if self.predictor.device.type == "cpu" else contextlib.nullcontext()

    def _row_of_windows(self, y: int) -> Iterator[tuple[torch.Tensor, int]]:
        """The predictions of the windows that begin in row y, and where each begins in x."""
        left = list(self.plan.positions[1])
        while left:
            now = left[: self.at_once]
            batch = torch.stack([_window(self.plan, self.pixels, y, x, self.predictor.in_channels) for x in now])
            try:
                predictions = self.predictor.predict(batch)
            except torch.OutOfMemoryError:
                if self.batch_size is not None or self.at_once == 1:
                    raise
                torch.cuda.empty_cache()
                self.at_once = max(1, self.at_once // 2)
                continue
            yield from zip(predictions, now, strict=True)
            left = left[len(now) :]


def _window(plan: ImagePlan, pixels: Any, y: int, x: int, channels: int) -> torch.Tensor:
    """float32 (c, y, x) in [0, 1]; what lies outside the image is 0."""
    window = torch.zeros((channels, *plan.window))
    starts = [place - before for place, before in zip((y, x), plan.before, strict=True)]
    box = tuple(
        slice(max(0, start), min(length, start + side))
        for start, length, side in zip(starts, plan.shape, plan.window, strict=True)
    )
    inner = tuple(slice(part.start - start, part.stop - start) for part, start in zip(box, starts, strict=True))
    content = torch.from_numpy(np.array(pixels[box])).permute(2, 0, 1).to(torch.float32)
    content = content / 255 if pixels.dtype == np.uint8 else content
    window[(slice(None), *inner)] = content if channels == 3 else content.mean(dim=0, keepdim=True)
    return window
