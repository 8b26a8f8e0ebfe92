"""Store predictions in few bits."""

from __future__ import annotations

import numpy as np
import torch

OUTPUT_DTYPES = ("uint8", "float16", "float32")
# Blending divides sums that carry float32 rounding: what should be 200 arrives as 199.9999. Far larger than that
# error, far smaller than a grey level.
_GREY_LEVEL_TOLERANCE = 2.0**-10
_RANGE_TOLERANCE = 1e-5


def check_output_dtype(dtype: str | type | np.dtype) -> str:
    """The dtype's name, if predictions can be stored in it.

    Raises:
        ValueError: it is not one of uint8, float16 and float32.
    """
    name = str(dtype) if isinstance(dtype, str) else np.dtype(dtype).name
    if name not in OUTPUT_DTYPES:
        raise ValueError(f"dtype must be one of {', '.join(OUTPUT_DTYPES)}, not {name!r}.")
    return name


def quantise(values: torch.Tensor, dtype: str) -> np.ndarray:
    """Float32 predictions as an array of `dtype`; `values` may be overwritten.

    "uint8" stores probabilities as floor(255 * p); a value within 1/1000 of a grey level below the next one counts
    as the next, because float32 rounding put it there.

    Raises:
        ValueError: values outside 0-1 for "uint8", or beyond 65504 for "float16".

    Example:
        >>> quantise(torch.tensor([0.0, 0.5, 0.999, 1.0]), "uint8")
        array([  0, 127, 254, 255], dtype=uint8)
    """
    if dtype == "float32":
        return values.numpy()
    low, high = (float(bound) for bound in torch.aminmax(values))
    if dtype == "float16":
        limit = float(np.finfo(np.float16).max)
        if low < -limit or high > limit:
            raise ValueError(f"Predictions from {low:g} to {high:g} do not fit float16: take dtype='float32'.")
        return values.half().numpy()
    if low < -_RANGE_TOLERANCE or high > 1 + _RANGE_TOLERANCE:
        raise ValueError(
            f"dtype='uint8' stores probabilities of 0-1, but the model's output runs from {low:g} to {high:g}: "
            "take dtype='float16' or 'float32', or end the model in a sigmoid."
        )
    return values.mul_(255).add_(_GREY_LEVEL_TOLERANCE).clamp_(0, 255).to(torch.uint8).numpy()
