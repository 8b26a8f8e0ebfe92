"""Is a figure inside its allowed band? Said by position, colour and a word."""

from __future__ import annotations

import math

from emlib.visualization.colors import GREEN, VERMILLION
from emlib.visualization.figures import NotebookFigure, new_figure, styled


@styled
def show_band(value: float, low: float, high: float, *, name: str, title: str = "") -> NotebookFigure:
    """A small horizontal bar: the allowed band, and your figure inside or outside it.

    Args:
        value: the figure reached; NaN counts as outside.
        low: lower end of the band, included.
        high: upper end, included.
        name: what the figure is called.
        title: what to see; default name, value, band and verdict.

    Raises:
        ValueError: `low` is larger than `high`, or one of them is not finite.

    Example:
        >>> show_band(0.71, 0.6, 0.8, name="AP-75").axes[0].get_title()
        'AP-75 = 0.71: inside its band 0.6 to 0.8'
    """
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise ValueError(f"A band needs a lower and a higher finite end; this one is {low} to {high}.")
    inside = low <= value <= high
    color, word = (GREEN, "inside") if inside else (VERMILLION, "outside")
    figure, axes = new_figure(size=(6.0, 1.15))
    ax = axes[0, 0]
    ax.axvspan(low, high, color="0.85")
    ends = [low, high, *([value] if math.isfinite(value) else [])]
    reach = max(max(ends) - min(ends), 1e-9 * max(abs(low), abs(high)), 1e-12)
    ax.set_xlim(min(ends) - 0.15 * reach, max(ends) + 0.15 * reach)
    if math.isfinite(value):
        ax.plot([value], [0.5], marker="D" if inside else "X", markersize=11, color=color, clip_on=False)
        ax.axvline(value, color=color, linewidth=2)
    ax.set_ylim(0, 1)
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    # The verdict is worked out on the exact figure, so it is written with the digits that show why.
    digits = next((n for n in range(3, 17) if (low <= float(f"{value:.{n}g}") <= high) == inside), 17)
    ax.set_title(title or f"{name} = {value:.{digits}g}: {word} its band {low:g} to {high:g}", color=color)
    return figure
