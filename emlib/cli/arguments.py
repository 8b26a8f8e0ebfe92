"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
import yaml

Track = Annotated[str, typer.Argument(help="a track, for example 1_mitochondria_contours")]
Profile = Annotated[str, typer.Option(help="smoke, tutorial or paper")]
Variant = Annotated[str | None, typer.Option(help="variant of the recipe; `emlib recipe list` names them")]
Override = Annotated[
    list[str], typer.Option("--set", "-s", help="recipe key=value, for example training.iterations=50")
]
Parameter = Annotated[list[str], typer.Option("--parameter", "-p", help="notebook parameter name=value, e.g. seed=3")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda")]
Key = Annotated[str | None, typer.Option(help="array inside the HDF5 or zarr file; default: main, else the first")]
DataDir = Annotated[
    Path | None, typer.Option("--data-dir", help="local data sets; default: EMLIB_DATA, else downloads")
]


def key_values(texts: list[str]) -> dict[str, object]:
    """Names and values of texts name=value; the value is read as YAML.

    Raises:
        ValueError: a text of another form.

    Example:
        >>> key_values(["threshold=0.3"])
        {'threshold': 0.3}
    """
    values = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not separator or not name.strip():
            raise ValueError(f"'{text}' is not of the form name=value.")
        try:
            values[name.strip()] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise ValueError(f"The value of '{text}' is not valid YAML.") from None
    return values
