"""The table of a training: `training.csv`."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from emlib.atomic import explain_write_error, write_text

FIRST_COLUMNS = ("iteration", "loss", "learning_rate", "validation_loss")
RATE = "iterations_per_second"


def read_training_log(path: str | Path) -> dict[str, list[float | None]]:
    """The columns of a `training.csv`: name -> one number per row, None where nothing was measured.

    Raises:
        FileNotFoundError: there is no such file.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"There is no training log {path}; train first.")
    rows = read_rows(path)
    names = list(rows[0]) if rows else []
    return {name: [float(row[name]) if row[name] else None for row in rows] for name in names}


def read_rows(path: str | Path) -> list[dict[str, str]]:
    """Rows of a `training.csv` as texts, without a last row that was cut off; no file, no rows."""
    path = Path(path)
    if not path.is_file():
        return []
    whole, _, _cut_off = path.read_text(encoding="utf-8").rpartition("\n")
    return [row for row in csv.DictReader(io.StringIO(whole)) if None not in row and None not in row.values()]


def _as_text(value: float | int) -> str:
    # repr of a float is the shortest text that reads back as the same number.
    return str(int(value)) if isinstance(value, int) else repr(float(value))


def training_seconds(table: Mapping[str, Sequence[float | None]]) -> float:
    """Wall time of all iterations of a training, however often it was interrupted: without what lay in between.

    Args:
        table: columns iteration and iterations_per_second, as `read_training_log` gives them.

    Example:
        >>> training_seconds({"iteration": [10, 30], "iterations_per_second": [5.0, 4.0]})
        7.0
    """
    pairs = zip([0, *table["iteration"]], table["iteration"], table[RATE], strict=False)
    return sum((now - before) / rate for before, now, rate in pairs if rate)


class TrainingTable:
    """`training.csv`: one row per logged iteration, appended as it happens; empty where nothing was measured.

    Columns: iteration (updates done), loss (mean since the row before), learning_rate, validation_loss, one per part
    of the loss ("mask/WeightedBCE", before its weight), iterations_per_second, then whatever the evaluation measures.

    Args:
        path: the file.
        parts: names of the parts of the loss.
        until: rows up to this iteration are kept (a resumed run), later ones are dropped.
    """

    def __init__(self, path: Path, parts: Iterable[str], *, until: int) -> None:
        self.path = path
        self.columns = [*FIRST_COLUMNS, *parts, RATE]
        self.rows = [row for row in read_rows(path) if int(row["iteration"]) <= until]
        self.columns += [key for key in (self.rows[0] if self.rows else ()) if key not in self.columns]
        self._rewrite()

    def add(self, row: Mapping[str, float | int]) -> None:
        """Append one row; a new kind of figure rewrites the file with one more column."""
        text = {key: _as_text(value) for key, value in row.items()}
        new = [key for key in text if key not in self.columns]
        self.columns += new
        self.rows.append({key: text.get(key, "") for key in self.columns})
        if new:
            self._rewrite()
            return
        try:
            with self.path.open("a", encoding="utf-8", newline="") as stream:
                stream.write(self._format([self.rows[-1]]))
        except OSError as error:
            raise explain_write_error(error, self.path) from error

    def flush_to_disk(self) -> None:
        """Make sure that all rows outlive a crash; called before a checkpoint that counts on them.

        Raises:
            OSError: the disk is full.
        """
        try:
            with self.path.open("rb") as stream:
                os.fsync(stream.fileno())
        except OSError as error:
            raise explain_write_error(error, self.path) from error

    def _rewrite(self) -> None:
        write_text(self.path, self._format([{key: key for key in self.columns}, *self.rows]))

    def _format(self, rows: Iterable[Mapping[str, str]]) -> str:
        text = io.StringIO()
        writer = csv.DictWriter(text, self.columns, restval="", lineterminator="\n")
        writer.writerows(rows)
        return text.getvalue()
