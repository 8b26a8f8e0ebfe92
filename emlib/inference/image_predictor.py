"""Run one or several networks on windows of an image: test-time augmentation, ensemble, precision, batch size."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import psutil
import torch
from torch import nn

from emlib.inference.flow_rule import flow_symmetries
from emlib.inference.image_output import CHANNELS, ImageOutput
from emlib.inference.window_predictor import PRECISIONS
from emlib.inference.windows import check_divisible

SHARE_OF_FREE_MEMORY = 0.5
LARGEST_BATCH = {"cuda": 64, "cpu": 4}


class ImagePredictor:
    """Calls networks on batches of windows, and averages what all of them say about all turned windows.

    Args:
        models: one network or several, from float32 (n, c, y, x) in [0, 1] to (n, 3, y, x).
        output: what these three channels are, and so how they are averaged: `FLOWS` or `CLASSES` of `image_output`.
        window: (y, x); it, and transposed if a symmetry transposes, must fit `min_divisor` of every network.
        augment: as of `flow_symmetries`.
        precision: "32", "16" (float16 autocast) or "bf16".
        device: where to run; None is where the first network is.

    Raises:
        TypeError, ValueError: a setting is unknown or does not fit a network.
    """

    def __init__(
        self,
        models: nn.Module | Sequence[nn.Module],
        output: ImageOutput,
        window: Sequence[int],
        *,
        augment: str | None = None,
        precision: str = "32",
        device: str | torch.device | None = None,
    ) -> None:
        self.models = [models] if isinstance(models, nn.Module) else list(models)
        if not self.models or not all(isinstance(model, nn.Module) for model in self.models):
            kinds = ", ".join(type(model).__name__ for model in self.models) or "nothing"
            raise TypeError(f"model must be a torch.nn.Module or a list of them, not {kinds}.")
        if str(precision) not in PRECISIONS:
            raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, not {precision!r}.")
        self.output, self.window, self.symmetries = output, tuple(window), flow_symmetries(augment)
        for model in self.models:
            divisor = getattr(model, "min_divisor", (1, 1))
            if len(divisor) != 2:
                raise ValueError(f"{type(model).__name__} is a network of volumes, but one of images was expected.")
            for sides in {self.window, self.window[::-1]} if augment == "all" else {self.window}:
                check_divisible(sides, divisor)
        self.autocast_dtype = PRECISIONS[str(precision)]
        parameter = next(iter([*self.models[0].parameters(), *self.models[0].buffers()]), None)
        home = parameter.device if parameter is not None else torch.device("cpu")
        self.device = home if device is None else torch.device(device)

    @property
    def in_channels(self) -> int:
        """Channels that the networks take."""
        return int(getattr(self.models[0], "in_channels", 3))

    @contextlib.contextmanager
    def ready(self) -> Iterator[None]:
        """The networks on their device and in evaluation mode; each module's mode is put back afterwards."""
        modes = [(module, module.training) for model in self.models for module in model.modules()]
        for model in self.models:
            model.to(self.device).eval()
        try:
            yield
        finally:
            for module, training in modes:
                module.training = training

    def predict(self, windows: torch.Tensor) -> torch.Tensor:
        """The averages, float32 (n, 3, y, x) on the CPU, of windows (n, c, y, x); see `ImageOutput.to_averaged`.

        Raises:
            TypeError, ValueError: a network's output has another shape or type, or is not finite.
        """
        with torch.inference_mode():
            batch = windows.to(self.device)
            total = torch.zeros((len(batch), CHANNELS, *batch.shape[2:]), device=self.device)
            for symmetry in self.symmetries:
                turned = symmetry.apply(batch).contiguous()
                for model in self.models:
                    total += symmetry.invert(self._forward(model, turned), self.output.channel_rule)
            total /= len(self.symmetries) * len(self.models)
            if not torch.isfinite(total.sum()):
                raise ValueError("The model's output holds values that are not finite.")
            return total.cpu()

    def choose_batch_size(self) -> int:
        """How many windows fit into the free memory at once, by what the networks keep of one; at least 1."""
        if self.device.type == "cuda":
            free = torch.cuda.mem_get_info(self.device)[0]
        else:
            free = psutil.virtual_memory().available
        need = max(self._bytes_of_a_window(model) for model in self.models)
        return max(1, min(int(free * SHARE_OF_FREE_MEMORY / need), LARGEST_BATCH.get(self.device.type, 4)))

    def _bytes_of_a_window(self, model: nn.Module) -> int:
        """All intermediate results of one window added up: more than is alive at any time."""
        total = 0

        def count(_module: nn.Module, _inputs: object, output: object) -> None:
            nonlocal total
            if isinstance(output, torch.Tensor):
                total += output.numel() * output.element_size()

        hooks = [module.register_forward_hook(count) for module in model.modules()]
        try:
            with torch.inference_mode():
                self._forward(model, torch.zeros((1, self.in_channels, *self.window), device=self.device))
        finally:
            for hook in hooks:
                hook.remove()
        return max(total, 1)

    def _forward(self, model: nn.Module, batch: torch.Tensor) -> torch.Tensor:
        with torch.autocast(self.device.type, dtype=self.autocast_dtype, enabled=self.autocast_dtype is not None):
            output = model(batch)
        if not isinstance(output, torch.Tensor):
            raise TypeError(f"The model must return one tensor (n, 3, y, x), not {type(output).__name__}.")
        expected = (len(batch), CHANNELS, *batch.shape[2:])
        if tuple(output.shape) != expected:
            raise ValueError(
                f"The model must return {expected} ({self.output.channels}) for an input of "
                f"{tuple(batch.shape)}, but returned {tuple(output.shape)}."
            )
        return self.output.to_averaged(output.float())
