"""A disk that fails at one step of all those in which something is written."""

import errno
import io
import itertools
import os
import threading

import pytest
from faults.sentences import as_sentence

REASONS = {errno.ENOSPC: "the disk is full", errno.EROFS: "read-only", errno.EACCES: "not writable for this user"}


class Disk:
    """Counts the steps that write below a folder; from step `fails_at` on they fail, renaming fails that once.

    (A full disk still renames and deletes, so whoever cleans up may rename back.)
    """

    def __init__(self, patch, folder, *, fails_at=None, code=errno.ENOSPC):
        self.folder, self.fails_at, self.code = str(folder), fails_at, code
        self.steps, self.lock = 0, threading.Lock()
        watched = (io, "open"), (io, "FileIO"), (os, "mkdir"), (os, "rename"), (os, "replace"), (os, "fsync")
        for owner, name in watched:
            patch.setattr(owner, name, self.watched(name, getattr(owner, name)))

    def watched(self, name, real):
        def call(first, *arguments, **options):
            if self.writes(name, first, *arguments, **options):
                with self.lock:
                    self.steps += 1
                    step = self.steps
                again = step > (self.fails_at or step) and name in ("open", "FileIO", "mkdir")
                if step == self.fails_at or again:
                    raise OSError(self.code, os.strerror(self.code), str(first))
            return real(first, *arguments, **options)

        return call

    def writes(self, name, first, mode="r", *_arguments, **options):
        if name == "fsync":
            return True
        if name == "mkdir" and os.path.isdir(first):
            return False
        if name in ("open", "FileIO") and not set("wax+") & set(str(options.get("mode", mode))):
            return False
        return not isinstance(first, int) and str(first).startswith(self.folder)


def check_refusal(error, code, folder):
    text = as_sentence(error)
    assert REASONS[code] in text
    assert str(folder) in text
    assert error.errno == code


def failing_steps(action, folder_of, recipe, stride):
    """Run the action again and again, failing at a later step each time, until it no longer reaches that step.

    Yields the folder and the error of each run, after checking that the error is one sentence with the reason.
    """
    for number, step in enumerate(itertools.count(1, stride)):
        folder, code = folder_of(step), list(REASONS)[number % len(REASONS)]
        with pytest.MonkeyPatch.context() as patch:
            disk = Disk(patch, folder, fails_at=step, code=code)
            try:
                action(folder, recipe)
            except OSError as error:
                check_refusal(error, code, folder)
            else:
                assert disk.steps < step, f"the failure of step {step} was overlooked"
                assert number > 2, "hardly anything is watched"
                return
        yield folder
