"""Networks: one file per architecture, and one explicit table from name to builder.

Every network returns float32 of shape (N, C, Z, Y, X), or (N, C, Y, X) if it takes images, and says in `min_divisor`
by what each axis of its input must be divisible: three numbers for volumes, two for images. What it returns are
probabilities after a sigmoid or a softmax; only `mediar_former` has two channels of flow before its probability.
"""

from emlib.models.description import LayerRow, count_parameters, describe_model
from emlib.models.mediar_weights import load_mediar_weights, mediar_state_dict
from emlib.models.table import build_model, list_models

__all__ = [
    "LayerRow",
    "build_model",
    "count_parameters",
    "describe_model",
    "list_models",
    "load_mediar_weights",
    "mediar_state_dict",
]
