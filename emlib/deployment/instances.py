"""The stages between a prediction and labels of the whole volume."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from emlib.deployment.component_tables import collect_components, count_labels, number_objects
from emlib.deployment.exact_blocks import FloodComponents, SegmentBlock
from emlib.deployment.label_writing import WriteLabels
from emlib.deployment.settings import Channels, SegmentationSettings
from emlib.deployment.stages import Stages
from emlib.deployment.stored_arrays import table, tidy
from emlib.deployment.traced_blocks import SegmentAlone, links_of, number_by_union, number_in_sequence
from emlib.postprocessing.block_watershed import touching_pairs
from emlib.scaling import Block, BlockLedger, BlockVolume, block_chunks, create_block_volume, plan_shape
from emlib.scaling.label_faces import LinkBlock, grid_of
from emlib.volume import Volume

# Sections that are held as labels of 64 bits at once.
_DEEPEST = 64


class InstanceStages:
    """Segment the blocks of a volume and join what they found.

    Args:
        settings: how.
        plan: the blocks, of `settings.plan`.
        out: folder for segmentation.zarr; all else goes to the ledger's folder.
        ledger: of all stages together.
        memory: bytes, see `FloodComponents`.
    """

    def __init__(
        self, settings: SegmentationSettings, plan: Sequence[Block], out: Path, ledger: BlockLedger, memory: int
    ) -> None:
        self.settings, self.plan, self.out, self.ledger, self.memory = settings, plan, out, ledger, memory
        exact = settings.method == "exact"
        self.names = ("segments", "links", *(["components"] if exact else []), "labels")
        self.objects: int | None = None
        self.crossing: int | None = None

    def run(
        self, stages: Stages, prediction: Volume, channels: Channels, channel: int | None,
        voxel_size: Sequence[float] | None, *, overwrite: bool,
    ) -> BlockVolume | None:  # fmt: skip
        """Do the stages; the labels, when all blocks of them are written, or None if others have yet to do theirs."""
        exact, folder = self.settings.method == "exact", self.ledger.folder
        tables, pieces, flooded = folder / "tables", folder / "pieces", folder / "flooded"
        chunks, shape = _chunks(self.plan), plan_shape(self.plan)
        made = {"made_from": self.ledger.digest, "voxel_size": voxel_size, "chunks": chunks}
        out = create_block_volume(self.out / "segmentation.zarr", self.plan, "uint64", overwrite=overwrite, **made)
        local = create_block_volume(folder / "local.zarr", self.plan, "uint32", **made)
        grid = grid_of(self.plan)
        if exact:
            segment = SegmentBlock(prediction, channel, self.settings.rules, local, shape, pieces)
        else:
            segment = SegmentAlone(
                prediction, channels, channel, self.settings.segment, self.settings.parameters, local, shape
            )
        segments, links = self.ledger.part("segments"), self.ledger.part("links")
        if not stages.done("segments", segment, self.plan, self.ledger):
            return None
        count_labels(tables, segments, self.plan)
        rules = self.settings
        link = touching_pairs if exact else links_of(rules.rule, rules.min_overlap, rules.measure)
        linking = LinkBlock(local, grid, tables / "offsets.npy", link, 1 if exact else 0)
        if not stages.done("links", linking, self.plan, self.ledger):
            return None
        if exact:
            groups = collect_components(tables, segments, links, self.plan, rules.rules.min_size)
            self.crossing = table(tables, "component_members").size - 1
            flood = FloodComponents(tuple(self.plan), shape, rules.rules, pieces, tables, flooded, self.memory)
            if not stages.done("components", flood, groups, self.ledger):
                return None
            objects = number_objects(tables, segments, self.ledger.part("components"), self.plan, groups)
        elif rules.rule == "union":
            objects = number_by_union(tables, segments, links, self.plan)
        else:
            objects = number_in_sequence(tables, links, self.plan)
        if not exact:
            self.crossing = sum(len(links.load(block)["pairs"]) for block in self.plan)
        writing = WriteLabels(local, grid, tables, flooded if exact else None, out, chunks[0])
        if not stages.done("labels", writing, self.plan, self.ledger):
            return None
        self.objects = objects
        local.tidy()
        self.ledger.tidy()
        for place in (pieces, flooded, tables):
            tidy(place)
        return out


def _chunks(plan: Sequence[Block]) -> tuple[int, ...]:
    """Chunks that fit the plan, not so deep that a slab of them is large."""
    depth, *sides = block_chunks(plan)
    while depth > _DEEPEST and depth % 2 == 0:
        depth //= 2
    return (depth, *sides)
