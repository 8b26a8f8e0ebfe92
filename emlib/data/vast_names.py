"""Which section a picture of a VAST export shows: the number in its name."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from pathlib import Path

PATTERN = "%04d_tr1-tc1.png"
PLACE = re.compile(r"%(?:0(\d+))?d")
TILE = re.compile(r"_tr(\d+)-tc(\d+)$")


def section_name(pattern: str, number: int) -> str:
    """The file name of a section.

    Example:
        >>> section_name("%04d_tr1-tc1.png", 7)
        '0007_tr1-tc1.png'
    """
    return PLACE.sub(lambda found: f"{number:0{int(found[1] or 0)}d}", pattern)


def check_pattern(pattern: str) -> str:
    """`pattern` if it is the name of a PNG file with one place for a number.

    Raises:
        ValueError: anything else.
    """
    one = isinstance(pattern, str) and len(PLACE.findall(pattern)) == 1 and "%" not in PLACE.sub("", pattern)
    if not one or "/" in pattern or pattern.startswith(".") or Path(pattern).suffix.lower() != ".png":
        raise ValueError(f"The pattern is {pattern!r}, but the name of a PNG file with one %d was expected: {PATTERN}.")
    return pattern


def number_sections(files: Sequence[Path], pattern: str | None) -> dict[int, Path]:
    """The files by the number of their section, in its order.

    Args:
        files: PNG files.
        pattern: name with %d or %04d where the number stands; other files are passed over. None takes the one number
            that differs from name to name, a tile's place `_tr1-tc1` aside.

    Raises:
        FileNotFoundError: no file has such a name.
        ValueError: several numbers differ, two files show one section, or sections come in several tiles.

    Example:
        >>> numbered = number_sections([Path("s10.png"), Path("s9.png")], None)
        >>> [(number, file.name) for number, file in numbered.items()]
        [(9, 's9.png'), (10, 's10.png')]
    """
    found = _by_pattern(files, check_pattern(pattern)) if pattern is not None else _by_difference(files)
    numbered: dict[int, Path] = {}
    for file, number in sorted(found, key=lambda one: (one[1], one[0])):
        if number in numbered:
            raise ValueError(f"{numbered[number].name} and {file.name} both are section {number} of {file.parent}.")
        numbered[number] = file
    return numbered


def missing_sections(numbers: Sequence[int]) -> str:
    """The numbers left out of a sorted sequence as text, "" if there are none.

    Example:
        >>> missing_sections([0, 1, 4, 6])
        '2 to 3, 5'
    """
    gaps = [(low + 1, high - 1) for low, high in itertools.pairwise(numbers) if high > low + 1]
    shown = [str(low) if low == high else f"{low} to {high}" for low, high in gaps]
    return ", ".join(shown[:10]) + (f" and {len(shown) - 10} more gaps" if len(shown) > 10 else "")


def _by_pattern(files: Sequence[Path], pattern: str) -> list[tuple[Path, int]]:
    head, tail = PLACE.sub("\0", pattern).split("\0")
    form = re.compile(re.escape(head) + r"(\d+)" + re.escape(tail))
    found = [(file, int(match[1])) for file in files if (match := form.fullmatch(file.name))]
    if not found:
        raise FileNotFoundError(f"No picture in {files[0].parent} has a name like {pattern}; one is {files[0].name}.")
    return found


def _by_difference(files: Sequence[Path]) -> list[tuple[Path, int]]:
    tiles = {match.groups() for file in files if (match := TILE.search(file.stem))}
    if len(tiles) > 1:
        raise ValueError(
            f"The sections in {files[0].parent} come in {len(tiles)} tiles each (_tr1-tc1, ...); list them in a JSON "
            'file, {"sections": ["0000_tr{row}-tc{column}.png", ...]}, and open that with labels=True.'
        )
    texts = [re.findall(r"\d+", TILE.sub("", file.stem)) for file in files]
    if len(files) == 1:
        return [(files[0], int(texts[0][-1]) if texts[0] else 0)]
    if len({len(groups) for groups in texts}) != 1:
        raise ValueError(
            f"The names in {files[0].parent} hold unequal counts of numbers; say which, pattern='s%04d.png'."
        )
    differing = [place for place, group in enumerate(zip(*texts, strict=True)) if len(set(map(int, group))) > 1]
    if len(differing) != 1:
        raise ValueError(
            f"{len(differing) or 'No'} numbers differ in the names in {files[0].parent}, such as {files[0].name}, but "
            "one was expected; say which is the section, for example pattern='s%04d_tr1-tc1.png'."
        )
    return [(file, int(groups[differing[0]])) for file, groups in zip(files, texts, strict=True)]
