"""Networks: one file per architecture, and one explicit table from name to builder.

Every network returns probabilities (float32, after a sigmoid) of shape (N, C, Z, Y, X) and says in `min_divisor`
by what each axis of its input must be divisible.
"""

from emlib.models.description import LayerRow, count_parameters, describe_model
from emlib.models.table import build_model, list_models

__all__ = ["LayerRow", "build_model", "count_parameters", "describe_model", "list_models"]
