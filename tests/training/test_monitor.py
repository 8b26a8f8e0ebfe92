"""The table of a training: rows that survive, rows that are dropped."""

import csv
import errno

import pytest

from emlib.training.monitor import TrainingTable, read_training_log


def fill(path, until=0, rows=(1, 2, 3)):
    table = TrainingTable(path, ["mask/WeightedBCE"], until=until)
    for iteration in rows:
        table.add({"iteration": iteration, "loss": 1 / (iteration + 2), "learning_rate": 1e-4})
    return table


def test_numbers_read_back_exactly_and_gaps_are_none(tmp_path):
    fill(tmp_path / "training.csv")
    log = read_training_log(tmp_path / "training.csv")
    assert log["loss"] == [1 / 3, 1 / 4, 1 / 5]
    assert log["validation_loss"] == [None] * 3
    with (tmp_path / "training.csv").open() as stream:
        assert [row["iteration"] for row in csv.DictReader(stream)] == ["1", "2", "3"]


def test_a_new_figure_becomes_a_new_column(tmp_path):
    table = fill(tmp_path / "training.csv")
    table.add({"iteration": 4, "ap75": 0.5})
    table.add({"iteration": 5, "loss": 0.25})
    log = read_training_log(tmp_path / "training.csv")
    assert log["ap75"] == [None, None, None, 0.5, None]
    assert log["loss"][3:] == [None, 0.25]


def test_a_resumed_table_drops_later_and_cut_off_rows(tmp_path):
    path = tmp_path / "training.csv"
    table = fill(path)
    table.add({"iteration": 4, "ap75": 0.5})
    whole = path.read_text()
    with path.open("a") as stream:
        stream.write("5,0.12")
    fill(path, until=2, rows=(3,)).add({"iteration": 4, "ap75": 0.5})
    assert path.read_text() == whole


def test_no_log_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no training log"):
        read_training_log(tmp_path / "training.csv")


def test_a_full_disk_is_said(tmp_path, monkeypatch):
    table = fill(tmp_path / "training.csv")

    def full(*_arguments, **_options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pathlib.Path.open", full)
    with pytest.raises(OSError, match=r"Could not write .*training\.csv: the disk is full"):
        table.add({"iteration": 9})
