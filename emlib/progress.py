"""A progress bar in a terminal or notebook, a plain line now and then in a log."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from tqdm.auto import tqdm

Item = TypeVar("Item")
SECONDS_BETWEEN_LINES = 10.0


def progress(
    items: Iterable[Item],
    *,
    label: str,
    total: int | None = None,
    unit: str = "it",
    initial: int = 0,
    show: bool = True,
    note: Callable[[], str] | None = None,
) -> Iterator[Item]:
    """Iterate over `items` and show how far it is, with rate and time left.

    In a terminal or a notebook this is a tqdm bar that updates in place. Elsewhere (a log file, a batch job, a
    notebook run by papermill, which sets EMLIB_BATCH=1) it prints one line at most every ten seconds, because a bar
    redrawn into a file is unreadable.

    Args:
        items: what to iterate over.
        label: what is being done, for example "predicting".
        total: number of items, if `items` has no length.
        unit: what one item is called.
        initial: items that were done before (a resumed run).
        show: False is silent.
        note: gives a few words to put behind the figures, asked anew each time they are shown.

    Example:
        >>> list(progress([1, 2, 3], label="counting", show=False))
        [1, 2, 3]
    """
    if not show:
        yield from items
        return
    if total is None and hasattr(items, "__len__"):
        total = len(items) + initial
    if _somebody_is_watching():
        bar = tqdm(items, desc=label, total=total, unit=unit, initial=initial, dynamic_ncols=True)
        for item in bar:
            if note is not None:
                bar.set_postfix_str(note(), refresh=False)
            yield item
        return
    started = last = time.monotonic()
    done = initial
    for item in items:
        yield item
        done += 1
        now = time.monotonic()
        if now - last >= SECONDS_BETWEEN_LINES:
            last = now
            words = note() if note is not None else ""
            line = _line(label, done, total, unit, (done - initial) / (now - started))
            print(f"{line}, {words}" if words else line, flush=True)


def _somebody_is_watching() -> bool:
    if os.environ.get("EMLIB_BATCH"):
        return False
    return sys.stderr.isatty() or "ipykernel" in sys.modules


def _line(label: str, done: int, total: int | None, unit: str, rate: float) -> str:
    if total is None:
        return f"{label}: {done} {unit}, {rate:.2f} {unit}/s"
    left = (total - done) / rate if rate > 0 else float("inf")
    share = 100 * done / max(total, 1)
    return f"{label}: {done}/{total} {unit} ({share:.0f} %), {rate:.2f} {unit}/s, {left:.0f} s left"
