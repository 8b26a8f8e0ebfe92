"""What all convolutions of a network share: normalisation, activation and padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from torch import nn

from emlib.models.instance_norm import InstanceNorm
from emlib.models.isotropy import Triple
from emlib.models.replicate_convolution import ReplicateConv3d

GROUPS = 8
NORMS = ("bn", "gn", "in", "none")
ACTIVATIONS: dict[str, type[nn.Module]] = {
    "elu": nn.ELU,
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "silu": nn.SiLU,
    "gelu": nn.GELU,
    "prelu": nn.PReLU,
}
IN_PLACE = ("elu", "relu", "leaky_relu")
PADDINGS = ("replicate", "zeros")


def layer_style(name: str, norm: str, activation: str, padding: str, widths: Sequence[int]) -> LayerStyle:
    """The style after a look at its three words and at the feature maps that it has to normalise.

    Args:
        name: of the network, for the sentence of an error.
        norm: "bn" (batch), "gn" (group, in 8 groups), "in" (instance) or "none".
        activation: a key of `ACTIVATIONS`.
        padding: "replicate" or "zeros".
        widths: feature maps of the levels.

    Raises:
        ValueError: an unknown word, or group normalisation of a width that 8 groups do not divide.

    Example:
        >>> layer_style("unet_3d", "gn", "elu", "zeros", (28, 36))
        Traceback (most recent call last):
        ...
        ValueError: unet_3d: norm 'gn' divides the feature maps into 8 groups, but a width of 28 is not divisible by 8.
    """
    for key, value, valid in (
        ("norm", norm, NORMS),
        ("activation", activation, tuple(ACTIVATIONS)),
        ("padding", padding, PADDINGS),
    ):
        check_word(name, key, value, valid)
    check_groups(name, norm, widths)
    return LayerStyle(norm, activation, padding)


def check_word(name: str, key: str, value: object, valid: Sequence[str]) -> None:
    """Refuse a word that is not on the list.

    Raises:
        ValueError: it is not; the sentence gives the list.
    """
    if value not in valid:
        words = ", ".join(repr(word) for word in valid[:-1])
        raise ValueError(f"{name}: {key} is {value!r}, but {words} or {valid[-1]!r} was expected.")


def check_groups(name: str, norm: str, widths: Sequence[int]) -> None:
    """Refuse widths that group normalisation cannot divide.

    Raises:
        ValueError: norm is "gn" and a width is not divisible by 8.
    """
    for width in widths:
        if norm == "gn" and width % GROUPS:
            raise ValueError(
                f"{name}: norm 'gn' divides the feature maps into {GROUPS} groups, but a width of {width} is not "
                f"divisible by {GROUPS}."
            )


def check_statistics(name: str, norm: str, training: bool, batch: int, width: int, lowest: Sequence[int]) -> None:
    """Refuse an input whose smallest feature map leaves a normalisation a single value, which it would turn into 0.

    Args:
        name: of the network.
        norm: as in `layer_style`, or "in_plain" of MONAI's networks.
        training: batch normalisation uses statistics of its input in training only.
        batch: inputs in the batch.
        width: the fewest feature maps that are normalised at the lowest level.
        lowest: (z, y, x), or (y, x) of an image, of the lowest level.

    Raises:
        ValueError: a mean and variance would be taken over one value.
    """
    single = {"bn": batch if training else 2, "gn": width // GROUPS, "in": 1, "in_plain": 1, "none": 2}
    values = single[norm] * prod(lowest)
    if values < 2:
        raise ValueError(
            f"{name}: the input shrinks to {' x '.join(map(str, lowest))} at the lowest level, which leaves norm "
            f"{norm!r} a single value to normalise; a larger window was expected."
        )


@dataclass(frozen=True)
class LayerStyle:
    """Makes the layers of one network alike.

    Attributes:
        norm, activation, padding: as in `layer_style`, which checks them.

    Example:
        >>> [type(layer).__name__ for layer in LayerStyle("gn", "elu", "zeros").conv_norm_act(1, 8, (1, 3, 3))]
        ['Conv3d', 'GroupNorm', 'ELU']
    """

    norm: str = "bn"
    activation: str = "elu"
    padding: str = "replicate"

    def conv(
        self, a: int, b: int, kernel: Triple, stride: Triple = (1, 1, 1), *, bias: bool | None = None, groups: int = 1
    ) -> nn.Conv3d:
        """A convolution from `a` to `b` feature maps that keeps the size (divides it by the stride, rounding up).

        Without `bias` it has one only where no normalisation follows, whose own shift would take its place.
        """
        edge = tuple(size // 2 for size in kernel)
        bias = self.norm == "none" if bias is None else bias
        # A 1x1x1 kernel needs no padding, but asking for replication would copy the whole input all the same.
        kind = ReplicateConv3d if self.padding == "replicate" and any(edge) else nn.Conv3d
        return kind(a, b, kernel, stride, edge, groups=groups, bias=bias)

    def normalisation(self, width: int) -> nn.Module:
        """The normalisation of `width` feature maps, with a learned scale and shift for each."""
        if self.norm == "gn":
            return nn.GroupNorm(GROUPS, width)
        if self.norm == "in":
            return InstanceNorm(width)
        return nn.BatchNorm3d(width) if self.norm == "bn" else nn.Identity()

    def act(self, *, in_place: bool = True) -> nn.Module:
        """The activation; `in_place` (where the function can) overwrites its input, which nobody else may need."""
        kind = ACTIVATIONS[self.activation]
        return kind(inplace=True) if in_place and self.activation in IN_PLACE else kind()

    def conv_norm_act(
        self, a: int, b: int, kernel: Triple, stride: Triple = (1, 1, 1), *, groups: int = 1
    ) -> nn.Sequential:
        """Convolution, normalisation and activation in this order."""
        return nn.Sequential(self.conv(a, b, kernel, stride, groups=groups), self.normalisation(b), self.act())

    def conv_norm(self, a: int, b: int, kernel: Triple) -> nn.Sequential:
        """Convolution and normalisation."""
        return nn.Sequential(self.conv(a, b, kernel), self.normalisation(b))

    def norm_act_conv(self, a: int, b: int, kernel: Triple) -> nn.Sequential:
        """The pre-activated order: normalisation, activation and convolution."""
        # Without a normalisation in between, an activation in place would overwrite the input of the whole block.
        return nn.Sequential(self.normalisation(a), self.act(in_place=self.norm != "none"), self.conv(a, b, kernel))
