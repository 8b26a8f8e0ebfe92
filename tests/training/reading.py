"""What a training left, in a form that can be compared."""

import torch
from safetensors.torch import load_file

from emlib.training import read_training_log
from emlib.training.checkpoint import list_checkpoints


def weights_of(folder):
    return load_file(list_checkpoints(folder)[0] / "weights.safetensors")


def identical(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def rows_of(folder):
    """The table without its only column that no run repeats."""
    log = read_training_log(folder / "training.csv")
    assert all(speed > 0 for speed in log.pop("iterations_per_second"))
    return log
