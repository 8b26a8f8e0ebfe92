"""The diffusion of `emlib.diffusion` as torch code for accelerators: all cells at once, same sums in the same order."""

from __future__ import annotations

import torch

from emlib.diffusion import cell_pieces, diffusion_rule
from emlib.diffusion.flow import ROUNDING


def flow_of_labels(
    labels: torch.Tensor, rule_name: str, *, separate_pieces: bool = True, as_published: bool = False
) -> torch.Tensor:
    """float32 (d, ...) on the labels' device; see `emlib.diffusion.diffusion_flow`, whose result it has.

    Heat is kept for cell pixels only, in float64, sorted so that the cells with the most steps come first: in each
    step the pixels whose cells are not finished yet are the first so many.

    Args:
        labels: (y, x) or (z, y, x), equal exactly where the ids are, 0 = background.
    """
    rule, dimensions, device = diffusion_rule(rule_name), labels.ndim, labels.device
    # Pieces and centres are found on the CPU: that is a thousandth of the work.
    pieces = cell_pieces(labels.cpu().numpy(), rule, separate=separate_pieces and not as_published)
    labels = torch.from_numpy(pieces.labels.astype("int64")).to(device)
    flow = torch.zeros((dimensions, *labels.shape), dtype=torch.float32, device=device)
    if len(pieces.boxes) == 0:
        return flow[:, 0] if dimensions == 2 else flow
    steps = torch.from_numpy(pieces.steps).to(device)
    places = labels.nonzero()
    cells = labels[tuple(places.T)] - 1
    order = torch.argsort(steps[cells], descending=True, stable=True)
    places, cells = places[order], cells[order]
    count = len(places)
    # Slot `count` holds the zero of everything that is not the cell.
    slots = torch.full([length + 2 for length in labels.shape], count, dtype=torch.int64, device=device)
    framed = places + 1
    slots[tuple(framed.T)] = torch.arange(count, device=device)
    owner = torch.cat([cells, torch.full((1,), -1, device=device)])

    def neighbours(*offset: int, same_cell: bool = True) -> torch.Tensor:
        found = slots[tuple((framed + torch.tensor(offset, device=device)).T)]
        return torch.where(owner[found] == cells, found, count) if same_cell else found

    centres = torch.from_numpy(pieces.centres).to(device) + 1
    sources = slots[tuple(centres.T)]
    heat = _diffused(neighbours, sources, steps[cells], steps, dimensions)
    if rule.logarithm:
        heat = torch.log(1 + heat) if as_published and rule.leaks else torch.log1p(heat)
    same_cell = not (as_published and rule.leaks)
    gradient = []
    for axis in range(3 - dimensions, 3):
        step = [int(axis == other) for other in range(3)]
        behind = heat[neighbours(*step, same_cell=same_cell)]
        gradient.append(behind - heat[neighbours(*[-length for length in step], same_cell=same_cell)])
    gradient = torch.stack(gradient)
    if same_cell:
        unit = _unit(gradient, heat[:count] * ROUNDING)
    else:
        unit = gradient / (rule.epsilon + torch.sqrt((gradient**2).sum(dim=0)))
    flow[(slice(None), *places.T)] = unit.to(torch.float32)
    return flow[:, 0] if dimensions == 2 else flow


def _diffused(neighbours, sources, steps_of_pixels, steps_of_cells, dimensions):
    """Heat of all cell pixels, and a zero behind them."""
    count = len(steps_of_pixels)
    heat = torch.zeros(count + 1, dtype=torch.float64, device=steps_of_pixels.device)
    if dimensions == 2:
        corners = [neighbours(0, -1, -1), neighbours(0, 1, 1), neighbours(0, -1, 1), neighbours(0, 1, -1)]
        sides = [neighbours(0, -1, 0), neighbours(0, 1, 0), neighbours(0, 0, -1), neighbours(0, 0, 1)]
        groups, share = [corners, sides], 1 / 9
    else:
        pairs = [neighbours(-1, 0, 0), neighbours(1, 0, 0), neighbours(0, -1, 0), neighbours(0, 1, 0)]
        row = [neighbours(0, 0, -1), neighbours(0, 0, 1)]
        groups, share = [[*pairs, *row]], 1 / 7
    done = 0
    for until in torch.unique(steps_of_cells).tolist():
        active = int((steps_of_pixels >= until).sum())
        warmed = sources[steps_of_cells >= until]
        now = [[index[:active] for index in group] for group in groups]
        for _ in range(done, until):
            heat[warmed] += 1
            total = None
            for group in now:
                part = _paired_sum(heat, group)
                total = part if total is None else total + part
            heat[:active] = (total + heat[:active]) * share
        done = until
    return heat


def _paired_sum(heat: torch.Tensor, group: list[torch.Tensor]) -> torch.Tensor:
    """(a + b) + (c + d) + ...: in this order the terms are added in the compiled code."""
    total = None
    for first, second in zip(group[::2], group[1::2], strict=True):
        pair = heat[first] + heat[second]
        total = pair if total is None else total + pair
    return total


def _unit(gradient: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    gradient = torch.where(gradient.abs() <= noise, torch.zeros_like(gradient), gradient)
    largest = gradient.abs().amax(dim=0)
    scaled = gradient / torch.where(largest > 0, largest, torch.ones_like(largest))
    length = torch.sqrt((scaled**2).sum(dim=0))
    return scaled / torch.where(length > 0, length, torch.ones_like(length))
