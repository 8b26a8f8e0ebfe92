"""MONAI's U-shaped convolutional networks: `dynunet`, `monai_unet` and `segresnet`."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from emlib.models.isotropy import halving, kernel_size, level_isotropy
from emlib.models.monai_network import (
    ACTIVATIONS,
    NORMS,
    MonaiNetwork,
    check_form,
    check_layers,
    divisor_of,
    monai_networks,
    triples,
)
from emlib.models.sizes import check_settings, check_whole


def dynunet(
    in_channels: int = 1,
    out_channels: int = 2,
    widths: Sequence[int] = (32, 64, 96, 128, 160),
    isotropy: bool | Sequence[bool] | None = None,
    kernels: Sequence[Sequence[int]] | None = None,
    strides: Sequence[Sequence[int]] | None = None,
    norm: str = "in",
    activation: str = "leaky_relu",
    residual: bool = False,
) -> MonaiNetwork:
    """nnU-Net's U-Net with a kernel and stride of its own for every level, without deep supervision.

    Zeros outside, transposed convolutions on the way up, no interpolation: quick on a CPU in bfloat16 with the channels
    last.

    Source: Isensee et al., "nnU-Net", Nature Methods 2021; built by MONAI's DynUNet.

    Args:
        in_channels: channels of the image.
        out_channels: channels of the prediction.
        widths: feature maps of each level, at least three.
        isotropy: a flag per level, or one for all; None: levels from the fourth on. A flagged level has 3x3x3 kernels
            and is halved along z too, the others have 1x3x3 kernels and keep z.
        kernels: (z, y, x), odd, of each level, in place of those that follow from `isotropy`.
        strides: (z, y, x), 1 or 2, that lead to each level, the first (1, 1, 1), in place of those from `isotropy`.
        norm: "in", "bn" or "gn" (8 groups); "in_plain": instance normalisation without a learned scale and shift.
        activation: "leaky_relu", "relu", "elu", "prelu", "gelu" or "silu".
        residual: residual blocks in place of pairs of convolutions.

    Shape: (N, in_channels, Z, Y, X) -> float32 probabilities (N, out_channels, Z, Y, X); sizes must be divisible by
    the product of the strides, (4, 16, 16) by default.

    Raises:
        ImportError: MONAI is not installed.
        ValueError: bad settings, or later an input of another shape.

    Example:
        >>> dynunet(widths=(4, 6, 8), isotropy=(False, False, True)).min_divisor
        (2, 4, 4)
    """
    widths = check_settings("dynunet", in_channels, out_channels, widths)
    if len(widths) < 3:
        raise ValueError(f"dynunet: widths is {list(widths)}, but at least three levels were expected.")
    check_layers("dynunet", norm, activation, widths)
    flags = level_isotropy("dynunet", isotropy, len(widths))
    kernels = [kernel_size(flag) for flag in flags] if kernels is None else kernels
    strides = [(1, 1, 1), *(halving(flag) for flag in flags[1:])] if strides is None else strides
    kernels = triples("dynunet", "kernels", kernels, len(widths), "an odd number", lambda size: size % 2 == 1)
    strides = triples("dynunet", "strides", strides, len(widths), "1 or 2", lambda step: step in (1, 2))
    if strides[0] != (1, 1, 1):
        raise ValueError(f"dynunet: the first of strides is {strides[0]}, but (1, 1, 1), full size, was expected.")
    network = monai_networks().DynUNet(
        spatial_dims=3,
        in_channels=in_channels,
        out_channels=out_channels,
        kernel_size=kernels,
        strides=strides,
        upsample_kernel_size=strides[1:],
        filters=widths,
        norm_name=NORMS[norm],
        act_name=ACTIVATIONS[activation],
        res_block=residual,
    )
    # MONAI registers every layer twice; a checkpoint holds it once.
    network = nn.Sequential(network.skip_layers, network.output_block)
    return MonaiNetwork("dynunet", network, in_channels, divisor_of(strides), norm, widths[-1])


def monai_unet(
    in_channels: int = 1,
    out_channels: int = 2,
    widths: Sequence[int] = (16, 32, 64, 128, 256),
    isotropy: bool | Sequence[bool] | None = None,
    strides: Sequence[Sequence[int]] | None = None,
    residual_units: int = 2,
    norm: str = "in",
    activation: str = "prelu",
    dimensions: int = 3,
    output: str = "sigmoid",
) -> MonaiNetwork:
    """MONAI's UNet: strided residual units down, transposed convolutions up, 3x3x3 kernels everywhere.

    With three channels in and out, two dimensions, norm "in_plain" and output "softmax" it is a baseline of the NeurIPS
    2022 cell segmentation challenge (classes background, interior and boundary), with its 1,626,072 parameters.

    Source: Kerfoot et al., "Left-ventricle quantification using residual U-Net", STACOM 2018; built by MONAI.

    Args:
        in_channels: channels of the image.
        out_channels: channels of the prediction.
        widths: feature maps of each level.
        isotropy: as in `dynunet`, for the strides only: the stride to level i follows from flag i.
        strides: (z, y, x), 1 or 2, of the convolutions that leave each level but the last, in place of those from
            `isotropy`; the first level has a stride too. In two dimensions (y, x), 2 by default.
        residual_units: convolutions in each residual unit; 0: a single convolution without residual.
        norm, activation: as in `dynunet`.
        dimensions: 3: volumes; 2: images, which have no `isotropy`.
        output: "sigmoid", for channels that are each a question of its own, or "softmax", for classes of which every
            voxel has one.

    Shape: (N, in_channels, Z, Y, X) -> float32 probabilities (N, out_channels, Z, Y, X); sizes must be divisible by
    the product of the strides, (4, 16, 16) by default. Without Z in two dimensions.

    Raises:
        ImportError: MONAI is not installed.
        ValueError: bad settings, or later an input of another shape.

    Example:
        >>> monai_unet(widths=(4, 6, 8), isotropy=False).min_divisor
        (1, 4, 4)
        >>> monai_unet(widths=(4, 6, 8), dimensions=2).min_divisor
        (4, 4)
    """
    widths = check_settings("monai_unet", in_channels, out_channels, widths)
    check_layers("monai_unet", norm, activation, widths)
    check_whole("monai_unet", "residual_units", residual_units, 0)
    check_form("monai_unet", dimensions, output, out_channels)
    if dimensions == 2 and isotropy is not None:
        raise ValueError("monai_unet: isotropy says how z is treated, but with dimensions 2 there is no z.")
    flags = level_isotropy("monai_unet", isotropy, len(widths))
    strides = [halving(flag)[-dimensions:] for flag in flags[1:]] if strides is None else strides
    strides = triples(
        "monai_unet", "strides", strides, len(widths) - 1, "1 or 2", lambda step: step in (1, 2), dimensions
    )
    network = monai_networks().UNet(
        spatial_dims=dimensions,
        in_channels=in_channels,
        out_channels=out_channels,
        channels=widths,
        strides=strides,
        num_res_units=residual_units,
        act=ACTIVATIONS[activation],
        norm=NORMS[norm],
    )
    return MonaiNetwork("monai_unet", network, in_channels, divisor_of(strides), norm, widths[-1], output=output)


def segresnet(
    in_channels: int = 1,
    out_channels: int = 2,
    widths: Sequence[int] = (16, 32, 64, 128),
    blocks: int = 2,
    norm: str = "gn",
) -> MonaiNetwork:
    """SegResNet: an encoder of pre-activated residual blocks, a light decoder, isotropic throughout.

    Source: Myronenko, "3D MRI brain tumor segmentation using autoencoder regularization", BrainLes 2018, without the
    autoencoder; built by MONAI.

    Args:
        in_channels: channels of the image.
        out_channels: channels of the prediction.
        widths: feature maps of each level, each twice the one before it.
        blocks: residual blocks in each level of the encoder (one in the first); the decoder has one.
        norm: "gn" (8 groups), "in", "in_plain" or "bn", as in `dynunet`.

    Shape: (N, in_channels, Z, Y, X) -> float32 probabilities (N, out_channels, Z, Y, X); sizes must be divisible by
    2 ** (len(widths) - 1), z too.

    Raises:
        ImportError: MONAI is not installed.
        ValueError: bad settings, or later an input of another shape.

    Example:
        >>> segresnet(widths=(8, 16, 32)).min_divisor
        (4, 4, 4)
    """
    widths = check_settings("segresnet", in_channels, out_channels, widths)
    check_layers("segresnet", norm, "relu", widths)
    if any(width != widths[0] * 2**level for level, width in enumerate(widths)):
        raise ValueError(f"segresnet: widths is {list(widths)}, but each twice the one before it was expected.")
    check_whole("segresnet", "blocks", blocks, 1)
    network = monai_networks().SegResNet(
        spatial_dims=3,
        init_filters=widths[0],
        in_channels=in_channels,
        out_channels=out_channels,
        norm=NORMS[norm],
        blocks_down=(1, *[blocks] * (len(widths) - 1)),
        blocks_up=(1,) * (len(widths) - 1),
    )
    return MonaiNetwork("segresnet", network, in_channels, (2 ** (len(widths) - 1),) * 3, norm, widths[-1])
