"""What a network learns."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from emlib.recipe_schema.section import Count, Offset, Section


class LossTerm(Section):
    """One loss of one target channel group."""

    name: str = Field(description="a name of emlib.losses, for example WeightedBCE")
    weight: Annotated[float, Field(ge=0)] = 1.0
    class_weight: str = Field("0", description="option of emlib.targets.class_weights: '0' none, '1' balanced")


class TargetOutput(Section):
    """One target: what the network learns, and how it is scored in training."""

    name: str = Field(description="name of the channel(s) in prediction.zarr, for example mask")
    option: str | None = Field(None, description="option of emlib.targets.build_target, for example 4-2-1")
    offsets: tuple[Offset, ...] | None = Field(
        None, min_length=1, description="in place of option: affinities along these (z, y, x) steps, one channel each"
    )
    label_erosion: Count | None = Field(None, description="in place of target.label_erosion, for this target alone")
    losses: tuple[LossTerm, ...]

    @model_validator(mode="after")
    def _one_kind(self) -> TargetOutput:
        if (self.option is None) == (self.offsets is None):
            given = "neither" if self.option is None else "both"
            raise ValueError(f"target.outputs '{self.name}' needs an option or offsets, but has {given}")
        offsets = self.offsets or ()
        if (0, 0, 0) in offsets or len(set(offsets)) < len(offsets):
            raise ValueError(f"target.outputs '{self.name}' has the offset (0, 0, 0), or an offset twice")
        return self


class TargetRecipe(Section):
    """The targets, in the order of the network's output channels."""

    label_erosion: Count = Field(0, description="half width in voxels of the gap between touching instances")
    outputs: tuple[TargetOutput, ...] = Field(min_length=1)
