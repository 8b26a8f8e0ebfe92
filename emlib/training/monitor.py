"""What a training leaves to look at: `training.csv`, and TensorBoard scalars and pictures."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

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


class Pictures:
    """TensorBoard event files beside the table, in `tensorboard/`.

    Args:
        folder: the training's output folder.
        start: iterations done before; later events of an interrupted run are hidden.
    """

    def __init__(self, folder: Path, *, start: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.path = folder / "tensorboard"
        try:
            self.writer = SummaryWriter(str(self.path), purge_step=start + 1 if start else None)
        except OSError as error:
            raise explain_write_error(error, self.path) from error

    def add_scalars(self, row: Mapping[str, Any]) -> None:
        """One point on the curve of every figure of a row of the table."""
        try:
            for name, value in row.items():
                if name != "iteration":
                    self.writer.add_scalar(name, value, row["iteration"])
        except OSError as error:
            raise explain_write_error(error, self.path) from error

    def add_sample(self, iteration: int, image: torch.Tensor, target: torch.Tensor, prediction: torch.Tensor) -> None:
        """A picture of one sample's central section: image, then all targets, then all predictions.

        Args:
            image, target, prediction: (C, Z, Y, X) in [0, 1].
        """
        maps = torch.cat([tensor.detach().float().cpu() for tensor in (image, target, prediction)])
        sections = maps[:, maps.shape[1] // 2].clamp(0, 1)
        try:
            self.writer.add_image("sample", torch.cat(list(sections), dim=-1), iteration, dataformats="HW")
        except OSError as error:
            raise explain_write_error(error, self.path) from error

    def close(self) -> None:
        """Write down what is still waiting.

        Raises:
            OSError: it could not be written.
        """
        try:
            self.writer.close()
        except OSError as error:
            raise explain_write_error(error, self.path) from error
