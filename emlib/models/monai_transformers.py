"""MONAI's networks with a transformer as encoder: `unetr` and `swin_unetr`."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from emlib.models.monai_network import NORMS, MonaiNetwork, check_form, check_layers, monai_networks
from emlib.models.sizes import axis_names, check_channels, check_whole

PATCH = 16
WINDOWS = {2: (256, 256), 3: (64, 128, 128)}


def unetr(
    in_channels: int = 1,
    out_channels: int = 2,
    window: Sequence[int] | None = None,
    feature_size: int = 16,
    hidden_size: int = 768,
    mlp_size: int = 3072,
    heads: int = 12,
    norm: str = "in",
    conv_block: bool = True,
    dimensions: int = 3,
    output: str = "sigmoid",
) -> MonaiNetwork:
    """A vision transformer over patches of 16x16x16 voxels, and a convolutional decoder that reads four of its layers.

    The transformer has 12 layers, and learns one vector for the position of each patch of the window: it takes windows
    of just the size that it was built for. As published for neurons, windows of 64 x 128 x 128 are trained with AdamW
    at 1e-3. With two dimensions, three channels in and out, norm "in_plain", output "softmax" and without
    `conv_block` it is a baseline of the NeurIPS 2022 cell segmentation challenge, with its 87,598,355 parameters.

    Source: Hatamizadeh et al., "UNETR: transformers for 3D medical image segmentation", WACV 2022; built by MONAI.

    Args:
        in_channels: channels of the image.
        out_channels: channels of the prediction.
        window: (z, y, x) of every input, or (y, x) in two dimensions, divisible by 16; None: (64, 128, 128) or
            (256, 256).
        feature_size: feature maps of the decoder at full resolution.
        hidden_size: length of the transformer's vectors, divisible by `heads`.
        mlp_size: length of the vectors inside its perceptrons.
        heads: of its attention.
        norm: of the decoder: "in", "in_plain" (without a learned scale and shift), "bn" or "gn" (8 groups).
        conv_block: a residual block behind every enlargement of a layer of the transformer; False: none.
        dimensions, output: as in `monai_unet`.

    Shape: (N, in_channels, *window) -> float32 probabilities (N, out_channels, *window).

    Raises:
        ImportError: MONAI is not installed.
        ValueError: bad settings, or later an input of another shape.

    Example:
        >>> model = unetr(window=(16, 32, 32), feature_size=4, hidden_size=12, mlp_size=24, heads=3)
        >>> model.min_divisor
        (16, 32, 32)
    """
    check_channels("unetr", in_channels, out_channels)
    check_form("unetr", dimensions, output, out_channels)
    window = WINDOWS[dimensions] if window is None else tuple(window)
    fits = all(isinstance(size, int) and size > 0 and size % PATCH == 0 for size in window)
    if len(window) != dimensions or not fits:
        axes = axis_names(dimensions).lower()
        raise ValueError(f"unetr: window is {window}, but ({axes}), each divisible by {PATCH}, was expected.")
    sizes = {"feature_size": feature_size, "hidden_size": hidden_size, "mlp_size": mlp_size, "heads": heads}
    for key, value in sizes.items():
        check_whole("unetr", key, value, 1)
    if hidden_size % heads:
        raise ValueError(f"unetr: hidden_size is {hidden_size}, which was expected to be divisible by heads, {heads}.")
    check_layers("unetr", norm, "relu", (feature_size,))
    network = monai_networks().UNETR(
        in_channels=in_channels,
        out_channels=out_channels,
        img_size=window,
        feature_size=feature_size,
        hidden_size=hidden_size,
        mlp_dim=mlp_size,
        num_heads=heads,
        norm_name=NORMS[norm],
        conv_block=conv_block,
        spatial_dims=dimensions,
    )
    _drop_unused(network)
    return MonaiNetwork("unetr", network, in_channels, window, norm, feature_size * 8, window, output)


def swin_unetr(
    in_channels: int = 1,
    out_channels: int = 2,
    feature_size: int = 24,
    depths: Sequence[int] = (2, 2, 2, 2),
    heads: Sequence[int] = (3, 6, 12, 24),
    attention_window: int = 7,
    norm: str = "in",
    dimensions: int = 3,
    output: str = "sigmoid",
) -> MonaiNetwork:
    """A transformer with shifted windows of attention, halved five times, and a convolutional decoder.

    As published for neurons, windows of 64 x 128 x 128 are trained with AdamW at 1e-3. With two dimensions, three
    channels in and out, norm "in_plain" and output "softmax" it is a baseline of the NeurIPS 2022 cell segmentation
    challenge, with its 6,302,925 parameters.

    Source: Hatamizadeh et al., "Swin UNETR: Swin transformers for semantic segmentation of brain tumors in MRI images",
    BrainLes 2021; built by MONAI.

    Args:
        in_channels: channels of the image.
        out_channels: channels of the prediction.
        feature_size: feature maps at full resolution, divisible by 12; each halving doubles them.
        depths: transformer layers in each of the four stages.
        heads: of the attention in each stage; stage i has vectors of length feature_size * 2 ** i.
        attention_window: side, in patches of 2x2x2 voxels at the first stage, of the cubes within which voxels attend
            to each other.
        norm: of the decoder, as in `unetr`.
        dimensions, output: as in `monai_unet`.

    Shape: (N, in_channels, Z, Y, X) -> float32 probabilities (N, out_channels, Z, Y, X); Z, Y and X must be divisible
    by 32, and with norm "in" one of them be larger. Without Z in two dimensions.

    Raises:
        ImportError: MONAI is not installed.
        ValueError: bad settings, or later an input of another shape.

    Example:
        >>> swin_unetr(feature_size=12, depths=(1, 1, 1, 1)).min_divisor
        (32, 32, 32)
    """
    check_channels("swin_unetr", in_channels, out_channels)
    check_form("swin_unetr", dimensions, output, out_channels)
    check_whole("swin_unetr", "feature_size", feature_size, 1)
    check_whole("swin_unetr", "attention_window", attention_window, 2)
    if feature_size % 12:
        raise ValueError(f"swin_unetr: feature_size is {feature_size}, but a number divisible by 12 was expected.")
    depths, heads = tuple(depths), tuple(heads)
    for key, values in (("depths", depths), ("heads", heads)):
        if len(values) != 4:
            raise ValueError(f"swin_unetr: {key} is {list(values)}, but four numbers, one a stage, were expected.")
        for value in values:
            check_whole("swin_unetr", key, value, 1)
    for stage, count in enumerate(heads):
        if (length := feature_size * 2**stage) % count:
            raise ValueError(
                f"swin_unetr: stage {stage} has vectors of length {length}, which {count} heads divide not."
            )
    check_layers("swin_unetr", norm, "relu", (feature_size,))
    network = monai_networks().SwinUNETR(
        in_channels=in_channels,
        out_channels=out_channels,
        feature_size=feature_size,
        depths=depths,
        num_heads=heads,
        window_size=attention_window,
        norm_name=NORMS[norm],
        spatial_dims=dimensions,
    )
    return MonaiNetwork("swin_unetr", network, in_channels, (32,) * dimensions, norm, feature_size * 16, output=output)


def _drop_unused(network: nn.Module) -> None:
    """Remove the normalisation that MONAI declares for cross-attention in blocks that have none."""
    for layer in network.modules():
        if getattr(layer, "with_cross_attention", None) is False:
            layer.norm_cross_attn = nn.Identity()
