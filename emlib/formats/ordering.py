"""In which order names are taken, and which array of a file is meant when none is named."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

DEFAULT_KEY = "main"


def natural_key(name: str) -> tuple:
    """Sort key that counts: slice 2 comes before slice 10.

    Example:
        >>> sorted(["s10.png", "s2.png", "s1.png"], key=natural_key)
        ['s1.png', 's2.png', 's10.png']
    """
    parts = re.split(r"(\d+)", name)
    # The name itself last, so that "01" and "1" have a fixed order.
    return tuple((int(part), "") if part.isdecimal() else (-1, part.casefold()) for part in parts), name


def ordered_keys(arrays: Iterable[str]) -> list[str]:
    """Keys in the order in which they are considered when none is named.

    `main` first (what `save_volume` writes by default); then the arrays of a group in natural order before the arrays
    of its sub-groups, and the sub-groups in natural order.

    Example:
        >>> ordered_keys(["volumes/labels/ids", "vol10", "vol2", "volumes/raw"])
        ['vol2', 'vol10', 'volumes/raw', 'volumes/labels/ids']
    """

    def order(key: str) -> tuple:
        *groups, name = key.split("/")
        # (1, group) sorts every array (0, name) of the same group before its sub-groups.
        return key != DEFAULT_KEY, [*((1, natural_key(group)) for group in groups), (0, natural_key(name))]

    return sorted(arrays, key=order)


def choose_key(path: Path, dimensions: Mapping[str, int]) -> str:
    """The array that is meant when none is named: the first with 3 or more dimensions, otherwise the first with 2.

    Args:
        path: the file, for messages.
        dimensions: number of dimensions of each numeric array in the file, by key.

    Raises:
        ValueError: the file holds no such array.

    Example:
        >>> choose_key(Path("cremi.h5"), {"annotations/locations": 2, "volumes/raw": 3})
        'volumes/raw'
    """
    keys = ordered_keys(dimensions)
    chosen = next((key for key in keys if dimensions[key] >= 3), None)
    chosen = chosen or next((key for key in keys if dimensions[key] == 2), None)
    if chosen is None:
        raise ValueError(f"{path} holds no numeric array with 2 or more dimensions.")
    return chosen


def missing_key(path: Path, key: str, keys: Iterable[str]) -> ValueError:
    """One sentence that says what the file holds instead of `key`."""
    keys = ordered_keys(keys)
    if not keys:
        return ValueError(f"{path} has no array {key!r}; it holds no arrays at all.")
    near = difflib.get_close_matches(key, keys, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    shown = ", ".join(repr(name) for name in keys[:20]) + (f" and {len(keys) - 20} more" if len(keys) > 20 else "")
    return ValueError(f"{path} has no array {key!r}, it holds {shown}{hint}")


def missing_path(path: Path) -> FileNotFoundError:
    """One sentence that says what is there instead of `path`: similar names, or the nearest folder that exists."""
    parent = path.parent
    if parent.is_dir():
        near = difflib.get_close_matches(path.name, [child.name for child in parent.iterdir()], n=3)
        hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"the folder {parent} has nothing like it."
        return FileNotFoundError(f"There is no file or folder {path}; {hint}")
    while not parent.exists() and parent != parent.parent:
        parent = parent.parent
    if parent.is_file():
        rest = path.relative_to(parent)
        return FileNotFoundError(
            f"There is no {path}: {parent} is a file; if {str(rest)!r} is meant as key, pass key=."
        )
    return FileNotFoundError(f"There is no file or folder {path}; the nearest folder that exists is {parent}.")
