"""What the channels are that a list of targets amounts to: how many, their names, their directions."""

from __future__ import annotations

from collections.abc import Sequence

from emlib.recipe_schema import ImageTargetOutput, TargetOutput
from emlib.targets.cell_classes import CLASSES
from emlib.targets.options import channel_count
from emlib.targets.voxel_pairs import VoxelPair, affinity_pairs

Output = TargetOutput | ImageTargetOutput


def output_channel_count(output: Output) -> int:
    """How many channels a network puts out for a target.

    Raises:
        ValueError: unknown option.

    Example:
        >>> output_channel_count(TargetOutput(name="affinity", offsets=((-1, 0, 0), (0, -9, 0)), losses=()))
        2
        >>> output_channel_count(TargetOutput(name="embedding", embedding=36, mask="mask", losses=()))
        37
    """
    if isinstance(output, ImageTargetOutput):
        return len(_image_channel_names(output))
    if output.embedding is not None:
        return output.embedding + (output.mask is not None)
    return channel_count(output.option) if output.offsets is None else len(output.offsets)


def target_channel_count(output: Output) -> int:
    """How many channels the target itself has: those of the prediction, but for an embedding, which has one.

    Example:
        >>> target_channel_count(TargetOutput(name="embedding", embedding=36, losses=()))
        1
    """
    is_embedding = isinstance(output, TargetOutput) and output.embedding is not None
    return 1 if is_embedding else output_channel_count(output)


def channel_names(outputs: Sequence[Output]) -> list[str]:
    """Names of a network's output channels: the target's name, with a number where a target has several channels.

    The channels of a flow are told apart by their axes: flow_y, flow_x. Classes have names of their own, and so has the
    mask of an embedding.

    Example:
        >>> channel_names([TargetOutput(name="mask", option="0", losses=()),
        ...                TargetOutput(name="affinity", option="2", losses=())])
        ['mask', 'affinity_0', 'affinity_1', 'affinity_2']
        >>> channel_names([TargetOutput(name="embedding", embedding=2, mask="mask", losses=())])
        ['mask', 'embedding_0', 'embedding_1']
    """
    names = []
    for output in outputs:
        if isinstance(output, ImageTargetOutput):
            names += _image_channel_names(output)
            continue
        if output.embedding is not None:
            names += [] if output.mask is None else [output.mask]
            names += [f"{output.name}_{index}" for index in range(output.embedding)]
            continue
        count = output_channel_count(output)
        names += [output.name] if count == 1 else [f"{output.name}_{index}" for index in range(count)]
    return names


def channel_pairs(outputs: Sequence[Output]) -> list[VoxelPair | None]:
    """For each of a network's output channels the voxel pair that it compares; None where it has no direction.

    Example:
        >>> pairs = channel_pairs([TargetOutput(name="mask", option="0", losses=()),
        ...                        TargetOutput(name="far", offsets=((0, 0, -9),), losses=())])
        >>> pairs[0], pairs[1].offset, pairs[1].group
        (None, (0, 0, -9), 'far')
    """
    pairs: list[VoxelPair | None] = []
    for output in outputs:
        if isinstance(output, ImageTargetOutput) or output.embedding is not None:
            pairs += [None] * output_channel_count(output)
        elif output.offsets is None:
            pairs += affinity_pairs(output.option, output.name)
        else:
            pairs += [VoxelPair.of_offset(offset, output.name) for offset in output.offsets]
    return pairs


def _image_channel_names(output: ImageTargetOutput) -> list[str]:
    if output.kind == "classes":
        return list(CLASSES)
    return [f"{output.name}_y", f"{output.name}_x"] if output.kind == "flow" else [output.name]
