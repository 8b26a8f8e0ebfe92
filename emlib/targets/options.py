"""The published option strings: one short text that says what a network learns."""

from __future__ import annotations

import re

import numpy as np
import torch

from emlib.targets.affinity import edge_padded_affinities
from emlib.targets.contour import Rule, instance_contour
from emlib.targets.gradient_flow import gradient_flow
from emlib.targets.label_arrays import as_label_tensor, like
from emlib.targets.skeleton_distance import skeleton_distance

GRAMMAR = (
    "'0' object mask, '0-i-j' mask of the ids i, j, '1' odd ids, even ids and their union, "
    "'2' or '2-dz-dy-dx-v1|v2' affinities, '22' distance to the skeleton, "
    "'4-B-g' instance contour of half width B (g = 1 also towards the background), "
    "'7' flow (y, x) of each section, '7-0' the flow and the object mask, '9-C' one channel per class 0 ... C-1"
)
_PATTERNS = {
    "0": re.compile(r"0((?:-\d+)*)"),
    "1": re.compile(r"1"),
    "2": re.compile(r"2(?:-([1-9]\d*)-([1-9]\d*)-([1-9]\d*)-(v1|v2))?"),
    "22": re.compile(r"22"),
    "4": re.compile(r"4-(\d+)-([01])"),
    "7": re.compile(r"7(-0)?"),
    "9": re.compile(r"9-([1-9]\d*)"),
}


def build_target(labels: np.ndarray | torch.Tensor, option: str, *, rule: Rule = "vidar") -> np.ndarray | torch.Tensor:
    """Turn instance labels into a training target, by the option strings of VIDAR and PyTorch Connectomics.

    | option | channels | meaning |
    |---|---|---|
    | `0`, `0-i-j-...` | 1 | label > 0; label is one of i, j, ... |
    | `1` | 3 | odd ids, even ids, both (polarity labels of synapses) |
    | `2` | 3 | affinity to the previous voxel in z, y, x, stored at the later voxel; the first plane is label > 0 |
    | `2-dz-dy-dx-v1` | 3 | the same at these distances, the volume continued by its border values |
    | `2-dz-dy-dx-v2` | 3 | compares v - d with v + d, the volume continued by its border values |
    | `22` | 1 | 1 on the skeleton of each object, falling to its border, -1 outside; see `skeleton_distance` |
    | `4-B-g` | 1 | contour in a window of 2 B + 1; g = 0 between instances only; see `instance_contour` |
    | `7` | 2 | flow along y and x, each section by itself; see `gradient_flow` |
    | `7-0` | 3 | the same, and label > 0 |
    | `9-C` | C | one channel per class; the ids are classes 0 ... C - 1 |

    Args:
        labels: (z, y, x), any integer type up to 64 bits, 0 = background.
        option: see the table.
        rule: contour rule of `4-B-g`, see `instance_contour`.

    Returns:
        float32 (c, z, y, x), on the labels' device; zeros and ones, but for flows and `22`, which are -1 ... 1.

    Raises:
        TypeError: labels are not whole numbers.
        ValueError: unknown option, labels without three axes, or a class that `9-C` does not have.

    Example:
        >>> build_target(np.array([[[0, 5, 5, 9]]]), "2")[2]
        array([[[0., 0., 1., 0.]]], dtype=float32)
    """
    kind, fields = parse_option(option)
    tensor = as_label_tensor(labels)
    if kind == "0":
        ids = [int(text) for text in fields[0].split("-")[1:]]
        target = _is_one_of(tensor, labels.dtype, ids)[None] if ids else (tensor != 0)[None]
    elif kind == "1":
        # The lowest bit survives the signed view of unsigned ids.
        odd, foreground = (tensor & 1) == 1, tensor != 0
        target = torch.stack([odd, foreground & ~odd, foreground])
    elif kind == "2":
        distance = [int(text) for text in fields[:3]] if fields[0] else [1, 1, 1]
        target = edge_padded_affinities(tensor, distance, symmetric=fields[3] == "v2")
    elif kind == "22":
        target = torch.as_tensor(skeleton_distance(labels))[None]
    elif kind == "4":
        contour = instance_contour(labels, 2 * int(fields[0]) + 1, rule=rule, background=fields[1] == "1")
        return contour[None]
    elif kind == "7":
        target = torch.stack([torch.as_tensor(gradient_flow(section)) for section in labels], dim=1)
        target = torch.cat([target, (tensor != 0)[None]]) if fields[0] else target
    else:
        target = _classes(tensor, int(fields[0]))
    return like(labels)(target.to(torch.float32))


def channel_count(option: str) -> int:
    """How many channels `build_target` gives for an option.

    Raises:
        ValueError: unknown option.

    Example:
        >>> [channel_count(option) for option in ("0", "4-2-1", "2", "9-5")]
        [1, 1, 3, 5]
    """
    kind, fields = parse_option(option)
    if kind == "7":
        return 3 if fields[0] else 2
    return int(fields[0]) if kind == "9" else {"0": 1, "1": 3, "2": 3, "22": 1, "4": 1}[kind]


def parse_option(option: str) -> tuple[str, tuple[str, ...]]:
    """The kind of an option and its fields, as texts (empty or None where the option leaves them out).

    Raises:
        ValueError: unknown option.

    Example:
        >>> parse_option("4-2-1")
        ('4', ('2', '1'))
    """
    text = option if isinstance(option, str) else ""
    for kind, pattern in _PATTERNS.items():
        match = pattern.fullmatch(text)
        if match:
            return kind, match.groups()
    raise ValueError(f"There is no target option {option!r}; the options are {GRAMMAR}.")


def _is_one_of(tensor: torch.Tensor, dtype: np.dtype | torch.dtype, ids: list[int]) -> torch.Tensor:
    """Compare with ids given as plain numbers, which the signed view of unsigned labels may hold as negative ones."""
    bits = tensor.element_size() * 8
    unsigned = "uint" in str(dtype) or "bool" in str(dtype)
    found = torch.zeros(tensor.shape, dtype=torch.bool, device=tensor.device)
    for number in ids:
        if number >= 2 ** (bits if unsigned else bits - 1):
            continue
        limit = 2 ** (bits - 1) if tensor.dtype != torch.uint8 else 2**bits
        found |= tensor == (number if number < limit else number - 2**bits)
    return found


def _classes(tensor: torch.Tensor, count: int) -> torch.Tensor:
    # A wrapped unsigned id is negative here, hence outside the classes as it should be.
    outside = (tensor < 0) | (tensor >= count)
    if outside.any():
        raise ValueError(f"Option '9-{count}' has the classes 0 ... {count - 1}, but the labels hold others.")
    return torch.stack([tensor == number for number in range(count)])
