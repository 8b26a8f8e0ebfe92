"""The network of MEDIAR for cells (`mediar_former`): a SegFormer encoder, an MA-Net decoder and two heads."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType

import torch
from torch import nn

from emlib.models.layer_style import check_statistics, check_word
from emlib.models.mediar_weights import load_encoder_weights
from emlib.models.sizes import check_channels, check_input, check_whole

ENCODERS = tuple(f"mit_b{size}" for size in range(6))
PUBLISHED_WIDTHS = (1024, 512, 256, 128, 64)
STRIDE = 32  # of the encoder's last feature map
FLOW_SCALE = 5.0  # the gradient-flow head is trained on five times the unit vectors
OUTPUTS = ("flow along y", "flow along x", "cell probability")


def smp() -> ModuleType:
    """`segmentation_models_pytorch`, which takes seconds to import and is so only when a network needs it.

    Raises:
        ImportError: it is not installed.
    """
    try:
        return import_module("segmentation_models_pytorch")
    except ModuleNotFoundError as error:
        raise ImportError(
            f'segmentation_models_pytorch cannot be imported ({error}); install it with pip install "emlib[models]".'
        ) from error


def mish_for_relu(network: nn.Module) -> nn.Module:
    """Put a Mish in place of every ReLU; returns the network.

    Example:
        >>> mish_for_relu(nn.Sequential(nn.Linear(1, 1), nn.ReLU()))[1]
        Mish()
    """
    for layer in list(network.modules()):
        for name, child in layer.named_children():
            if isinstance(child, nn.ReLU):
                setattr(layer, name, nn.Mish())
    return network


def _head(width: int, outputs: int) -> nn.Sequential:
    # The published order: normalised after the activation, and torch's own fresh weights.
    return nn.Sequential(
        nn.Conv2d(width, width // 2, 3, padding=1),
        nn.Mish(),
        nn.BatchNorm2d(width // 2),
        nn.Conv2d(width // 2, outputs, 3, padding=1),
    )


class MediarFormer(nn.Module):
    """MEDIAR-Former: gradient flow and cell probability of every pixel of a 2-D image.

    The encoder is a SegFormer (mix transformer) with feature maps at strides 4, 8, 16 and 32. The decoder is that of
    MA-Net, with Mish in place of ReLU: attention between all positions of the coarsest map, then five enlargements by
    two, of which three join an encoder map with gates on the channels of both. Two heads read its full-resolution map.

    The published network puts out five times the flow, and the logit of the probability: `published_output`. Called,
    it returns what its users want, the flow in the unit of `emlib.targets.gradient_flow` (1 inside a cell) and the
    probability: the weights are the same, only the last step differs. The published loss, the binary cross entropy of
    the logit plus half the mean squared error of five times the flow, is in these units the binary cross entropy of
    the probability plus 12.5 times the mean squared error of the flow.

    Fresh weights: the encoder's as SegFormer draws them, the decoder's Kaiming-uniform (fan-in), the heads' torch's
    own. The published training begins with an encoder that has learned ImageNet.

    Source: Lee et al., "MEDIAR: harmony of data-centric and model-centric for multi-modality microscopy", NeurIPS 2022
    cell segmentation challenge; Xie et al., "SegFormer", NeurIPS 2021; Fan et al., "MA-Net", IEEE Access 2020. Encoder
    and decoder are built by segmentation_models_pytorch. The defaults have the published 121,303,587 parameters.

    Args:
        in_channels: channels of the image.
        out_channels: 3: flow along y, flow along x and cell probability.
        encoder: "mit_b0" (small) ... "mit_b5" (published).
        decoder_channels: feature maps of the decoder's five blocks, from coarse to fine; the heads read the last.
            (64, 48, 32, 24, 16) with "mit_b0" and 32 `attention_channels` make a small network.
        attention_channels: length of the vectors that the decoder's attention compares.
        encoder_weights_file: weights that the encoder starts from, see `load_encoder_weights`; None: fresh ones.
            Nothing is ever downloaded.

    Shape: (N, in_channels, Y, X) -> float32 (N, 3, Y, X); Y and X must be divisible by 32. It is a network of images,
    which the two numbers of `min_divisor` say.

    Raises:
        FileNotFoundError: there is no such file of weights.
        ImportError: segmentation_models_pytorch is not installed.
        ValueError: bad settings, weights of another encoder, or later an input of another shape.

    Example:
        >>> model = MediarFormer(encoder="mit_b0", decoder_channels=(64, 48, 32, 24, 16), attention_channels=32).eval()
        >>> with torch.no_grad():
        ...     flow, probability = model(torch.rand(1, 3, 64, 32)).split([2, 1], dim=1)
        >>> flow.shape, probability.shape
        (torch.Size([1, 2, 64, 32]), torch.Size([1, 1, 64, 32]))
    """

    name = "mediar_former"
    min_divisor = (STRIDE, STRIDE)

    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 3,
        encoder: str = "mit_b5",
        decoder_channels: Sequence[int] = PUBLISHED_WIDTHS,
        attention_channels: int = 256,
        encoder_weights_file: str | Path | None = None,
    ) -> None:
        super().__init__()
        widths = _checked(in_channels, out_channels, encoder, decoder_channels, attention_channels)
        body = smp().MAnet(
            encoder_name=encoder,
            encoder_weights=None,
            decoder_channels=widths,
            decoder_pab_channels=attention_channels,
            in_channels=in_channels,
        )
        self.in_channels = in_channels
        self.lowest_width = body.encoder.out_channels[-1]
        self.encoder, self.decoder = body.encoder, mish_for_relu(body.decoder)
        self.cellprob_head, self.gradflow_head = _head(widths[-1], 1), _head(widths[-1], 2)
        if encoder_weights_file is not None:
            load_encoder_weights(self.encoder, encoder_weights_file)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Flow along y, flow along x, in pixels per step, and cell probability."""
        output = self.published_output(image)
        return torch.cat([output[:, :2] / FLOW_SCALE, torch.sigmoid(output[:, 2:])], dim=1)

    def published_output(self, image: torch.Tensor) -> torch.Tensor:
        """Five times the flow along y and along x, and the logit of the cell probability, as MEDIAR's own network.

        Its predictions of overlapping windows, mirrored images and several networks are averaged in this form. As with
        any method, hooks such as `input_mean` are those of a call and do not act here.

        Shape: (N, in_channels, Y, X) -> float32 (N, 3, Y, X).

        Raises:
            ValueError: an input of another shape, or one so small that a normalisation is left with a single value.
        """
        check_input(self.name, image, self.in_channels, self.min_divisor)
        lowest = [size // STRIDE for size in image.shape[2:]]
        check_statistics(self.name, "bn", self.training, image.shape[0], self.lowest_width, lowest)
        features = self.decoder(self.encoder(image))
        # In float32 also under mixed precision: near 0 and 1 a half-precision probability has no useful logarithm.
        return torch.cat([self.gradflow_head(features).float(), self.cellprob_head(features).float()], dim=1)


def _checked(
    in_channels: int, out_channels: int, encoder: str, decoder_channels: Sequence[int], attention_channels: int
) -> tuple[int, ...]:
    """The decoder's widths as a tuple, after a look at all settings."""
    name = MediarFormer.name
    check_channels(name, in_channels, out_channels)
    if out_channels != len(OUTPUTS):
        raise ValueError(f"{name}: out_channels is {out_channels}, but 3 was expected: {', '.join(OUTPUTS)}.")
    check_word(name, "encoder", encoder, ENCODERS)
    check_whole(name, "attention_channels", attention_channels, 1)
    widths = tuple(decoder_channels)
    if len(widths) != 5:
        raise ValueError(f"{name}: decoder_channels is {list(widths)}, but five numbers, one a block, were expected.")
    for width in widths:
        # The heads halve the last.
        check_whole(name, "each of decoder_channels", width, 2)
    return widths
