"""What every refusal has to be: one sentence of ours, and a folder as it was before."""

from contextlib import contextmanager
from pathlib import Path

import pytest

# Words of the operating system, of Python and of libraries that no user should have to read.
RAW = ("[Errno", "Traceback", "object at 0x", "sblock", "synchronously read", "os error", "enforce fail", "Stored: b'")


def as_sentence(error: BaseException) -> str:
    """The error's text, after checking that it is one line that ends like a sentence and is not a library's own."""
    text = str(error)
    assert text.endswith((".", "?")), text
    assert "\n" not in text, text
    assert not [word for word in RAW if word in text], text
    return text


def listing(folder: Path) -> set[str]:
    """Names of the files below a folder, relative to it, hidden ones included."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@contextmanager
def refused(kind, *words, folder: Path | None = None, may_stay: tuple[str, ...] = ()):
    """The block must raise `kind` with all `words` in one sentence and leave `folder` as it was.

    Args:
        kind: exception type, or a tuple of them.
        words: what the sentence has to name.
        folder: where nothing new may lie afterwards.
        may_stay: beginnings of names that may, because what they name is whole.
    """
    before = listing(folder) if folder else set()
    with pytest.raises(kind) as caught:
        yield
    text = as_sentence(caught.value)
    assert not [word for word in words if word not in text], text
    after = {name for name in listing(folder) if not name.startswith(may_stay)} if folder else set()
    assert after - before == set()
    assert {name for name in before if not name.startswith(may_stay)} <= after
