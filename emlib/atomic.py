"""Write a file or a folder so that a reader sees all of it or nothing."""

from __future__ import annotations

import errno
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

TEMPORARY_MARK = ".partial-"


@contextmanager
def atomic_path(target: str | Path, *, overwrite: bool = True) -> Iterator[Path]:
    """Give a temporary sibling of `target`; on success flush it to disk and rename it to `target`.

    What is written at the temporary path may be a file or a folder. If the block raises, or the process is killed,
    `target` is untouched; on an exception the temporary path is removed. An existing folder at `target` is moved
    aside, replaced and then deleted.

    Args:
        target: final path; its parent folders are made.
        overwrite: if False an existing `target` raises FileExistsError before anything is written.

    Raises:
        OSError: the disk is full or the folder cannot be written; the message is one sentence and names `target`.
        IsADirectoryError, NotADirectoryError: `target` is a folder and a file was written, or the other way round.

    Example:
        >>> import tempfile, pathlib
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> with atomic_path(folder / "figures.txt") as temporary:
        ...     _ = temporary.write_text("42")
        >>> [path.name for path in folder.iterdir()]
        ['figures.txt']
    """
    target = Path(target)
    if target.exists() and not overwrite:
        raise FileExistsError(f"{target} exists already; remove it or allow overwriting.")
    # The suffix stays, so that writers which choose the format by it can write to the temporary path.
    temporary = target.with_name(f"{TEMPORARY_MARK}{uuid.uuid4().hex[:8]}-{target.name}")
    try:
        with made_folder(target.parent):
            try:
                yield temporary
                if not temporary.exists():
                    raise FileNotFoundError(f"Nothing was written for {target}.")
                flush_to_disk(temporary)
                replace(temporary, target)
                flush_to_disk(target.parent, recursive=False)
            except BaseException:
                _remove(temporary)
                raise
    except OSError as error:
        raise explain_write_error(error, target) from error


@contextmanager
def made_folder(folder: str | Path) -> Iterator[Path]:
    """Make a folder and those above it; if the block raises, the ones that were made and are empty are removed again.

    Raises:
        OSError: as the operating system says it.

    Example:
        >>> import tempfile, pathlib
        >>> root = pathlib.Path(tempfile.mkdtemp())
        >>> with suppress(ValueError), made_folder(root / "a" / "b") as folder:
        ...     raise ValueError(folder.is_dir())
        >>> list(root.iterdir())
        []
    """
    folder = Path(folder)
    new = _missing(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
    except BaseException:
        _remove_empty(new)
        raise


def try_folder(folder: str | Path) -> None:
    """See whether a folder can be made: make it, and remove again what is new.

    Raises:
        OSError: as the operating system says it.
    """
    new = _missing(Path(folder))
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    finally:
        _remove_empty(new)


def explain_write_error(error: OSError, target: str | Path) -> OSError:
    """Turn the operating system's error into one sentence that names the file that could not be written.

    The result has the number (`errno`) and the class of the error; one that is a sentence already is returned.
    """
    reasons = {
        errno.ENOSPC: "the disk is full",
        errno.EDQUOT: "the disk quota is used up",
        errno.EFBIG: "the file would be larger than is allowed",
        errno.EROFS: "the file system is read-only",
        errno.EACCES: "the folder is not writable for this user",
        errno.EPERM: "the folder is not writable for this user",
        errno.ENOTDIR: "a part of the path is a file, not a folder",
        errno.EEXIST: "a part of the path is a file, not a folder",
    }
    reason = reasons.get(error.errno)
    if reason is None:
        if error.errno is None or not error.strerror:
            return error
        reason = error.strerror.lower() + (f" ({error.filename})" if error.filename else "")
    kind = type(OSError(error.errno, reason))
    explained = kind(f"Could not write {target}: {reason}; nothing was left half-written there.")
    # Set afterwards: with a number among its arguments the text would begin with "[Errno 28]".
    explained.errno = error.errno
    return explained


def write_text(target: str | Path, text: str) -> Path:
    """Write `text` (UTF-8) to `target` atomically and return the path."""
    with atomic_path(target) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return Path(target)


def flush_to_disk(path: Path, *, recursive: bool = True) -> None:
    """fsync a file, or a folder and (by default) everything below it."""
    if path.is_dir() and recursive:
        for child in path.iterdir():
            flush_to_disk(child)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems do not support fsync on folders; for files a failure is a lost write.
        if not path.is_dir() or error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def replace(temporary: Path, target: Path) -> None:
    """Rename `temporary` to `target`, which may be there; if that fails, both are as they were.

    Raises:
        IsADirectoryError, NotADirectoryError: one is a folder and the other is not.
    """
    if target.exists() and target.is_dir() != temporary.is_dir():
        kind, text = (IsADirectoryError, "folder") if target.is_dir() else (NotADirectoryError, "file")
        raise kind(f"{target} is a {text}; remove it, or choose another name to write to.")
    if target.is_dir() and not target.is_symlink():
        aside = target.with_name(f".{target.name}.old-{uuid.uuid4().hex[:8]}")
        os.rename(target, aside)
        try:
            os.rename(temporary, target)
        except BaseException:
            os.rename(aside, target)
            raise
        shutil.rmtree(aside)
    else:
        os.replace(temporary, target)


def _missing(folder: Path) -> list[Path]:
    return [one for one in (folder, *folder.parents) if not one.exists()]


def _remove_empty(folders: list[Path]) -> None:
    for one in folders:
        with suppress(OSError):
            one.rmdir()


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
        return
    # The error that led here is the one to report; one more while tidying up would hide it.
    with suppress(OSError):
        path.unlink()
