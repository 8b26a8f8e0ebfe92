"""The loss of a whole network: some losses for each of its outputs, added up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch

from emlib.losses.registry import build_loss, takes_auxiliary

# (target channels, option, mask) -> weight of every voxel; emlib.targets.class_weights is one.
ClassWeights = Callable[[torch.Tensor, str, torch.Tensor | None], torch.Tensor]


class LossTerm(Protocol):
    """What a term needs to have; `emlib.recipe_schema.LossTerm` has it. `options`, a dictionary, may be there too."""

    name: str
    weight: float
    class_weight: str


class CompositeLoss:
    """Sum over outputs and terms of term weight x loss; each weight counts once.

    Terms of weight 0 are not computed.

    A network with an auxiliary output gives a pair (auxiliary, prediction): the losses that take one (Aux*) get the
    output's channels of both, the others those of the prediction.

    Args:
        outputs: (name, number of channels, terms) for each output, in the order of the prediction's channels. A fourth
            value is the number of its channels in the target, where it is another: 1 for an embedding.
        class_weights: makes the voxel weights of terms whose `class_weight` is not "0", on the target's device and
            for each sample on its own; `emlib.targets.class_weights`. May be left out if no term needs it.

    Attributes:
        channels: name of output -> slice of the prediction's channels.

    Raises:
        ValueError: no output, an output without channels, two with one name, the same loss twice, an unknown loss,
            no term with a weight above 0, or class weights wanted but not given.

    Example:
        >>> from types import SimpleNamespace
        >>> dice = SimpleNamespace(name="DiceLoss", weight=0.5, class_weight="0")
        >>> loss = CompositeLoss([("mask", 1, [dice])])
        >>> total, parts = loss(torch.zeros(1, 1, 1, 10, 10), torch.ones(1, 1, 1, 10, 10))
        >>> float(total), {name: float(value) for name, value in parts.items()}
        (0.25, {'mask/DiceLoss': 0.5})
    """

    def __init__(
        self,
        outputs: Sequence[tuple[str, int, Sequence[LossTerm]] | tuple[str, int, Sequence[LossTerm], int]],
        *,
        class_weights: ClassWeights | None = None,
    ) -> None:
        self.channels: dict[str, slice] = {}
        self._terms: list[tuple[str, LossTerm, Callable[..., torch.Tensor]]] = []
        self._class_weights = class_weights
        self._target_channels: dict[str, slice] = {}
        first = first_target = 0
        for name, count, terms, *target_count in outputs:
            counts = (count, *(target_count or (count,)))
            self._add(name, (first, first_target), counts, terms)
            first, first_target = first + counts[0], first_target + counts[1]
        self._count, self._target_count = first, first_target
        self._takes_auxiliary = any(takes_auxiliary(term.name) for _, term, _ in self._terms)
        if not self._terms:
            raise ValueError("No output has a loss with a weight above 0, so there is nothing to learn from.")

    def __call__(
        self,
        prediction: torch.Tensor | tuple[torch.Tensor, torch.Tensor],
        target: torch.Tensor,
        mask: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The total, and each computed term before its weight.

        Args:
            prediction: (n, c, z, y, x), or (n, c, y, x) of images, c being the sum of the outputs' channels; or
                (auxiliary, prediction), the first with as many channels and a coarser grid.
            target: of the same shape, but for outputs with another number of channels in the target.
            mask: voxels that count (> 0), broadcasting to that shape; for example the validity of affinities.

        Returns:
            Scalar with gradient, and "output/loss" -> scalar without.

        Raises:
            ValueError: shapes that do not fit.
        """
        auxiliary, prediction = (None, prediction) if isinstance(prediction, torch.Tensor) else prediction
        if prediction.ndim not in (4, 5) or prediction.shape[1] != self._count:
            shape, expected = tuple(prediction.shape), f"(n, {self._count}, z, y, x) or (n, {self._count}, y, x)"
            raise ValueError(f"The prediction has shape {shape}, but {expected} was expected.")
        if target.shape != (prediction.shape[0], self._target_count, *prediction.shape[2:]):
            shapes = f"{tuple(prediction.shape)} and its target {tuple(target.shape)}"
            channels = "be equal" if self._count == self._target_count else f"fit, with {self._target_count} channels"
            raise ValueError(f"The prediction has shape {shapes}, but they must {channels}.")
        if auxiliary is not None and not self._takes_auxiliary:
            raise ValueError("The network has an auxiliary output, but no loss takes it; use one of the Aux losses.")
        if mask is not None:
            try:
                mask = mask.broadcast_to(target.shape)
            except RuntimeError as error:
                shapes = f"{tuple(mask.shape)} does not broadcast to the target's {tuple(target.shape)}"
                raise ValueError(f"The mask's shape {shapes}.") from error
        weights: dict[tuple[str, str], torch.Tensor | None] = {}
        parts, total = {}, prediction.new_zeros((), dtype=torch.float32)
        for output, term, loss in self._terms:
            part, truth = (slice(None), self.channels[output]), (slice(None), self._target_channels[output])
            kind = (output, term.class_weight)
            if kind not in weights:
                weights[kind] = self._weights(target[truth], term.class_weight, None if mask is None else mask[truth])
            pair = auxiliary is not None and takes_auxiliary(term.name)
            said = (auxiliary[part], prediction[part]) if pair else prediction[part]
            value = loss(said, target[truth], weights[kind])
            total = total + term.weight * value
            parts[f"{output}/{term.name}"] = value.detach()
        return total, parts

    def _add(self, name: str, first: tuple[int, int], counts: tuple[int, int], terms: Sequence[LossTerm]) -> None:
        if name in self.channels:
            raise ValueError(f"Two outputs are called '{name}'; their losses could not be told apart.")
        for count, where in zip(counts, ("", " in the target"), strict=True):
            if count < 1:
                raise ValueError(f"The output '{name}' has {count} channels{where}, but at least one was expected.")
        self.channels[name] = slice(first[0], first[0] + counts[0])
        self._target_channels[name] = slice(first[1], first[1] + counts[1])
        names = [term.name for term in terms]
        for term in terms:
            if names.count(term.name) > 1:
                raise ValueError(f"The output '{name}' has the loss {term.name} twice; give it once, with one weight.")
            loss = build_loss(term.name, **getattr(term, "options", {}))
            if term.weight < 0:
                raise ValueError(f"The loss {term.name} of '{name}' has the weight {term.weight}, below 0.")
            if term.weight == 0:
                continue
            if term.class_weight != "0" and self._class_weights is None:
                option = f"class_weight '{term.class_weight}'"
                raise ValueError(f"The loss {term.name} of '{name}' has {option}, but no class_weights were given.")
            self._terms.append((name, term, loss))

    def _weights(self, target: torch.Tensor, option: str, mask: torch.Tensor | None) -> torch.Tensor | None:
        if option != "0":
            return self._class_weights(target, option, mask)
        return None if mask is None else (mask > 0).to(torch.float32)
