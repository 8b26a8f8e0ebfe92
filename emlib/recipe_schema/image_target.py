"""What a network of images learns."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from emlib.recipe_schema.section import Section
from emlib.recipe_schema.target import LossTerm


class ImageTargetOutput(Section):
    """One target: a gradient flow (two channels, along y and x), a mask of all cells (one channel), or three classes.

    Of these, background, interior and boundary, every pixel has one.
    """

    name: str = Field(
        description="name of the channel(s); flow becomes flow_y and flow_x; classes have their own names"
    )
    kind: Literal["flow", "mask", "classes"]
    rule: Literal["cellpose3", "mediar", "cellpose4"] | None = Field(
        None, description="flow: its definition, see emlib.targets.gradient_flow"
    )
    losses: tuple[LossTerm, ...]

    @model_validator(mode="after")
    def _rule_of_a_flow(self) -> ImageTargetOutput:
        if (self.kind == "flow") != (self.rule is not None):
            wanted = "needs a rule" if self.kind == "flow" else "has a rule, which only a flow can have"
            kind = self.kind if self.kind == "classes" else f"a {self.kind}"
            raise ValueError(f"target.outputs '{self.name}' is {kind} and {wanted}")
        return self


class ImageTargetRecipe(Section):
    """The targets, in the order of the network's output channels."""

    outputs: tuple[ImageTargetOutput, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _flow_first_or_classes(self) -> ImageTargetRecipe:
        if [output.kind for output in self.outputs] not in (["flow", "mask"], ["classes"]):
            kinds = ", ".join(output.kind for output in self.outputs)
            raise ValueError(
                f"target.outputs are {kinds}, but a flow and then a mask were expected, or classes and nothing else"
            )
        return self

    @property
    def has_classes(self) -> bool:
        """Whether the target is classes, and not a flow and a mask."""
        return self.outputs[0].kind == "classes"

    @property
    def rule(self) -> str | None:
        """The definition of the flow; None of classes."""
        return self.outputs[0].rule
