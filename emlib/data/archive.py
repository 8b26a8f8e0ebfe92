"""Unpack an archive from the internet without letting it write elsewhere or fill the disk."""

from __future__ import annotations

import gzip
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

from emlib.atomic import atomic_path

CHUNK = 1 << 20
MAX_RATIO = 200  # unpacked bytes for each packed byte; microscopy rarely exceeds 20, zero-filled bombs reach 1000
RATIO_FREE = 64 << 20  # below this many unpacked bytes the ratio does not matter
MAX_NAME = 1024
Member = tuple[str, bool, Callable[[], IO[bytes]]]  # name, whether it is a folder, how to open it
BROKEN = (zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, NotImplementedError)


def extract_archive(
    path: str | Path,
    folder: str | Path,
    *,
    max_bytes: int = 64 << 30,
    max_files: int = 200_000,
) -> Path:
    """Unpack a .zip, .tar, .tar.gz, .tar.bz2, .tar.xz or single-file .gz archive into a new folder.

    Everything is unpacked into a temporary folder which is renamed at the end: `folder` is complete or absent.
    Links, absolute paths, paths through "..", device files, encrypted members, names that occur twice, and archives
    that unpack to far more than they hold, are refused; sizes are counted while unpacking, not taken from headers.

    Args:
        path: the archive; its kind is told by its content.
        folder: made by this call; an existing folder is refused.
        max_bytes: most bytes that may be unpacked in all.
        max_files: most files and folders.

    Returns:
        `folder`.

    Raises:
        FileNotFoundError: there is no such archive.
        FileExistsError: `folder` exists already.
        ValueError: not an archive, damaged, or refused; the message names the member and the reason.

    Example:
        >>> import tempfile
        >>> base = Path(tempfile.mkdtemp())
        >>> with zipfile.ZipFile(base / "a.zip", "w") as archive:
        ...     archive.writestr("images/1.txt", "one")
        >>> (extract_archive(base / "a.zip", base / "a") / "images" / "1.txt").read_text()
        'one'
    """
    path, folder = Path(path), Path(folder)
    if not path.is_file():
        raise FileNotFoundError(f"There is no archive at {path}.")
    budget = _Budget(path, path.stat().st_size, max_bytes, max_files)
    with atomic_path(folder, overwrite=False) as temporary:
        temporary.mkdir()
        try:
            for name, is_folder, open_member in _members(path):
                target = temporary.joinpath(*_checked_parts(path, name))
                budget.add_entry(target, is_folder)
                if is_folder:
                    target.mkdir(parents=True, exist_ok=True)
                else:
                    target.parent.mkdir(parents=True, exist_ok=True)
                    with open_member() as source, target.open("xb") as output:
                        budget.copy(source, output, name)
        except BROKEN as error:
            raise ValueError(f"The archive {path} is damaged or of an unknown kind ({error}); nothing kept.") from error
    return folder


def _members(path: Path) -> Iterator[Member]:
    # tar first: a tar whose last member is a zip also ends like a zip.
    with _opened_tar(path) as archive:
        if archive is not None:
            yield from _tar_members(path, archive)
            return
    if zipfile.is_zipfile(path):
        yield from _zip_members(path)
        return
    with path.open("rb") as stream:
        if stream.read(2) != b"\x1f\x8b":
            raise ValueError(f"{path} is not a zip, tar or gzip archive, or an empty one.")
    yield path.name.removesuffix(".gz") or "content", False, lambda: gzip.open(path, "rb")  # noqa: SIM115 - the caller closes it


@contextmanager
def _opened_tar(path: Path) -> Iterator[tarfile.TarFile | None]:
    try:
        archive = tarfile.open(path, "r:*")  # noqa: SIM115 - closed below; a gzip that is no tar is not an error
    except (tarfile.ReadError, EOFError, zlib.error):
        yield None
        return
    with archive:
        # A file of zeros reads as a tar without members.
        yield archive if archive.next() is not None else None


def _zip_members(path: Path) -> Iterator[Member]:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if info.flag_bits & 0x1:
                raise ValueError(f"{path} holds the encrypted member {info.filename!r}; unpack it by hand.")
            mode = info.external_attr >> 16
            if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise ValueError(f"{path} holds {info.filename!r}, which is a link or a device, not a file.")
            yield info.filename, info.is_dir(), lambda info=info: archive.open(info)


def _tar_members(path: Path, archive: tarfile.TarFile) -> Iterator[Member]:
    for info in archive:
        if not (info.isreg() or info.isdir()):
            raise ValueError(f"{path} holds {info.name!r}, which is a link or a device, not a file.")
        yield info.name, info.isdir(), lambda info=info: archive.extractfile(info)


def _checked_parts(path: Path, name: str) -> tuple[str, ...]:
    """The parts of a member's path, if it stays inside the folder on every operating system."""
    posix, windows = PurePosixPath(name), PureWindowsPath(name)
    bad = posix.is_absolute() or windows.drive or windows.root or ".." in windows.parts or "\x00" in name
    if bad or len(name) > MAX_NAME:
        raise ValueError(f"{path} holds {name[:200]!r}, a path that leads out of the folder; nothing was unpacked.")
    parts = tuple(part for part in posix.parts if part != ".")
    if not parts and name.strip("./"):
        raise ValueError(f"{path} holds a member without a name; nothing was unpacked.")
    return parts


@dataclass
class _Budget:
    """What may still be unpacked, and what was unpacked already."""

    path: Path
    packed: int
    max_bytes: int
    max_files: int
    unpacked: int = 0
    entries: int = 0

    def add_entry(self, target: Path, is_folder: bool) -> None:
        self.entries += 1
        if self.entries > self.max_files:
            raise ValueError(f"{self.path} holds more than {self.max_files} files; raise max_files if that is right.")
        if target.exists() and not (is_folder and target.is_dir()):
            raise ValueError(f"{self.path} holds {target.name!r} more than once; nothing was unpacked.")

    def copy(self, source: IO[bytes], output: IO[bytes], name: str) -> None:
        while chunk := source.read(CHUNK):
            self.unpacked += len(chunk)
            if self.unpacked > self.max_bytes:
                raise ValueError(
                    f"{self.path} unpacks to more than {self.max_bytes} bytes (at {name!r}); "
                    "raise max_bytes if that is right."
                )
            if self.unpacked > max(RATIO_FREE, MAX_RATIO * self.packed):
                raise ValueError(
                    f"{self.path} unpacks to more than {MAX_RATIO} times its size (at {name!r}), "
                    "which looks like a bomb; nothing was unpacked."
                )
            output.write(chunk)


def decompress_gzip(path: str | Path, target: str | Path, *, max_bytes: int = 64 << 30) -> Path:
    """Unpack one .gz file to `target`, atomically.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged or unpacks to more than `max_bytes`.
    """
    path, target = Path(path), Path(target)
    if not path.is_file():
        raise FileNotFoundError(f"There is no archive at {path}.")
    budget = _Budget(path, path.stat().st_size, max_bytes, 1)
    with atomic_path(target) as temporary:
        try:
            with gzip.open(path, "rb") as source, temporary.open("wb") as output:
                budget.copy(source, output, target.name)
        except BROKEN as error:
            raise ValueError(f"The archive {path} is damaged ({error}); nothing kept.") from error
    return target
