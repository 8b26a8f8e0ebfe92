"""Fetch a registered data set: from a local copy if there is one, else from its address, always verified."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pooch
import requests

from emlib.atomic import atomic_path
from emlib.data.archive import extract_archive
from emlib.data.registry import DatasetEntry, RegisteredFile, checkout_folder, describe_dataset
from emlib.progress import progress as show_progress

ATTEMPTS = 4
FIRST_PAUSE = 0.5  # seconds before the second attempt; doubles with each further one
TIMEOUT = 30.0  # seconds without a byte
PARALLEL = 6
HOPELESS = (401, 403, 404, 410)


def fetch_dataset(
    name: str,
    *,
    data_dir: str | Path | None = None,
    progress: bool = True,
    ignore_local: bool = False,
) -> Path:
    """The folder that holds a registered data set, complete and verified; downloads it if need be.

    First the folder `name` under the environment variable EMLIB_DATA (it may be read-only) is looked at; then the
    folder `name` under `data_dir`. Files there that have the registered sha256 are kept, others are downloaded to a
    temporary name and renamed when their sha256 is right, so that an interrupted download goes on where it stopped.

    Args:
        name: as in `list_datasets`.
        data_dir: where downloads are kept; None is data/downloads of the repository, or the user's cache folder when
            emlib was not installed from a repository.
        progress: show a bar.
        ignore_local: do not look under EMLIB_DATA.

    Returns:
        The data set's folder; its files lie below it as the registry lists them.

    Raises:
        ValueError: there is no such data set, or a local copy holds a file with other content than registered.
        FileNotFoundError: a data set that is fetched by hand was not found; the message says where to get it.
        OSError: a download failed; the message gives the address and where to put the file by hand.

    Example:
        >>> fetch_dataset("vnk", progress=False)
        Traceback (most recent call last):
        ...
        ValueError: There is no data set 'vnk' in the registry; did you mean vnc?
    """
    entry = describe_dataset(name)
    cache = Path(data_dir) if data_dir is not None else default_data_dir()
    local = None if ignore_local else _local_folder(entry)
    if entry.kind == "by hand":
        return _found_by_hand(entry, [folder for folder in (local, cache / name) if folder is not None])
    if local is not None:
        _verify_local(entry, local)
        return local
    if entry.kind == "archive":
        return _fetch_archive(entry, cache)
    return _fetch_files(entry, cache / name, show=progress)


def find_local_copy(name: str, *, data_dir: str | Path | None = None) -> Path | None:
    """The folder that `fetch_dataset` would return without downloading anything, or None; nothing is fetched.

    Raises:
        ValueError: there is no such data set.

    Example:
        >>> import tempfile
        >>> find_local_copy("mitoem-r", data_dir=tempfile.mkdtemp()) is None
        True
    """
    entry = describe_dataset(name)
    cache = (Path(data_dir) if data_dir is not None else default_data_dir()) / name
    for folder in filter(None, (_local_folder(entry), cache)):
        complete = folder.is_dir() and next(damaged_files(entry, folder), None) is None
        if complete and all(any(folder.glob(pattern)) for pattern in entry.expected or ()):
            return folder
    return None


def default_data_dir() -> Path:
    """Where downloads are kept unless told otherwise."""
    beside = checkout_folder() / "data"
    if (beside / "registry.yaml").is_file() and os.access(beside, os.W_OK):
        return beside / "downloads"
    return Path(pooch.os_cache("emlib"))


def damaged_files(entry: DatasetEntry, folder: Path) -> Iterator[tuple[RegisteredFile, str]]:
    """Registered files that are missing from `folder` or differ there, each with the reason in words."""
    for file in entry.listed_files():
        reason = _difference(file, folder / file.path)
        if reason:
            yield file, reason


def _difference(file: RegisteredFile, path: Path) -> str:
    if not path.is_file():
        return "is missing"
    size = path.stat().st_size
    if size != file.bytes:
        return f"has {size} bytes instead of {file.bytes}"
    if pooch.file_hash(str(path)) != file.sha256:
        return "has another sha256 than registered"
    return ""


def _local_folder(entry: DatasetEntry) -> Path | None:
    root = os.environ.get("EMLIB_DATA")
    if not root:
        return None
    if not Path(root).is_dir():
        raise FileNotFoundError(f"EMLIB_DATA names {root}, but there is no such folder.")
    folder = Path(root) / entry.name
    return folder if folder.is_dir() else None


def _verify_local(entry: DatasetEntry, folder: Path) -> None:
    for file, reason in damaged_files(entry, folder):
        raise ValueError(
            f"The local copy of data set '{entry.name}' under EMLIB_DATA is not the registered one: "
            f"{folder / file.path} {reason}; repair it, remove the folder, or pass ignore_local=True to download."
        )
    if entry.kind == "archive" and not any(folder.iterdir()):
        raise ValueError(f"The local copy of data set '{entry.name}' under EMLIB_DATA, {folder}, is empty.")


def _found_by_hand(entry: DatasetEntry, folders: list[Path]) -> Path:
    for folder in folders:
        if not folder.is_dir():
            continue
        missing = [pattern for pattern in entry.expected if not any(folder.glob(pattern))]
        if not missing:
            return folder
        raise FileNotFoundError(
            f"{folder} lacks {', '.join(missing)} of data set '{entry.name}'; expected is: {entry.layout} "
            f"(from {entry.page})."
        )
    raise FileNotFoundError(
        f"Data set '{entry.name}' has to be fetched by hand from {entry.page} (licence: {entry.licence}); "
        f"put it into {folders[-1]}, or into a folder {entry.name} under EMLIB_DATA, as: {entry.layout}."
    )


def _fetch_files(entry: DatasetEntry, folder: Path, *, show: bool) -> Path:
    wanted = [file for file, _ in damaged_files(entry, folder)]
    if not wanted:
        return folder
    pool = ThreadPoolExecutor(max_workers=min(PARALLEL, len(wanted)))
    try:
        done = pool.map(lambda file: _download(entry, file, folder / file.path, folder), wanted)
        label = f"downloading {entry.name} ({sum(file.bytes for file in wanted) / 1e6:.1f} MB)"
        for _ in show_progress(done, label=label, total=len(wanted), unit="file", show=show):
            pass
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    return folder


def _fetch_archive(entry: DatasetEntry, cache: Path) -> Path:
    folder = cache / entry.name
    if folder.is_dir():
        return folder
    source = entry.archive
    packed = cache / "archives" / f"{entry.name}-{source.url.rsplit('/', 1)[-1] or 'archive'}"
    file = RegisteredFile(packed.name, source.bytes, source.sha256, source.url)
    if _difference(file, packed):
        _download(entry, file, packed, cache / entry.name)
    return extract_archive(packed, folder)


def _download(entry: DatasetEntry, file: RegisteredFile, target: Path, by_hand: Path) -> None:
    """One file, with a few attempts; `target` appears only with the registered content."""
    with atomic_path(target) as temporary:
        for attempt in range(ATTEMPTS):
            time.sleep(FIRST_PAUSE * 2 ** (attempt - 1) if attempt else 0.0)
            problem, hopeless = _transfer(file, temporary)
            if not problem or hopeless:
                break
        if problem:
            raise OSError(
                f"Could not download {file.url} for data set '{entry.name}': {problem}. Try again later (complete "
                f"files are kept), or put the files by hand into {by_hand} or into a folder {entry.name} under "
                f"EMLIB_DATA (page of the data set: {entry.page})."
            )


def _transfer(file: RegisteredFile, temporary: Path) -> tuple[str, bool]:
    """Download once; returns what went wrong, if anything, and whether another attempt is pointless."""
    try:
        pooch.HTTPDownloader(progressbar=False, chunk_size=1 << 16, timeout=TIMEOUT)(file.url, str(temporary), None)
    except requests.HTTPError as error:
        code = error.response.status_code
        return f"the server answered {code} {error.response.reason}", code in HOPELESS
    except requests.exceptions.ChunkedEncodingError:
        return "the connection broke off", False
    except requests.ConnectionError as error:
        return f"no connection ({type(error).__name__})", False
    except requests.RequestException as error:
        return f"the transfer failed ({type(error).__name__})", False
    difference = _difference(file, temporary)
    return (f"what arrived {difference}" if difference else ""), False
