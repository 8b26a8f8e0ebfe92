"""The base of every section of a recipe, and the types that sections share."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[int, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Triple = tuple[Positive, Positive, Positive]
Pair = tuple[Positive, Positive]
Margin = tuple[Count, Count, Count]
Nanometres = tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]]
Range = tuple[Count, Positive]
Offset = tuple[int, int, int]


class Section(BaseModel):
    """Base of every section: immutable, no unknown key, no silent conversion of text to numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
