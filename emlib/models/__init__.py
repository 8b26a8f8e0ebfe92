"""Networks: one file per architecture, and one explicit table from name to builder.

Every network returns float32 of shape (N, C, Z, Y, X), or (N, C, Y, X) if it takes images, and says in `min_divisor`
by what each axis of its input must be divisible: three numbers for volumes, two for images. What it returns are
probabilities after a sigmoid or a softmax; only `mediar_former` has two channels of flow before its probability,
`unetv3_ebd2` has an embedding after it, `unetv3` ends in a tanh if asked to and may return an `AuxiliaryOutput` in
training, and the `mask_rcnn_*` return losses or objects (`detect`).
"""

from emlib.models.description import LayerRow, count_parameters, describe_model
from emlib.models.mask_rcnn_anchor_quality import AnchorQuality, anchor_quality
from emlib.models.mask_rcnn_detection import Detections, detect
from emlib.models.mask_rcnn_limits import DetectionLimits, LimitsReached, limits_for
from emlib.models.mask_rcnn_pasting import ObjectMask, paste_masks
from emlib.models.mask_rcnn_sampling import SampledRegions, sampled_regions
from emlib.models.mask_rcnn_targets import detection_target
from emlib.models.mask_rcnn_weights import load_backbone_weights
from emlib.models.mediar_weights import load_mediar_weights, mediar_state_dict
from emlib.models.table import build_model, list_models
from emlib.models.unetv3 import AuxiliaryOutput
from emlib.models.unetv3_ebd import noisy_prior

__all__ = [
    "AnchorQuality",
    "AuxiliaryOutput",
    "DetectionLimits",
    "Detections",
    "LayerRow",
    "LimitsReached",
    "ObjectMask",
    "SampledRegions",
    "anchor_quality",
    "build_model",
    "count_parameters",
    "describe_model",
    "detect",
    "detection_target",
    "limits_for",
    "list_models",
    "load_backbone_weights",
    "load_mediar_weights",
    "mediar_state_dict",
    "noisy_prior",
    "paste_masks",
    "sampled_regions",
]
