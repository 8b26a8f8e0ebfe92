"""Run `emlib` in this process and look at what it prints and at its exit status."""

import contextlib
import io
import re
import sys
from dataclasses import dataclass

import pytest

from emlib import cli

TRACK = "1_mitochondria_contours"
TINY = (
    "model={name: rsunet, widths: [4, 6], input_mean: 0.0, input_std: 1.0}",
    "data={source: files, image: image.h5, labels: labels.h5, voxel_size: [30.0, 8.0, 8.0]}",
    "data.split={train: [0, 6], validation: [6, 8], test: [8, 12]}",
    "training.window=[4, 16, 16]",
    "training.iterations=2",
    "training.batch_size=1",
    "training.validate_every=0",
    "training.image_every=0",
    "inference={window: [4, 16, 16], augment: null}",
)


@dataclass(frozen=True)
class Answer:
    """What a command left: exit status, standard output, standard error."""

    status: int
    out: str
    err: str


def emlib(*arguments):
    """Run `emlib` with these arguments."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        patch.setattr(sys, "argv", ["emlib", *map(str, arguments)])
        patch.setenv("COLUMNS", "200")
        with pytest.raises(SystemExit) as left:
            cli.main()
    return Answer(left.value.code, out.getvalue(), err.getvalue())


def said(*arguments):
    """What a command that must succeed prints."""
    answer = emlib(*arguments)
    assert answer.status == 0, answer.err
    return answer.out


def refused(*arguments):
    """The one line on standard error of a command that must fail with status 2."""
    answer = emlib(*arguments)
    assert answer.status == 2, answer
    assert answer.out == ""
    assert re.fullmatch(r"emlib: [^\n]+\n", answer.err), answer.err
    assert "[Errno" not in answer.err
    return answer.err


def settings(*changes):
    return [part for text in (*TINY, *changes) for part in ("--set", text)]
