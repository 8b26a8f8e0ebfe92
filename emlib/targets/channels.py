"""Names of the channels that a list of targets amounts to."""

from __future__ import annotations

from collections.abc import Sequence

from emlib.recipe_schema import TargetOutput
from emlib.targets.options import channel_count


def channel_names(outputs: Sequence[TargetOutput]) -> list[str]:
    """Names of a network's output channels: the target's name, with a number where a target has several channels.

    Example:
        >>> channel_names([TargetOutput(name="mask", option="0", losses=()),
        ...                TargetOutput(name="affinity", option="2", losses=())])
        ['mask', 'affinity_0', 'affinity_1', 'affinity_2']
    """
    names = []
    for output in outputs:
        count = channel_count(output.option)
        names += [output.name] if count == 1 else [f"{output.name}_{index}" for index in range(count)]
    return names
