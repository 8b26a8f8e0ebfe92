"""Settings of a detector that hold while it looks at one image, and are as before afterwards."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from torch import nn

LIMITS = ("area", "network")
# Pixels that the network sees for one proposal, and for one detection: an object of 7 x 7 pixels has room for two
# proposals. Only memory and time need a bound.
PIXELS_PER_PROPOSAL, PIXELS_PER_DETECTION = 25, 50
# What the first stage is no surer of is left out where its numbers do not decide.
POSSIBLE = 0.05


@contextlib.contextmanager
def detector_settings(
    model: nn.Module, *, limits: str, pixels: int, nms: float | None, proposal: float | None, resizes: bool
) -> Iterator[None]:
    """Inside the block a network has other limits and thresholds.

    Args:
        model: one that is no Mask R-CNN has no limits that could be changed.
        limits: "area" or "network", see `predict_instances`.
        pixels: of the largest look, as the network sees it.
        nms: objects that overlap a better one more are dropped; None: the network's own threshold.
        proposal: proposals that are no surer are dropped; None: the network's own threshold, at least `POSSIBLE` with
            limits after the area.
        resizes: whether it resizes what it sees, as it was built to.

    Raises:
        TypeError: a threshold for something that is no Mask R-CNN.
    """
    changes = [] if resizes else [(model, "test_short_sides", ())]
    proposals, heads = getattr(model, "rpn", None), getattr(model, "roi_heads", None)
    for name, value, part in (("nms_threshold", nms, heads), ("proposal_threshold", proposal, proposals)):
        if value is not None and part is None:
            raise TypeError(f"{name} is for a Mask R-CNN; {type(model).__name__} is none.")
    if nms is not None:
        changes.append((heads, "nms_thresh", nms))
    if proposal is not None:
        changes.append((proposals, "score_thresh", proposal))
    if limits == "area" and None not in (proposals, heads):
        room = pixels // PIXELS_PER_PROPOSAL
        for name, (training, testing) in (
            ("_pre_nms_top_n", proposals.most_candidates),
            ("_post_nms_top_n", proposals.most_proposals),
        ):
            changes.append((proposals, name, {"training": training, "testing": max(testing, room)}))
        if proposal is None:
            changes.append((proposals, "score_thresh", max(proposals.score_thresh, POSSIBLE)))
        most = max(heads.detections_per_img, pixels // PIXELS_PER_DETECTION)
        changes.append((heads, "detections_per_img", most))
    with _changed(changes):
        yield


@contextlib.contextmanager
def _changed(changes: list[tuple[Any, str, Any]]) -> Iterator[None]:
    before = [(part, name, getattr(part, name)) for part, name, _ in changes]
    try:
        for part, name, value in changes:
            setattr(part, name, value)
        yield
    finally:
        for part, name, value in reversed(before):
            setattr(part, name, value)
