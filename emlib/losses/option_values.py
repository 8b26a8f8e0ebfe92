"""What values the options of losses may have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isfinite
from typing import Any


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


_NOT_NEGATIVE = (lambda value: _number(value) and value >= 0, "a number of at least 0")
_FLAG = (lambda value: isinstance(value, bool), "true or false")
_VALUES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "smooth": (lambda value: _number(value) and value > 0, "a number above 0"),
    "power": (lambda value: _whole(value) and value in (1, 2), "1 or 2"),
    "kept": (lambda value: _whole(value) and value >= 1, "a whole number of at least 1"),
    "threshold": (lambda value: _number(value) and 0 <= value <= 1, "a number from 0 to 1"),
    "background": _FLAG,
    **dict.fromkeys(("factor", "mask_factor", "delta_var", "delta_dist", "alpha", "beta", "gamma"), _NOT_NEGATIVE),
}


def check_option(loss: str, key: str, value: object, words: Sequence[str] = ()) -> None:
    """Refuse a value that the option of this name cannot have; `words` are those of an option that takes words.

    Raises:
        ValueError: it is not one of the words, or not in the range of the option.

    Example:
        >>> check_option("OhemBCE", "kept", 0)
        Traceback (most recent call last):
        ...
        ValueError: The option kept of OhemBCE is 0, but a whole number of at least 1 was expected.
    """
    if words:
        fits, expected = value in words, " or ".join(f"'{word}'" for word in words)
    elif key in _VALUES:
        fits, expected = _VALUES[key][0](value), _VALUES[key][1]
    else:
        return
    if not fits:
        raise ValueError(f"The option {key} of {loss} is {value!r}, but {expected} was expected.")
