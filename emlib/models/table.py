"""The table of networks: name -> builder, and the function that builds one by name."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable
from typing import Any

from torch import nn

from emlib.models.fpn_3d import FPN3D
from emlib.models.input_standardization import InputStandardization
from emlib.models.mask_rcnn import mask_rcnn_r50_fpn, mask_rcnn_r101_fpn, mask_rcnn_tiny, mask_rcnn_x101_32x8d_fpn
from emlib.models.mediar_former import MediarFormer
from emlib.models.monai_transformers import swin_unetr, unetr
from emlib.models.monai_unets import dynunet, monai_unet, segresnet
from emlib.models.rsunet import RSUNet
from emlib.models.unet2d_ebd import UNet2DEmbedding
from emlib.models.unet_2d import UNet2D
from emlib.models.unet_3d import UNet3D
from emlib.models.unet_plus_3d import UNetPlus3D
from emlib.models.unet_residual_3d import ResidualUNet3D
from emlib.models.unetv3 import UNetV3
from emlib.models.unetv3_ebd import UNetV3Prototypes
from emlib.models.unetv3_ebd2 import UNetV3Embedding

MODELS: dict[str, Callable[..., nn.Module]] = {
    "dynunet": dynunet,
    "fpn_3d": FPN3D,
    "mask_rcnn_r101_fpn": mask_rcnn_r101_fpn,
    "mask_rcnn_r50_fpn": mask_rcnn_r50_fpn,
    "mask_rcnn_tiny": mask_rcnn_tiny,
    "mask_rcnn_x101_32x8d_fpn": mask_rcnn_x101_32x8d_fpn,
    "mediar_former": MediarFormer,
    "monai_unet": monai_unet,
    "rsunet": RSUNet,
    "segresnet": segresnet,
    "swin_unetr": swin_unetr,
    "unet2d_ebd": UNet2DEmbedding,
    "unet_2d": UNet2D,
    "unet_3d": UNet3D,
    "unet_plus_3d": UNetPlus3D,
    "unet_residual_3d": ResidualUNet3D,
    "unetr": unetr,
    "unetv3": UNetV3,
    "unetv3_ebd": UNetV3Prototypes,
    "unetv3_ebd2": UNetV3Embedding,
}


def list_models() -> list[str]:
    """Names that `build_model` knows, in order.

    Example:
        >>> list_models()
        ['dynunet', 'fpn_3d', 'mask_rcnn_r101_fpn', 'mask_rcnn_r50_fpn', 'mask_rcnn_tiny', 'mask_rcnn_x101_32x8d_fpn',
         'mediar_former', 'monai_unet', 'rsunet', 'segresnet', 'swin_unetr', 'unet2d_ebd', 'unet_2d', 'unet_3d',
         'unet_plus_3d', 'unet_residual_3d', 'unetr', 'unetv3', 'unetv3_ebd', 'unetv3_ebd2']
    """
    return sorted(MODELS)


def build_model(
    name: str,
    *,
    in_channels: int | None = None,
    out_channels: int | None = None,
    input_mean: float = 0.0,
    input_std: float = 1.0,
    **options: Any,
) -> nn.Module:
    """Build a network with fresh weights, drawn from torch's global generator.

    Args:
        name: one of `list_models()`.
        in_channels: channels of the image; None: what the network is made for, one unless it says otherwise.
        out_channels: channels of the prediction; None: likewise, two unless the network says otherwise.
        input_mean, input_std: the input x becomes (x - input_mean) / input_std before the first layer; the published
            networks take it as it is.
        options: further arguments of that network, for example `widths=(8, 12, 16)`.

    Returns:
        The network, in training mode, on the CPU: (N, in_channels, Z, Y, X) -> float32 probabilities
        (N, out_channels, Z, Y, X). Its attribute `min_divisor` says by what (Z, Y, X) must be divisible; where it has
        two numbers the network takes images (N, in_channels, Y, X). The `mask_rcnn_*` return objects, see `MaskRCNN`;
        `unetv3_ebd` wants a prior of the mask beside the image, and `unetv3` with `auxiliary=True` returns an
        `AuxiliaryOutput` in training mode.

    Raises:
        ImportError: the network needs a package that is not installed.
        ValueError: no such network, or it has no such option; the sentence names the nearest one.

    Example:
        >>> model = build_model("rsunet", out_channels=2)
        >>> sum(parameter.numel() for parameter in model.parameters()), model.min_divisor
        (1852610, (1, 16, 16))
    """
    if name not in MODELS:
        raise ValueError(f"There is no model '{name}'{_nearest(str(name), list_models())}.")
    builder = MODELS[name]
    own = [key for key in inspect.signature(builder).parameters if key not in ("in_channels", "out_channels")]
    valid = [*own, "input_mean", "input_std"]
    for key in options:
        if key not in own:
            raise ValueError(f"Model '{name}' has no option '{key}'{_nearest(key, valid)}.")
    channels = {"in_channels": in_channels, "out_channels": out_channels}
    network = builder(**{key: value for key, value in channels.items() if value is not None}, **options)
    if (input_mean, input_std) != (0.0, 1.0):
        InputStandardization(input_mean, input_std).attach(network)
    return network


def _nearest(word: str, candidates: Iterable[str]) -> str:
    candidates = sorted(candidates)
    close = difflib.get_close_matches(word, candidates, n=1, cutoff=0.5)
    return f" (did you mean '{close[0]}'?)" if close else f" (valid: {', '.join(candidates)})"
