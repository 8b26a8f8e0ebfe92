"""The loop of a sliding-window prediction: windows in, finished planes out."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch

from emlib.inference.accumulator import RollingAccumulator, accumulator_bytes
from emlib.inference.window_predictor import WindowPredictor
from emlib.inference.window_reader import WindowReader
from emlib.inference.window_weights import WindowWeights
from emlib.inference.windows import WindowPlan
from emlib.progress import progress as show_progress

_VALUES_AT_ONCE = 1 << 23


def predicted_planes(
    plan: WindowPlan,
    reader: WindowReader,
    predictor: WindowPredictor,
    weights: WindowWeights,
    *,
    batch_size: int = 1,
    first: int = 0,
    memory: int = 1 << 31,
    scratch: Path | None = None,
    progress: bool = True,
) -> Iterator[torch.Tensor]:
    """Yield the blended prediction plane by plane in z order, float32 (c, a few planes, y, x).

    A batch never holds windows of two z positions. So the batches that plane `first` and the later ones depend on
    are the same whether the prediction began at plane 0 or at `first`, and so are the values.

    Args:
        plan: where the windows lie.
        reader: where they are read.
        predictor: what predicts them.
        weights: how much each voxel of a window counts.
        batch_size: windows per forward pass.
        first: the first plane of the volume that is wanted.
        memory: bytes for the running sums; what is larger goes to a temporary file.
        scratch: folder of that file; None is the system's.
        progress: show how many windows are done.
    """
    if first >= plan.shape[0]:
        return
    sliding = _SlidingWindow(plan, reader, predictor, weights, batch_size, first, memory, scratch)
    layers = list(plan.layers())
    skipped = next(i for i, (z, _) in enumerate(layers) if z + plan.window[0] > plan.before[0] + first)
    positions = ((z, y, x) for z, places in layers[skipped:] for y, x in places)
    finished = layers[skipped][0]
    batch: list[tuple[int, int, int]] = []
    try:
        for position in show_progress(
            positions, label="predicting", total=len(plan), unit="windows", initial=skipped * plan.per_layer,
            show=progress,
        ):  # fmt: skip
            if batch and (len(batch) == batch_size or position[0] != batch[0][0]):
                sliding.predict(batch)
                batch = []
            if position[0] > finished:
                yield from sliding.finish(finished, position[0])
                finished = position[0]
            batch.append(position)
        sliding.predict(batch)
        yield from sliding.finish(finished, plan.padded_shape[0])
    finally:
        sliding.close()


class _SlidingWindow:
    """What the loop carries along: the buffer that windows are read into, and the running sums."""

    def __init__(
        self,
        plan: WindowPlan,
        reader: WindowReader,
        predictor: WindowPredictor,
        weights: WindowWeights,
        batch_size: int,
        first: int,
        memory: int,
        scratch: Path | None,
    ) -> None:
        self.plan = plan
        self.reader = reader
        self.predictor = predictor
        self.weights = weights
        self.memory = memory
        self.scratch = scratch
        self.wanted = range(plan.before[0] + first, plan.before[0] + plan.shape[0])
        self.buffer = torch.empty(
            (min(batch_size, plan.per_layer), 1, *plan.window), pin_memory=predictor.device.type == "cuda"
        )
        self.sums: RollingAccumulator | None = None

    def predict(self, batch: list[tuple[int, int, int]]) -> None:
        """Read, predict and add the windows at these positions."""
        for window, position in zip(self.buffer, batch, strict=False):
            self.reader.read(position, window[0].numpy())
        places = [tuple(p - b for p, b in zip(position, self.plan.before, strict=True)) for position in batch]
        predictions = self.predictor.predict(self.buffer[: len(batch)], places)
        if self.sums is None:
            self.sums = self._make_sums(predictions.shape[1])
        for prediction, position in zip(predictions, batch, strict=True):
            self.sums.add(prediction, self.weights.at(position), position)

    def finish(self, start: int, stop: int) -> Iterator[torch.Tensor]:
        """Means of the wanted planes among start ... stop (of the padded volume), a few at a time."""
        region = tuple(slice(self.plan.before[a], self.plan.before[a] + self.plan.shape[a]) for a in (1, 2))
        low, high = max(start, self.wanted.start), min(stop, self.wanted.stop)
        for unwanted in (range(start, min(stop, low)), range(max(start, high), stop)):
            if unwanted:
                self.sums.drop(unwanted)
        values_per_plane = self.predictor.channels * self.plan.shape[1] * self.plan.shape[2]
        step = max(1, _VALUES_AT_ONCE // values_per_plane)
        for plane in range(low, high, step):
            yield self.sums.take(range(plane, min(plane + step, high)), region)

    def close(self) -> None:
        """Give the sums' memory or file back."""
        if self.sums is not None:
            self.sums.close()

    def _make_sums(self, channels: int) -> RollingAccumulator:
        depth, plane, maps = self.plan.window[0], self.plan.padded_shape[1:], self.weights.maps
        folder = None
        if accumulator_bytes(channels, maps, depth, plane) > self.memory:
            folder = self.scratch or Path(tempfile.gettempdir())
        return RollingAccumulator(channels, depth, plane, weight_maps=maps, folder=folder)
