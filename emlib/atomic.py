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
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        if not temporary.exists():
            raise FileNotFoundError(f"Nothing was written for {target}.")
        flush_to_disk(temporary)
        _replace(temporary, target)
        flush_to_disk(target.parent, recursive=False)
    except OSError as error:
        _remove(temporary)
        raise explain_write_error(error, target) from error
    except BaseException:
        _remove(temporary)
        raise


def explain_write_error(error: OSError, target: str | Path) -> OSError:
    """Turn the operating system's error into one sentence that names the file that could not be written."""
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
        return error
    return OSError(error.errno, f"Could not write {target}: {reason}; nothing was left half-written there.")


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


def _replace(temporary: Path, target: Path) -> None:
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


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
        return
    # The error that led here is the one to report; one more while tidying up would hide it.
    with suppress(OSError):
        path.unlink()
