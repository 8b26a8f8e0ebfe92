"""What a network learns."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, JsonValue, model_validator

from emlib.recipe_schema.section import Count, Offset, Positive, Section


class LossTerm(Section):
    """One loss of one target channel group."""

    name: str = Field(description="a name of emlib.losses, for example WeightedBCE")
    weight: Annotated[float, Field(ge=0)] = 1.0
    class_weight: str = Field("0", description="option of emlib.targets.class_weights: '0' none, '1' balanced")
    options: dict[str, JsonValue] = Field(
        {}, description="arguments of this loss, see emlib.losses.build_loss, for example {kept: 10000}"
    )


class TargetOutput(Section):
    """One target: what the network learns, and how it is scored in training."""

    name: str = Field(description="name of the channel(s) in prediction.zarr, for example mask")
    option: str | None = Field(None, description="option of emlib.targets.build_target, for example 4-2-1")
    offsets: tuple[Offset, ...] | None = Field(
        None, min_length=1, description="in place of option: affinities along these (z, y, x) steps, one channel each"
    )
    embedding: Positive | None = Field(
        None, description="in place of option: length of a vector for every voxel; its losses see the instances"
    )
    mask: str | None = Field(
        None, description="embedding: name of a probability that comes before the vector and is learned with it"
    )
    label_erosion: Count | None = Field(None, description="in place of target.label_erosion, for this target alone")
    losses: tuple[LossTerm, ...]

    @model_validator(mode="after")
    def _one_kind(self) -> TargetOutput:
        kinds = {"option": self.option, "offsets": self.offsets, "embedding": self.embedding}
        given = [name for name, value in kinds.items() if value is not None]
        if len(given) != 1:
            has = " and ".join(given) or "none"
            raise ValueError(f"target.outputs '{self.name}' needs an option, offsets or an embedding, but has {has}")
        if self.mask is not None and self.embedding is None:
            raise ValueError(f"target.outputs '{self.name}' has a mask, which only an embedding can have")
        offsets = self.offsets or ()
        if (0, 0, 0) in offsets or len(set(offsets)) < len(offsets):
            raise ValueError(f"target.outputs '{self.name}' has the offset (0, 0, 0), or an offset twice")
        return self


class TargetRecipe(Section):
    """The targets, in the order of the network's output channels."""

    label_erosion: Count = Field(0, description="half width in voxels of the gap between touching instances")
    outputs: tuple[TargetOutput, ...] = Field(min_length=1)
