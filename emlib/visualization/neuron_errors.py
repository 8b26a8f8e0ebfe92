"""Bars of the neurons that are segmented worst: how much of the variation of information is theirs."""

from __future__ import annotations

from typing import Any

from emlib.visualization.colors import VERMILLION, YELLOW
from emlib.visualization.figures import NotebookFigure, new_figure, styled

SPLIT_COLOR, MERGE_COLOR = VERMILLION, YELLOW  # close to those of the points in Neuroglancer


@styled
def show_neuron_errors(errors: Any, *, most: int = 12, title: str = "") -> NotebookFigure:
    """The worst neurons as bars of their split and merge contributions to the variation of information.

    Args:
        errors: what `emlib.evaluation.neuron_errors` returned: its `neurons` have neuron, segments, partners,
            voi_split and voi_merge, the worst first.
        most: number of bars.
        title: what to see.

    Raises:
        TypeError: `errors` has no `neurons`.
        ValueError: no neuron, or `most` below 1.

    Example:
        >>> from types import SimpleNamespace
        >>> row = SimpleNamespace(neuron=7, segments=3, partners=(9,), voi_split=0.2, voi_merge=0.1)
        >>> figure = show_neuron_errors(SimpleNamespace(neurons=[row]))
        >>> [text.get_text() for text in figure.axes[0].get_yticklabels()]
        ['neuron 7']
    """
    if not hasattr(errors, "neurons"):
        raise TypeError("errors must have the attribute neurons, as emlib.evaluation.neuron_errors returns it.")
    if most < 1:
        raise ValueError(f"most must be at least 1, not {most}.")
    rows = list(errors.neurons)
    if not rows:
        raise ValueError("There is no neuron to draw.")
    shown = rows[:most]
    names = [f"neuron {row.neuron}" for row in shown]
    split, merge = [row.voi_split for row in shown], [row.voi_merge for row in shown]
    figure, axes = new_figure(size=(8.0, 1.3 + 0.24 * len(names)))
    ax = axes[0, 0]
    ax.barh(names, split, color=SPLIT_COLOR, edgecolor="0.3", linewidth=0.6, label="split")
    ax.barh(names, merge, left=split, color=MERGE_COLOR, edgecolor="0.3", linewidth=0.6, label="merge")
    longest = max(one + other for one, other in zip(split, merge, strict=True)) or 1.0
    for place, row in enumerate(shown):
        ax.text(row.voi_split + row.voi_merge + 0.01 * longest, place, _words(row), va="center", fontsize=8)
    ax.set_xlim(0, 1.45 * longest)
    ax.invert_yaxis()
    ax.set_xlabel("part of the variation of information (bits)")
    ax.legend(loc="lower right")
    whole = [sum(row.voi_split for row in rows), sum(row.voi_merge for row in rows)]
    total = f"VOI split {whole[0]:.3f} + merge {whole[1]:.3f} bits"
    if len(shown) < len(rows):
        total += f"; the {len(shown)} worst of {len(rows)} neurons make {sum(split) + sum(merge):.3f}"
    ax.set_title(f"{title}\n{total}" if title else total)
    return figure


def _words(row: Any) -> str:
    pieces = "no segment" if row.segments == 0 else "1 segment" if row.segments == 1 else f"{row.segments} segments"
    if not row.partners:
        return pieces
    named = ", ".join(str(one) for one in row.partners[:3]) + (" ..." if len(row.partners) > 3 else "")
    return f"{pieces}, merged with {named}"
