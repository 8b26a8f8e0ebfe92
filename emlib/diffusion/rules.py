"""The published ways to turn a cell into a flow field, by name."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches


@dataclass(frozen=True)
class DiffusionRule:
    """What the published implementations do differently.

    Attributes:
        centre: where heat is added: the cell's pixel nearest to the "median" or to the "mean" of its pixels, or the
            "rounded-mean" (half to even, counted from the cell's box), or the pixel nearest to it if that lies outside.
        margin: pixels added to each side of the box before it gives the number of steps.
        own_steps: every cell has its own number of steps; otherwise all have as many as the largest needs.
        logarithm: the flow is the gradient of ln(1 + heat) instead of the heat.
        leaks: the published gradient reads the heat of touching cells too.
        epsilon: what the published code adds to the length of the gradient before dividing by it.
    """

    centre: str
    margin: int
    own_steps: bool
    logarithm: bool
    leaks: bool
    epsilon: float


DIFFUSION_RULES = {
    "cellpose3": DiffusionRule("mean", 2, own_steps=True, logarithm=False, leaks=False, epsilon=1e-60),
    "mediar": DiffusionRule("median", 1, own_steps=False, logarithm=True, leaks=True, epsilon=1e-20),
    "cellpose4": DiffusionRule("rounded-mean", 1, own_steps=False, logarithm=False, leaks=True, epsilon=1e-60),
}


def diffusion_rule(name: str) -> DiffusionRule:
    """The rule of this name.

    Raises:
        ValueError: there is none.

    Example:
        >>> diffusion_rule("mediar").centre
        'median'
    """
    if not isinstance(name, str) or name not in DIFFUSION_RULES:
        near = get_close_matches(str(name), DIFFUSION_RULES, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        raise ValueError(f"rule must be one of {', '.join(map(repr, DIFFUSION_RULES))}, got {name!r}{hint}")
    return DIFFUSION_RULES[name]
