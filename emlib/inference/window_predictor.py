"""Run a network on windows: test-time augmentation, precision, and checks of what comes out."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import torch
from torch import nn

from emlib.inference.symmetries import ChannelRule, Symmetry
from emlib.inference.windows import check_divisible

REDUCTIONS = ("mean", "min", "max")
AS_IT_IS = Symmetry()
PRECISIONS = {"32": None, "16": torch.float16, "bf16": torch.bfloat16}


class WindowPredictor:
    """Calls a network on batches of windows and combines the predictions of all symmetries.

    Args:
        model: torch module, (n, 1, z, y, x) float32 in [0, 1] to (n, c, z, y, x).
        window: (z, y, x); it, and its transposed form if a symmetry transposes, must fit `model.min_divisor`.
        symmetries: from `emlib.inference.symmetries`.
        reduce: "mean", "min" or "max" over the symmetries.
        precision: "32", "16" (float16 autocast) or "bf16" (bfloat16 autocast).
        device: where to run; None is where the model's parameters are.
        channel_rule: how channels with a direction are turned back, see `Symmetry.invert`.
        known: bool (c, z, y, x), where the symmetries are combined; elsewhere the window as it is has the only word, or
            0 if the symmetries leave it out. None is everywhere.
        channels: how many channels the model must return; None takes what the first forward pass returns.

    Raises:
        ValueError, TypeError: a setting is unknown or does not fit the model.
    """

    def __init__(
        self,
        model: nn.Module,
        window: Sequence[int],
        *,
        symmetries: Sequence[Symmetry],
        reduce: str = "mean",
        precision: str = "32",
        device: str | torch.device | None = None,
        channel_rule: ChannelRule | None = None,
        known: torch.Tensor | None = None,
        channels: int | None = None,
    ) -> None:
        if not isinstance(model, nn.Module):
            raise TypeError(f"model must be a torch.nn.Module, not {type(model).__name__}.")
        if reduce not in REDUCTIONS:
            raise ValueError(f"reduce must be one of {', '.join(REDUCTIONS)}, not {reduce!r}.")
        if str(precision) not in PRECISIONS:
            raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, not {precision!r}.")
        for shape in sorted({symmetry.window(window) for symmetry in symmetries}):
            check_divisible(shape, getattr(model, "min_divisor", (1, 1, 1)))
        self.model = model
        self.symmetries = tuple(symmetries)
        self.reduce = reduce
        self.channel_rule = channel_rule
        self.autocast_dtype = PRECISIONS[str(precision)]
        parameter = next(iter([*model.parameters(), *model.buffers()]), None)
        home = parameter.device if parameter is not None else torch.device("cpu")
        self.device = home if device is None else torch.device(device)
        self.known = None if known is None or self.symmetries == (AS_IT_IS,) else known.to(self.device)
        self.channels = channels

    @contextlib.contextmanager
    def ready(self) -> Iterator[None]:
        """The model on its device and in evaluation mode; each module's mode is put back afterwards."""
        modes = [(module, module.training) for module in self.model.modules()]
        self.model.to(self.device)
        self.model.eval()
        try:
            yield
        finally:
            for module, training in modes:
                module.training = training

    def predict(self, windows: torch.Tensor, positions: Sequence[tuple[int, int, int]]) -> torch.Tensor:
        """Predictions (n, c, z, y, x), float32 on the CPU, of windows (n, 1, z, y, x) that lie at `positions`.

        Raises:
            ValueError, TypeError: the model's output has another shape or type, or is not finite.
        """
        with torch.inference_mode():
            batch = windows.to(self.device)
            total: torch.Tensor | None = None
            plain: torch.Tensor | None = None
            for symmetry in self.symmetries:
                one = symmetry.invert(self._forward(symmetry.apply(batch).contiguous()), self.channel_rule)
                plain = one if symmetry == AS_IT_IS else plain
                if total is None:
                    total = one if len(self.symmetries) == 1 else one.clone()
                elif self.reduce == "mean":
                    total += one
                else:
                    (torch.minimum if self.reduce == "min" else torch.maximum)(total, one, out=total)
            if self.reduce == "mean" and len(self.symmetries) > 1:
                total /= len(self.symmetries)
            if self.known is not None:
                total = torch.where(self.known, total, torch.zeros_like(total) if plain is None else plain)
            # one sum tells whether anything is not finite; only then is it looked for
            if not torch.isfinite(total.sum()):
                self._refuse_not_finite(total, positions)
            return total.cpu()

    def _forward(self, batch: torch.Tensor) -> torch.Tensor:
        with torch.autocast(self.device.type, dtype=self.autocast_dtype, enabled=self.autocast_dtype is not None):
            output = self.model(batch)
        if not isinstance(output, torch.Tensor):
            raise TypeError(f"The model must return one tensor (n, c, z, y, x), not {type(output).__name__}.")
        expected = (len(batch), self.channels or "c", *batch.shape[2:])
        fits = output.ndim == 5 and output.shape[1] > 0 and self.channels in (None, output.shape[1])
        if not fits or len(output) != len(batch) or output.shape[2:] != batch.shape[2:]:
            raise ValueError(
                f"The model must return ({', '.join(map(str, expected))}) for an input of {tuple(batch.shape)}, "
                f"but returned {tuple(output.shape)}."
            )
        self.channels = output.shape[1]
        return output.float()

    def _refuse_not_finite(self, total: torch.Tensor, positions: Sequence[tuple[int, int, int]]) -> None:
        for one, position in zip(total, positions, strict=True):
            count = int((~torch.isfinite(one)).sum())
            if count:
                raise ValueError(
                    f"The model's output for the window at (z, y, x) = {tuple(position)} holds {count} values "
                    "that are not finite."
                )
