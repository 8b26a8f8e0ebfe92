"""The flips and the transposition of test-time augmentation, and how a prediction is turned back."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from emlib.inference.windows import AXES


@dataclass(frozen=True)
class Symmetry:
    """A flip of some axes, followed by a swap of y and x if `transpose`.

    Attributes:
        flips: which of (z, y, x) are reversed.
        transpose: swap y and x after flipping.

    Example:
        >>> symmetry = Symmetry((False, True, False), transpose=True)
        >>> block = torch.arange(6.0).reshape(1, 2, 3)
        >>> symmetry.apply(block)
        tensor([[[3., 0.],
                 [4., 1.],
                 [5., 2.]]])
        >>> torch.equal(symmetry.invert(symmetry.apply(block)), block)
        True
    """

    flips: tuple[bool, bool, bool] = (False, False, False)
    transpose: bool = False

    @property
    def name(self) -> str:
        """For messages: "zy flipped, transposed"."""
        flipped = "".join(axis for axis, flip in zip(AXES, self.flips, strict=True) if flip)
        parts = [f"{flipped} flipped"] if flipped else []
        return ", ".join([*parts, "transposed"] if self.transpose else parts) or "as it is"

    def apply(self, block: torch.Tensor) -> torch.Tensor:
        """Transform the last three axes (z, y, x) of an image block; the result may be a view."""
        dims = self._flipped_dims()
        block = block.flip(dims) if dims else block
        return block.transpose(-1, -2) if self.transpose else block

    def invert(self, prediction: torch.Tensor, channel_rule: ChannelRule | None = None) -> torch.Tensor:
        """Turn the prediction (n, c, z, y, x) for a transformed block back to the block it came from.

        Masks, contours and distances have no direction: moving their voxels back is all. Where a channel has one
        (an affinity along an offset, a component of a flow), `channel_rule(prediction, self)` is called with the
        voxels already moved back, and returns the prediction with its channels exchanged, shifted or negated.
        """
        prediction = prediction.transpose(-1, -2) if self.transpose else prediction
        dims = self._flipped_dims()
        prediction = prediction.flip(dims) if dims else prediction
        return prediction if channel_rule is None else channel_rule(prediction, self)

    def invert_vector(self, vector: Sequence[int]) -> tuple[int, ...]:
        """The direction (z, y, x) in the original block of what is `vector` in the transformed block.

        Example:
            >>> Symmetry((False, True, False), transpose=True).invert_vector((0, 0, 1))
            (0, -1, 0)
        """
        z, y, x = vector
        if self.transpose:
            y, x = x, y
        return tuple(-part if flip else part for part, flip in zip((z, y, x), self.flips, strict=True))

    def window(self, window: Sequence[int]) -> tuple[int, ...]:
        """Shape that a block of shape `window` has after `apply`."""
        z, y, x = window
        return (z, x, y) if self.transpose else (z, y, x)

    def _flipped_dims(self) -> list[int]:
        return [axis - 3 for axis, flip in enumerate(self.flips) if flip]


ChannelRule = Callable[[torch.Tensor, Symmetry], torch.Tensor]


def _every(axes: str, *, transpose: bool) -> tuple[Symmetry, ...]:
    choices = [(False, True) if axis in axes else (False,) for axis in AXES]
    swaps = (False, True) if transpose else (False,)
    return tuple(Symmetry(flips, swap) for swap in swaps for flips in itertools.product(*choices))


SYMMETRIES: dict[str, tuple[Symmetry, ...]] = {
    "none": _every("", transpose=False),
    "z-transpose": _every("z", transpose=True),
    "xy-flips": _every("yx", transpose=False),
    "xy": _every("yx", transpose=True),
    "all": _every("zyx", transpose=True),
}
_BY_COUNT = {0: "none", 4: "z-transpose", 8: "xy", 16: "all"}


def symmetries(augment: int | str | Sequence[Symmetry] | None) -> tuple[Symmetry, ...]:
    """The symmetries that a name or a number of test-time augmentation stands for.

    | name | number | what |
    |---|---|---|
    | "none" | None, 0 | the window as it is |
    | "z-transpose" | 4 | z flip x xy transpose (VIDAR's 4) |
    | "xy-flips" | | y flip x x flip (PyTorch Connectomics' 4) |
    | "xy" | 8 | y flip x x flip x xy transpose |
    | "all" | 16 | every flip x xy transpose |

    A sequence of `Symmetry` is taken as it is.

    Raises:
        ValueError: unknown name or number.

    Example:
        >>> [symmetry.name for symmetry in symmetries("z-transpose")]
        ['as it is', 'z flipped', 'transposed', 'z flipped, transposed']
        >>> len(symmetries(16))
        16
    """
    if augment is None:
        return SYMMETRIES["none"]
    if not isinstance(augment, (str, int, bool)) and hasattr(augment, "__iter__"):
        chosen = tuple(augment)
        if chosen and all(isinstance(symmetry, Symmetry) for symmetry in chosen):
            return chosen
    elif not isinstance(augment, bool):
        name = _BY_COUNT.get(augment, augment)
        if name in SYMMETRIES:
            return SYMMETRIES[name]
    close = difflib.get_close_matches(str(augment), SYMMETRIES, 1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise ValueError(
        f"Unknown test-time augmentation {augment!r}: choose 4, 8, 16 or one of {', '.join(SYMMETRIES)}.{hint}"
    )
