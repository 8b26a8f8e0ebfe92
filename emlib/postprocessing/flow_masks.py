"""Cells from a predicted flow field and a predicted cell probability."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

import numpy as np

from emlib.compilation import compiled
from emlib.diffusion import diffusion_rule
from emlib.postprocessing.flow_error import errors_of_labels
from emlib.postprocessing.flow_fields import (
    check_flow_scale,
    check_steps,
    check_typical_length,
    checked_flow,
    masked_field,
    thresholded,
)
from emlib.postprocessing.flow_sinks import label_by_sinks
from emlib.postprocessing.flow_tracking import nearest_pixels, tracked
from emlib.postprocessing.object_holes import fill_numbered_holes
from emlib.postprocessing.probabilities import voxel_count
from emlib.postprocessing.small_objects import keep_large_and_renumber


def masks_from_flows(
    flow: Any,
    probability: Any,
    *,
    probability_threshold: float = 0.5,
    flow_threshold: float | None = 0.4,
    min_size: int = 15,
    steps: int = 200,
    fill_holes: bool = True,
    peak: int = 10,
    rule: str = "cellpose3",
    flow_scale: float = 1.0,
    logits: bool = False,
) -> Any:
    """Instances from flows: every foreground pixel walks to its cell's centre, and who arrives together is one cell.

    1. Foreground is `probability > probability_threshold`; all of it is tracked.
    2. `follow_flows` for `steps` steps; background has no flow, so who walks into it stops there.
    3. Peaks of the histogram of the arrivals become cells, with their surroundings; see `label_by_sinks`.
    4. Cells whose `flow_errors` exceed `flow_threshold` are dropped.
    5. Holes are filled (`fill_object_holes`).
    6. Cells with fewer than `min_size` pixels are dropped; the rest is numbered 1, 2, 3, ... in the raster order of the
       centres.

    Args:
        flow: (2, y, x) or (3, z, y, x), float, components in the order of the axes. Torch tensors come back as
            tensors; they are tracked on their device, the other steps run on the CPU.
        probability: (y, x) or (z, y, x), bool, uint8 0-255 or float 0-1.
        probability_threshold: between 0 and 1, exclusive.
        flow_threshold: None or 0 leaves step 4 out.
        min_size: in pixels; a cell of exactly this size stays.
        steps: as many as the longest way to a centre has pixels, or more.
        fill_holes: False leaves step 5 out.
        peak: a centre needs more arrivals than this; lower it for cells of a dozen pixels.
        rule: the definition of flow behind step 4, see `emlib.targets.gradient_flow`.
        flow_scale: how long one pixel per step is in `flow`: 1 for `gradient_flow`, 5 for what networks of MEDIAR and
            Cellpose predict.
        logits: `probability` holds a network's output before the sigmoid; the threshold stays a probability.

    Returns:
        uint32 labels of the probability's shape, 0 = background (an int64 tensor for tensors). All zero where nothing
        is foreground.

    Raises:
        TypeError: a flow or logits that are not floating point, other types of probability, thresholds that are no
            numbers.
        ValueError: shapes that do not fit, empty arrays, NaN or infinite flow, values that are not probabilities, a
            flow typically much longer than `flow_scale`.

    Memory: about 40 bytes per foreground pixel and 24 per pixel (2-D) above the input.

    Source: Stringer et al., Nature Methods 2021 (Cellpose), and Lee et al., NeurIPS challenge 2022 (MEDIAR).

    Example:
        >>> from emlib.diffusion import diffusion_flow
        >>> labels = np.zeros((8, 12), dtype=int)
        >>> labels[1:7, 1:6], labels[1:7, 6:11] = 4, 9
        >>> found = masks_from_flows(diffusion_flow(labels), labels > 0)
        >>> np.array_equal(found, np.searchsorted([0, 4, 9], labels))
        True
    """
    settings = checked_settings(
        probability_threshold=probability_threshold,
        flow_threshold=flow_threshold,
        min_size=min_size,
        steps=steps,
        fill_holes=fill_holes,
        peak=peak,
        rule=rule,
        flow_scale=flow_scale,
        logits=logits,
    )
    if type(flow).__module__.partition(".")[0] == "torch":
        return _masks_of_tensors(flow, probability, settings)
    flow, foreground = checked_prediction(flow, probability, settings)
    labels, peaks = arrived_together(flow, foreground, settings)
    drop_and_fill(labels, len(peaks), flow, settings)
    keep_large_and_renumber(labels, len(peaks), settings["min_size"])
    return labels


def checked_settings(**settings: Any) -> dict[str, Any]:
    """The keywords of `masks_from_flows`, refused or in one form."""
    settings["steps"] = check_steps(settings["steps"])
    settings["min_size"] = voxel_count(settings["min_size"], "min_size")
    settings["peak"] = voxel_count(settings["peak"], "peak")
    settings["flow_scale"] = check_flow_scale(settings["flow_scale"])
    diffusion_rule(settings["rule"])
    threshold = settings["flow_threshold"]
    if threshold is not None:
        if isinstance(threshold, bool) or not isinstance(threshold, Real):
            raise TypeError(f"flow_threshold must be a number or None, got {threshold!r}.")
        if not 0 <= threshold < math.inf:
            raise ValueError(f"flow_threshold must be at least 0 (0 or None: no check), got {threshold}.")
    return settings


def checked_prediction(
    flow: Any, probability: Any, settings: dict[str, Any], *, check_scale: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """The flow, and where the foreground is."""
    flow = checked_flow(flow)
    foreground = thresholded(probability, settings["probability_threshold"], logits=settings["logits"])
    if foreground.shape != flow.shape[1:]:
        raise ValueError(
            f"The probability has shape {foreground.shape}, but the flow is one of shape {flow.shape[1:]}."
        )
    if check_scale:
        check_typical_length(settings["flow_scale"], flow, foreground)
    return flow, np.ascontiguousarray(foreground)


def arrived_together(
    flow: np.ndarray, foreground: np.ndarray, settings: dict[str, Any], ends: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Steps 2 and 3: labels, uint32, and the peak of each id, flat indices; some ids may be without pixels.

    Args:
        ends: result of step 2, int64 flat indices, where somebody else did it.
    """
    labels = np.zeros(foreground.shape, dtype=np.uint32)
    if ends is None:
        field = masked_field(flow, foreground, settings["flow_scale"])
        ends = nearest_pixels(*tracked(field, foreground, settings["steps"]), foreground.shape)
        del field
    ids, peaks = label_by_sinks(ends, foreground.shape, peak=settings["peak"])
    _put(ids, foreground.reshape(-1), labels.reshape(-1))
    return labels, peaks


def drop_and_fill(labels: np.ndarray, count: int, flow: np.ndarray, settings: dict[str, Any]) -> None:
    """Steps 4 and 5, in place."""
    if settings["flow_threshold"] and count:
        errors = errors_of_labels(labels, count, flow, settings["rule"], settings["flow_scale"])
        _drop(labels.reshape(-1), errors > settings["flow_threshold"])
    if settings["fill_holes"] and count:
        fill_numbered_holes(labels, count)


@compiled
def _put(ids, foreground, labels):
    found = 0
    for k in range(foreground.size):
        if foreground[k]:
            labels[k] = ids[found]
            found += 1


@compiled
def _drop(labels, dropped):
    for k in range(labels.size):
        if dropped[labels[k]]:
            labels[k] = 0


def _masks_of_tensors(flow: Any, probability: Any, settings: dict[str, Any]) -> Any:
    import torch

    from emlib.postprocessing.flow_tracking_torch import check_flow_tensor, tracked_tensor

    if not isinstance(probability, torch.Tensor):
        raise TypeError(f"The flow is a tensor, so the probability must be one, not {type(probability).__name__}.")
    check_flow_tensor(flow)
    on_cpu = [values.detach().cpu() for values in (flow, probability)]
    on_cpu = [values.float() if values.dtype == torch.bfloat16 else values for values in on_cpu]
    array, foreground = checked_prediction(on_cpu[0].numpy(), on_cpu[1].numpy(), settings)
    inside = torch.from_numpy(foreground).to(flow.device)
    whole, fraction = tracked_tensor(flow.detach(), inside, settings["steps"], flow_scale=settings["flow_scale"])
    ends = nearest_pixels(whole.to(torch.int32).cpu().numpy(), fraction.cpu().numpy(), tuple(foreground.shape))
    labels, peaks = arrived_together(array, foreground, settings, ends)
    drop_and_fill(labels, len(peaks), array, settings)
    keep_large_and_renumber(labels, len(peaks), settings["min_size"])
    return torch.from_numpy(labels.astype(np.int64)).to(flow.device)
