"""What a deployment can vary, checked before anything is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from emlib.postprocessing.block_tracing import RULES
from emlib.postprocessing.distance_watershed import WatershedRules, watershed_rules
from emlib.postprocessing.face_overlaps import check_overlap
from emlib.postprocessing.methods import SEGMENTATION_METHODS
from emlib.postprocessing.section_smoothing import smoothing_reach
from emlib.scaling import Block, plan_blocks
from emlib.scaling.blocks import whole_numbers
from emlib.volume import Volume

METHODS = ("exact", "traced")
Channels = tuple[str, ...] | None


@dataclass(frozen=True)
class SegmentationSettings:
    """How a prediction becomes instances.

    Attributes:
        method: "exact" or "traced".
        segment: name of a method of `SEGMENTATION_METHODS`.
        parameters: of that method, all of them.
        rule, min_overlap, measure: of the tracing; see `trace_blocks`.
        block, halo: voxels (z, y, x).
    """

    method: str
    segment: str
    parameters: Mapping[str, Any]
    rule: str
    min_overlap: float
    measure: str
    block: tuple[int, ...]
    halo: tuple[int, ...]

    @property
    def rules(self) -> WatershedRules:
        """The parameters of `distance_watershed`."""
        return watershed_rules(**self.parameters)

    def plan(self, shape: Sequence[int]) -> tuple[Block, ...]:
        """The blocks of a volume, with what each may look at.

        Raises:
            ValueError: the published rule, and blocks that do not hold whole sections.
        """
        if self.method == "exact":
            reach = smoothing_reach(self.rules.sigma)
            return plan_blocks(shape, self.block, (0, reach, reach))
        plan = plan_blocks(shape, self.block, self.halo)
        if self.rule == "published" and any(max(block.index[1:]) > 0 for block in plan):
            raise ValueError(
                f"rule='published' goes from block to block along z, so blocks must hold whole sections of {shape[1]} "
                f"x {shape[2]}, not {self.block[1]} x {self.block[2]}; take such blocks, or rule='union'."
            )
        return plan

    @property
    def identity(self) -> dict[str, Any]:
        """What the labels depend on, beside the prediction."""
        found = {"method": self.method, "segment": self.segment, **self.parameters, "block": list(self.block)}
        if self.method == "traced":
            found |= {"halo": list(self.halo), "rule": self.rule, "min_overlap": self.min_overlap}
            found |= {"measure": self.measure}
        return found

    def channel(self, names: Channels, axes: int, wanted: int | str | None) -> int | None:
        """The channel that the method works on; None where there are no channels, or where it takes several by name.

        Raises:
            ValueError: no such channel, or several and none named like the method's map.
        """
        methods_own = SEGMENTATION_METHODS[self.segment]
        single = len(methods_own.channels) == 1 and not methods_own.grouped
        if wanted is not None and (axes == 3 or not single):
            why = "the prediction has no channels" if axes == 3 else f"{self.segment} takes its channels by their names"
            raise ValueError(f"channel is {wanted!r}, but {why}.")
        if axes == 3 and not single:
            raise ValueError(f"{self.segment} needs a prediction with channels (c, z, y, x).")
        if axes == 3 or not single:
            return None
        known = names or ()
        if isinstance(wanted, str):
            if known.count(wanted) != 1:
                raise ValueError(
                    f"There is no channel {wanted!r} among {', '.join(known) or 'channels without names'}."
                )
            return known.index(wanted)
        if wanted is not None:
            if isinstance(wanted, bool) or not 0 <= wanted < len(known):
                raise ValueError(f"channel is {wanted!r}, but there are the channels 0 to {len(known) - 1}.")
            return int(wanted)
        if len(known) == 1:
            return 0
        if known.count(methods_own.channels[0]) == 1:
            return known.index(methods_own.channels[0])
        raise ValueError(
            f"{self.segment} needs one channel, and none of {', '.join(known)} is called {methods_own.channels[0]}; "
            "choose one by channel=."
        )


def segmentation_settings(
    *,
    method: str,
    segment: str,
    parameters: Mapping[str, Any] | None,
    rule: str,
    min_overlap: float,
    measure: str,
    block: int | Sequence[int],
    halo: int | Sequence[int],
) -> SegmentationSettings:
    """Check the settings and fill in the method's defaults.

    Raises:
        TypeError, ValueError: an unknown name or value; the sentence says which.
    """
    _one_of("method", method, METHODS)
    _one_of("segment", segment, tuple(SEGMENTATION_METHODS))
    _one_of("rule", rule, RULES)
    check_overlap(min_overlap, measure)
    if rule == "published" and measure != "sum":
        raise ValueError(f"rule='published' measures overlap by 'sum', got measure={measure!r}.")
    defaults, given = SEGMENTATION_METHODS[segment].parameters, dict(parameters or {})
    for name in given:
        if name not in defaults:
            near = get_close_matches(name, defaults, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else "."
            raise TypeError(f"{segment} has no parameter {name!r}, only {', '.join(defaults)}{hint}")
    given = defaults | given
    if segment == "distance_watershed":
        watershed_rules(**given)
    elif method == "exact":
        raise ValueError(f"method='exact' knows distance_watershed only; for {segment} take method='traced'.")
    size, margin = whole_numbers("block", block, 3, 1), whole_numbers("halo", halo, 3, 0)
    if method == "exact" and any(margin):
        raise ValueError(f"method='exact' needs no halo, got {halo!r}; it takes what the smoothing reaches.")
    if method == "exact" and rule == "published":
        raise ValueError("rule='published' is one of method='traced'; method='exact' traces nothing.")
    return SegmentationSettings(method, segment, given, rule, float(min_overlap), measure, size, margin)


def channel_names(prediction: Volume) -> Channels:
    """The names stored with a prediction, or channel_0, channel_1, ...; None where there is no axis of channels."""
    if prediction.ndim == 3:
        return None
    names = prediction.attributes.get("channels")
    count = int(prediction.shape[0])
    return tuple(names) if names and len(names) == count else tuple(f"channel_{number}" for number in range(count))


def _one_of(name: str, value: Any, known: Sequence[str]) -> None:
    if value not in known:
        near = get_close_matches(str(value), known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}{hint}")
