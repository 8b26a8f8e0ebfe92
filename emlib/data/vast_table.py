"""The table of segments that VAST exports as text: names, colours, anchors, hierarchy and bounding boxes."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from emlib.atomic import write_text

LINE = re.compile(r"\s*((?:[+-]?\d+\s+)*[+-]?\d+)\s+\"(.*)\"\s*", re.DOTALL)
COLUMNS = 24
Point = tuple[int, int, int]
HEADER = """% Segments of a VAST export, one a line:
% id flags red1 green1 blue1 pattern1 red2 green2 blue2 pattern2 anchorx anchory anchorz parent child prev next \
collapsed x1 y1 z1 x2 y2 z2 "name"
"""


@dataclass(frozen=True)
class VastSegment:
    """One line of the table. Points are (z, y, x) in voxels here, although the file has them as x y z.

    Attributes:
        id: number in the pictures; 0 is the background, which holds the top of the hierarchy as `child`.
        name: free text on one line.
        flags: bit field, kept as it is.
        color, pattern: first colour (red, green, blue) and number of its pattern.
        second_color, second_pattern: the same for the pattern's other colour.
        anchor: a point in the segment.
        parent, child, previous, next: ids in the tree; child is the first child, previous and next are siblings; 0 is
            none.
        collapsed: the segment as which this one is shown, itself if it stands alone.
        first, last: first and last voxel of the bounding box, both inside; (-1, -1, -1) if nothing is painted.
    """

    id: int
    name: str = ""
    flags: int = 0
    color: Point = (255, 255, 255)
    pattern: int = 0
    second_color: Point = (255, 255, 255)
    second_pattern: int = 0
    anchor: Point = (-1, -1, -1)
    parent: int = 0
    child: int = 0
    previous: int = 0
    next: int = 0
    collapsed: int = 0
    first: Point = (-1, -1, -1)
    last: Point = (-1, -1, -1)


def read_vast_table(path: str | os.PathLike, *, encoding: str = "utf-8") -> list[VastSegment]:
    """Read a table of segments.

    The format is that of VAST Lite's manual ("segmentation colors" saved as text). Lines that begin with % and empty
    lines are passed over; every other line holds 24 whole numbers with tabs or spaces between them and a name in double
    quotes: id, flags, red1 green1 blue1 pattern1, red2 green2 blue2 pattern2, anchor x y z, parent, child, previous,
    next, collapsed id, bounding box x1 y1 z1 x2 y2 z2, "name". A name may itself hold double quotes.

    Args:
        path: the text file.
        encoding: of the names; programs on Windows may write "cp1252".

    Returns:
        The segments in the order of the file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a line of another form, a colour outside 0 to 255, an id that stands twice, or letters that the
            encoding does not have.

    Example:
        >>> import tempfile
        >>> file = write_vast_table(tempfile.mkdtemp() + "/segments.txt", [VastSegment(3, "axon", anchor=(9, 20, 30))])
        >>> [(one.id, one.name, one.anchor) for one in read_vast_table(file)]
        [(3, 'axon', (9, 20, 30))]
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no table of segments {path}.")
    try:
        text = path.read_bytes().decode("utf-8-sig" if encoding.lower() in ("utf-8", "utf8") else encoding)
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not written in {encoding}; pass encoding=, for example 'cp1252'.") from None
    except LookupError:
        raise ValueError(f"There is no encoding {encoding!r}; 'utf-8' and 'cp1252' are usual.") from None
    segments: dict[int, VastSegment] = {}
    for number, line in enumerate(re.split(r"\r\n|\n|\r", text), start=1):
        if not line.strip() or line.lstrip().startswith("%"):
            continue
        segment = _parse(line, f"{path}, line {number}")
        if segment.id in segments:
            raise ValueError(f"{path}, line {number}: the segment {segment.id} stands in the table twice.")
        segments[segment.id] = segment
    if not segments:
        raise ValueError(f"{path} holds no segments.")
    return list(segments.values())


def write_vast_table(path: str | os.PathLike, segments: Iterable[VastSegment]) -> Path:
    """Write a table of segments that `read_vast_table`, and VAST, reads; all or nothing.

    Raises:
        ValueError: an id that stands twice or does not fit into a colour, a name with a line break, a colour outside
            0 to 255.
        OSError: the disk is full or not writable.
    """
    lines, seen = [], set()
    for one in segments:
        if not 0 <= one.id < 2**24 or one.id in seen:
            reason = "stands twice" if one.id in seen else "does not fit into a colour (0 to 16777215)"
            raise ValueError(f"The id {one.id} {reason}, so no table can be written.")
        seen.add(one.id)
        if re.search(r"[\r\n]", one.name):
            raise ValueError(f"The name of segment {one.id} has a line break: {one.name!r}.")
        _check_colors(one, f"Segment {one.id}")
        numbers = (
            one.id, one.flags, *one.color, one.pattern, *one.second_color, one.second_pattern, *one.anchor[::-1],
            one.parent, one.child, one.previous, one.next, one.collapsed, *one.first[::-1], *one.last[::-1],
        )  # fmt: skip
        lines.append("\t".join(str(int(number)) for number in numbers) + f'\t"{one.name}"\n')
    return write_text(path, HEADER + "".join(lines))


def segment_table(
    ids: Sequence[int],
    boxes: Sequence[Sequence[Sequence[int]]],
    anchors: Sequence[Sequence[int]],
    *,
    names: Sequence[str] | None = None,
    seed: int = 0,
) -> list[VastSegment]:
    """A table without hierarchy of objects, for example those of `anchors_of`; the background comes first.

    Args:
        ids: (N,), 1 to 2^24 - 1.
        boxes: (N, 2, 3), first voxel and one past the last, (z, y, x).
        anchors: (N, 3), (z, y, x).
        names: N names, default "object <id>".
        seed: of the colours, which depend on it and on the id alone.

    Raises:
        ValueError: unequal lengths.

    Example:
        >>> segments = segment_table([2, 5], [[[0, 0, 0], [1, 1, 1]]] * 2, [[0, 0, 0]] * 2)
        >>> [(one.id, one.name, one.next, one.last) for one in segments]
        [(0, 'Background', 0, (-1, -1, -1)), (2, 'object 2', 5, (0, 0, 0)), (5, 'object 5', 0, (0, 0, 0))]
    """
    ids = [int(one) for one in ids]
    names = [f"object {one}" for one in ids] if names is None else list(names)
    if not len(ids) == len(boxes) == len(anchors) == len(names):
        raise ValueError(
            f"There are {len(ids)} ids, {len(boxes)} boxes, {len(anchors)} anchors and {len(names)} names, but one of "
            "each an object was expected."
        )
    rows = [VastSegment(0, "Background", color=(0, 0, 0), second_color=(0, 0, 0), child=ids[0] if ids else 0)]
    siblings = [0, *ids, 0]
    for place, (one, box, anchor, name) in enumerate(zip(ids, boxes, anchors, names, strict=True)):
        color = _color(one, seed)
        rows.append(
            VastSegment(
                one, name, color=color, second_color=color, anchor=_point(anchor), previous=siblings[place],
                next=siblings[place + 2], collapsed=one, first=_point(box[0]),
                last=_point([end - 1 for end in box[1]]),
            )
        )  # fmt: skip
    return rows


def _parse(line: str, where: str) -> VastSegment:
    match = LINE.fullmatch(line)
    if match is None:
        raise ValueError(
            f"{where}: whole numbers and a name in double quotes were expected, got {line.strip()[:60]!r}."
        )
    n = [int(text) for text in match[1].split()]
    if len(n) != COLUMNS:
        raise ValueError(f"{where}: {COLUMNS} numbers and a name were expected, got {len(n)} numbers.")
    if n[0] < 0:
        raise ValueError(f"{where}: the id {n[0]} is negative.")
    segment = VastSegment(
        n[0], match[2], n[1], _point(n[2:5]), n[5], _point(n[6:9]), n[9], _point(n[10:13][::-1]), *n[13:18],
        _point(n[18:21][::-1]), _point(n[21:24][::-1]),
    )  # fmt: skip
    _check_colors(segment, where)
    return segment


def _check_colors(segment: VastSegment, where: str) -> None:
    for color in (segment.color, segment.second_color):
        if not all(0 <= value <= 255 for value in color):
            raise ValueError(f"{where}: the colour {color} does not lie in 0 to 255.")


def _point(values: Sequence[int]) -> Point:
    z, y, x = (int(value) for value in values)
    return z, y, x


def _color(number: int, seed: int) -> Point:
    """A bright colour; ids that follow each other differ."""
    value = np.uint32((number * 2654435761 + seed * 40503) % 2**32)
    red, green, blue = (64 + int(value >> shift & 255) * 3 // 4 for shift in (24, 16, 8))
    return red, green, blue
