"""The file that says that a block is done: what came of it, with a hash of everything that was written for it."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from emlib.atomic import atomic_path, explain_write_error, flush_to_disk, write_text
from emlib.scaling.blocks import Block

FORMAT = 1


@dataclass(frozen=True)
class WrittenFiles:
    """Files that a block's function wrote itself, to be flushed and hashed by the ledger.

    Attributes:
        roots: folders that hold them, now or later under another name; the first that is there counts.
        names: the files, relative to the root.
    """

    roots: tuple[Path, ...]
    names: tuple[str, ...]


class DamagedRecord(ValueError):
    """A record, or a file it names, that is not as it was written."""


def hash_of(content: bytes) -> str:
    """SHA-256 as hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def canonical(value: Any) -> bytes:
    """The one JSON text of a plain value, to be hashed."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def plain(value: Any, name: str) -> Any:
    """`value` as JSON holds it (numpy numbers and tuples are turned into plain ones).

    Raises:
        TypeError: JSON cannot hold it, or would give something else back.

    Example:
        >>> plain({"block": (4, np.int64(8))}, "identity")
        {'block': [4, 8]}
    """

    def number(item: Any) -> Any:
        if isinstance(item, np.generic):
            return item.item()
        if isinstance(item, os.PathLike):
            return os.fspath(item)
        raise TypeError(f"{type(item).__name__}")

    try:
        return json.loads(json.dumps(value, default=number, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"{name} must be of numbers, texts, lists and mappings with text keys, got {value!r}."
        ) from error


def write_record(path: Path, block: Block, identity: str, result: Mapping[str, Any] | None) -> None:
    """Store what came of a block: arrays and files first, the record that names them last, each flushed and renamed.

    Args:
        path: the record, .json; arrays lie beside it.
        block: which one.
        identity: digest of what all blocks are made from.
        result: by name, plain values, arrays, or `WrittenFiles`; None is the same as nothing.

    Raises:
        TypeError: something else.
        OSError: the disk is full or cannot be written to.
    """
    values, arrays, files = {}, {}, {}
    if result is not None and not isinstance(result, Mapping):
        raise TypeError(f"A block's function must return a mapping or None, not {type(result).__name__}.")
    for name, value in (result or {}).items():
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z_]\w*", name):
            raise TypeError(f"The result of {block} has the name {name!r}; letters, digits and _ were expected.")
        if isinstance(value, WrittenFiles):
            files[name] = _hash_files(value, path.parent)
        elif isinstance(value, np.ndarray):
            arrays[name] = _write_array(path.with_suffix(f".{name}.npy"), value)
        else:
            values[name] = plain(value, f"The value {name} of {block}")
    record = {"format": FORMAT, "identity": identity, "block": place_of(block)}
    record |= {"values": values, "arrays": arrays, "files": files}
    write_text(path, json.dumps(record | {"sha256": hash_of(canonical(record))}, indent=1))


def read_record(path: Path) -> dict[str, Any]:
    """The record, if it is as it was written.

    Raises:
        FileNotFoundError: there is none.
        DamagedRecord: it was changed or cut.
        ValueError: it has a format of a later version.
    """
    try:
        record = json.loads(path.read_bytes())
        digest = record.pop("sha256")
        sound = digest == hash_of(canonical(record))
    except FileNotFoundError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedRecord(f"{path} is damaged.") from error
    if not sound:
        raise DamagedRecord(f"{path} is damaged: its hash is wrong.")
    if record["format"] != FORMAT:
        raise ValueError(f"{path} has format {record['format']}, but this version of emlib knows format {FORMAT} only.")
    return record


def check_files(path: Path, record: Mapping[str, Any], *, thorough: bool) -> None:
    """Compare the files that a record names with their sizes and (if `thorough`) hashes.

    Raises:
        DamagedRecord: one is missing or is not as it was written.
    """
    for entry in record["arrays"].values():
        _check_file(path.parent / entry["name"], entry, thorough)
    for group in record["files"].values():
        root = _root(path.parent, group["roots"])
        for name, entry in group["names"].items():
            _check_file(root / name, entry, thorough)


def read_result(path: Path, record: Mapping[str, Any]) -> dict[str, Any]:
    """Values and arrays that a block's function returned; arrays are checked against their hashes.

    Raises:
        DamagedRecord: an array is missing or damaged.
    """
    arrays = {}
    for name, entry in record["arrays"].items():
        content = _check_file(path.parent / entry["name"], entry, True)
        arrays[name] = np.load(io.BytesIO(content), allow_pickle=False)
    return dict(record["values"]) | arrays


def place_of(block: Block) -> dict[str, list[int]]:
    """A block's place as a record holds it."""
    names = ("index", "start", "stop", "outer_start", "outer_stop")
    return {name: list(getattr(block, name)) for name in names}


def _write_array(path: Path, array: np.ndarray) -> dict[str, Any]:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    content = buffer.getvalue()
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
    return {"name": path.name, "bytes": len(content), "sha256": hash_of(content)}


def _hash_files(written: WrittenFiles, folder: Path) -> dict[str, Any]:
    root = next((root for root in written.roots if root.exists()), written.roots[0])
    names, parents = {}, set()
    try:
        for name in written.names:
            file = root / name
            flush_to_disk(file)
            content = file.read_bytes()
            names[name] = {"bytes": len(content), "sha256": hash_of(content)}
            parents.update(file.parents[: len(Path(name).parts)])
        for parent in parents:
            flush_to_disk(parent, recursive=False)
    except OSError as error:
        raise explain_write_error(error, root) from error
    # Relative, so that a run's folder can be moved as a whole.
    return {"roots": [os.path.relpath(one, folder) for one in written.roots], "names": names}


def _root(folder: Path, roots: Sequence[str]) -> Path:
    places = [folder / root for root in roots]
    return next((place for place in places if place.exists()), places[0])


def _check_file(file: Path, entry: Mapping[str, Any], thorough: bool) -> bytes:
    try:
        if file.stat().st_size != entry["bytes"]:
            raise DamagedRecord(f"{file} is damaged: it has another size than when it was written.")
        content = file.read_bytes() if thorough else b""
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DamagedRecord(f"{file} is missing.") from error
    if thorough and hash_of(content) != entry["sha256"]:
        raise DamagedRecord(f"{file} is damaged: its hash is wrong.")
    return content
