"""The course of a training run, from the table that the training loop writes."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from emlib.visualization.colors import BLUE, GREEN, LINE_COLORS, VERMILLION
from emlib.visualization.figures import NotebookFigure, new_figure, styled

PART_PREFIX = "loss/"
Table = Mapping[str, Sequence[float]]


@styled
def show_loss_curve(
    source: str | Path | Table | Sequence[Mapping[str, Any]],
    *,
    smooth: float = 0.9,
    parts: bool = True,
    title: str = "",
) -> NotebookFigure:
    """Training loss (raw, faint; smoothed, bold), validation loss and learning rate over the iterations.

    The smoothed curve is a moving average with exponential weights to both sides, so it does not lag behind: with
    `smooth` = 0.9 an entry ten entries away counts a third of the nearest.

    Args:
        source: path of a CSV with the columns iteration, loss, learning_rate, and, where known, validation_loss and
            `loss/<name>` for each part of the loss; or the same as a mapping of columns or a list of rows.
            Empty cells are gaps.
        smooth: 0 (none) to below 1.
        parts: draw the parts of the loss in a panel of their own, if the table has more than one.
        title: what to see.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no entries, a missing column, a cell that is not a number, or `smooth` out of range.

    Example:
        >>> figure = show_loss_curve({"iteration": [1, 2, 3], "loss": [3.0, 2.0, 1.5]}, smooth=0.5)
        >>> [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
        ['training, each entry', 'training, smoothed']
    """
    if not 0 <= smooth < 1:
        raise ValueError(f"smooth must be at least 0 and below 1, not {smooth}.")
    table = read_loss_table(source)
    named = [name for name in table if name.startswith(PART_PREFIX) and np.isfinite(table[name]).any()]
    show_parts = parts and len(named) > 1
    has_rate = "learning_rate" in table and np.isfinite(table["learning_rate"]).any()
    panels = 1 + int(show_parts) + int(has_rate)
    ratios = [2.0, *([1.4] if show_parts else []), *([1.0] if has_rate else [])]
    figure, axes = new_figure(1, panels, size=(min(3.6 + 2.6 * panels, 9.5), 3.0), ratios=ratios)
    _draw_losses(axes[0, 0], table, smooth)
    if show_parts:
        _draw_parts(axes[0, 1], table, named, smooth)
    if has_rate:
        _draw_rate(axes[0, -1], table)
    for ax in axes[0]:
        ax.set_xlabel("iteration")
        ax.grid(axis="y", color="0.9", linewidth=0.8)
        ax.set_axisbelow(True)
    if title:
        figure.suptitle(title)
    return figure


def read_loss_table(source: str | Path | Table | Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """The columns of a loss table as float arrays, empty cells as NaN.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no entries, a missing column, or a cell that is not a number.

    Example:
        >>> read_loss_table([{"iteration": 1, "loss": "0.5", "validation_loss": ""}])["validation_loss"]
        array([nan])
    """
    where = "The loss table"
    if isinstance(source, str | Path):
        where = f"The loss table {source}"
        if not Path(source).is_file():
            raise FileNotFoundError(f"There is no loss table {source}; the training stage writes it.")
        with open(source, newline="", encoding="utf-8") as stream:
            source = list(csv.DictReader(stream))
    if isinstance(source, Mapping):
        columns = {name: list(values) for name, values in source.items()}
    else:
        rows = list(source)
        names = dict.fromkeys(name for row in rows for name in row)
        columns = {name: [row.get(name) for row in rows] for name in names}
    for name in ("iteration", "loss"):
        if not len(columns.get(name, ())):
            found = ", ".join(columns) or "none"
            raise ValueError(f"{where} has no entries in the column {name!r}; its columns are: {found}.")
    lengths = {len(values) for values in columns.values()}
    if len(lengths) != 1:
        raise ValueError(f"{where} has columns of different lengths: {', '.join(map(str, sorted(lengths)))}.")
    return {name: _to_numbers(values, name, where) for name, values in columns.items()}


def smooth_curve(values: np.ndarray, weight: float) -> np.ndarray:
    """Moving average whose weights fall by `weight` an entry, to both sides, so that it does not lag; NaN is left out.

    Example:
        >>> smooth_curve(np.array([1.0, 3.0, 5.0]), 0.5).tolist()
        [2.142857142857143, 3.0, 3.857142857142857]
    """
    known = np.isfinite(values)
    numbers, mass = np.where(known, values, 0.0), known.astype(float)
    with np.errstate(invalid="ignore"):
        return _spread(numbers, weight) / _spread(mass, weight)


def _spread(values: np.ndarray, weight: float) -> np.ndarray:
    """Sum over j of weight ** |i - j| * values[j], in two passes."""
    forward, backward = values.copy(), values.copy()
    for index in range(1, len(values)):
        forward[index] += weight * forward[index - 1]
        backward[-1 - index] += weight * backward[-index]
    return forward + backward - values


def _to_numbers(values: Sequence[Any], name: str, where: str) -> np.ndarray:
    try:
        return np.array([float("nan") if value in ("", None) else float(value) for value in values])
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where} has a cell in the column {name!r} that is not a number: {error}.") from error


def _draw_losses(ax: Any, table: dict[str, np.ndarray], smooth: float) -> None:
    iteration, loss = table["iteration"], table["loss"]
    ax.plot(iteration, loss, color=BLUE, alpha=0.3, linewidth=0.8, label="training, each entry")
    if smooth > 0:
        ax.plot(iteration, smooth_curve(loss, smooth), color=BLUE, linewidth=2, label="training, smoothed")
    validation = table.get("validation_loss")
    if validation is not None and np.isfinite(validation).any():
        known = np.isfinite(validation)
        ax.plot(
            iteration[known],
            validation[known],
            color=VERMILLION,
            marker="o",
            markersize=4,
            linestyle="--",
            label="validation",
        )
    positive = loss[np.isfinite(loss) & (loss > 0)]
    if positive.size == np.isfinite(loss).sum() and positive.size and positive.max() > 20 * positive.min():
        ax.set_yscale("log")
    ax.set_ylabel("loss")
    ax.set_title("loss")
    ax.legend(loc="upper right")


def _draw_parts(ax: Any, table: dict[str, np.ndarray], names: Sequence[str], smooth: float) -> None:
    for index, name in enumerate(names):
        color, style = LINE_COLORS[(index + 1) % len(LINE_COLORS)], ("-", "--", "-.", ":")[index % 4]
        curve = smooth_curve(table[name], smooth)
        ax.plot(table["iteration"], curve, color=color, linestyle=style, label=name.removeprefix(PART_PREFIX))
    ax.set_title("parts of the loss, smoothed" if smooth > 0 else "parts of the loss")
    ax.legend(loc="upper right")


def _draw_rate(ax: Any, table: dict[str, np.ndarray]) -> None:
    ax.plot(table["iteration"], table["learning_rate"], color=GREEN)
    ax.set_title("learning rate")
    ax.ticklabel_format(axis="y", style="sci", scilimits=(-2, 2))
    ax.set_ylim(bottom=0)
