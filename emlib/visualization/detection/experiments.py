"""A table of experiments as a figure: the published score of each run, and the one measured here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from emlib.visualization.colors import BLUE, ORANGE
from emlib.visualization.figures import NotebookFigure, new_figure, styled

SCORES = ("published", "measured")
COLORS = {"published": BLUE, "measured": ORANGE}
LINE = 0.2  # inches of a run


@styled
def show_experiments(
    rows: Sequence[Mapping[str, Any]],
    *,
    within: str = "iterations",
    published: str = "published score",
    measured: str = "measured AP",
    title: str = "",
) -> NotebookFigure:
    """One line a run: left its published score, right the measured one, each on its own scale.

    Runs stand together that differ in one setting only. The heading of the first, largest group names all settings, the
    others name what is different from these. Rings are the best run of each side.

    Args:
        rows: mappings with `run`, `published` and `measured` (numbers or None); all other keys are settings, such as
            backbone, roi_batch, anchors, iterations and short_side. What `Experiment.row` gives.
        within: the setting that differs inside a group.
        published, measured: what the two scores are.
        title: what to see.

    Raises:
        ValueError: no rows, a row without one of these keys, rows of different settings, or no score at all.

    Example:
        >>> rows = [{"run": f"run_0{n}", "anchors": "32-512", "iterations": 1000 * n, "published": n / 9,
        ...          "measured": None} for n in (1, 2)]
        >>> figure = show_experiments(rows)
        >>> [words.get_text() for words in figure.axes[0].get_yticklabels()]
        ['anchors 32-512', '01: 1,000 iterations', '02: 2,000 iterations']
    """
    rows = list(rows)
    _check_rows(rows, within)
    settings = [key for key in rows[0] if key not in ("run", within, *SCORES)]
    groups = _grouped(rows, settings, within)
    labels, places, headings = [], {}, []
    for words, members in groups:
        headings.append(len(labels))
        labels.append(words)
        for member in members:
            places[member] = len(labels)
            labels.append(_label(rows[member], within))
    sides = [side for side in SCORES if any(row[side] is not None for row in rows)]
    if not sides:
        raise ValueError("No row has a published or a measured score.")
    figure, axes = new_figure(1, len(sides), size=(9.0 if len(sides) > 1 else 7.0, 0.75 + LINE * len(labels)))
    for ax, side in zip(axes[0], sides, strict=True):
        known = {place: float(rows[member][side]) for member, place in places.items() if rows[member][side] is not None}
        for place in known:
            ax.axhline(place, color="0.92", linewidth=0.8, zorder=0)
        ax.plot(list(known.values()), list(known), linestyle="none", marker="o", markersize=5, color=COLORS[side])
        best = max(known, key=known.__getitem__)
        ax.plot(
            known[best], best, marker="o", linestyle="none", markersize=10, markerfacecolor="none", color=COLORS[side]
        )
        low, high = min(known.values()), max(known.values())
        room = (high - low) or abs(high) or 1.0
        ax.set_xlim(low - 0.08 * room, high + 0.3 * room)
        for place, value in known.items():
            ax.annotate(f"{value:.3f}", (value, place), (8, 0), textcoords="offset points", va="center", fontsize=8)
        ax.set_ylim(len(labels) - 0.4, -0.6)
        ax.set_yticks(range(len(labels)), labels if ax is axes[0, 0] else [""] * len(labels))
        ax.tick_params(axis="y", length=0)
        for place in headings if ax is axes[0, 0] else ():
            ax.get_yticklabels()[place].set_fontweight("bold")
        ax.set_xlabel({"published": published, "measured": measured}[side])
        lacking = len(rows) - len(known)
        ax.set_title(f"{side}: {len(known)} of {len(rows)} runs" if lacking else side)
    if title:
        figure.suptitle(title)
    return figure


def _check_rows(rows: list[Mapping[str, Any]], within: str) -> None:
    if not rows:
        raise ValueError("show_experiments needs at least one row.")
    for number, row in enumerate(rows):
        missing = [key for key in ("run", within, *SCORES) if key not in row]
        if missing:
            raise ValueError(f"Row {number} lacks {', '.join(missing)}; it has {', '.join(map(str, row))}.")
        if set(row) != set(rows[0]):
            raise ValueError(f"Row {number} has the keys {', '.join(row)}, but the first has {', '.join(rows[0])}.")


def _grouped(rows: list[Mapping[str, Any]], settings: list[str], within: str) -> list[tuple[str, list[int]]]:
    """(heading, rows) of the runs that agree in all settings but one; the largest group first, else as given."""
    members: dict[tuple[Any, ...], list[int]] = {}
    for number, row in enumerate(rows):
        members.setdefault(tuple(_plain(row[key]) for key in settings), []).append(number)
    usual = Counter({key: len(own) for key, own in members.items()}).most_common(1)[0][0]
    groups = []
    for values, own in sorted(members.items(), key=lambda group: group[0] != usual):
        different = [place for place, value in enumerate(values) if values == usual or value != usual[place]]
        words = ", ".join(f"{_word(settings[place])} {values[place]}" for place in different)
        groups.append((words or "runs", sorted(own, key=lambda number: _order(rows[number][within]))))
    return groups


def _label(row: Mapping[str, Any], within: str) -> str:
    value = row[within]
    shown = f"{value:,}" if isinstance(value, int | float) else _plain(value)
    return f"{str(row['run']).removeprefix('run_')}: {shown} {_word(within)}"


def _word(key: str) -> str:
    return {"roi_batch": "ROI batch"}.get(key, key.replace("_", " "))


def _plain(value: Any) -> str:
    if value is None:
        return "not set"
    if isinstance(value, list | tuple):
        return f"{value[0]}-{value[-1]}" if len(value) > 1 else ", ".join(map(str, value))
    return str(value)


def _order(value: Any) -> tuple[bool, Any]:
    """Numbers by their size, before all else."""
    number = isinstance(value, int | float)
    return (not number, value if number else str(value))
