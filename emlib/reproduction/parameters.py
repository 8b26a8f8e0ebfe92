"""The parameters cell of a notebook: which names it declares, their defaults, kinds and ranges."""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat

NUMBER = r"-?\d+(?:\.\d+)?(?:e-?\d+)?"
RANGE = re.compile(rf"^\s*({NUMBER}) to ({NUMBER})")
CHOICES = re.compile(r"^\s*([\w.+-]+(?: \| [\w.+-]+)*)\s*(?::|$)")


@dataclass(frozen=True)
class Parameter:
    """One parameter of a notebook, as its `parameters` cell declares it.

    The cell holds lines of the form `name = default  # range: meaning`, where the range is `low to high`, or choices
    `a | b | c`; a default of None means that the recipe's value holds.
    """

    name: str
    default: Any
    choices: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    whole: bool = False

    def check(self, value: Any, notebook: str) -> Any:
        """Return `value` if this parameter may take it.

        Raises:
            ValueError: one sentence with the notebook, the name, the value and what was expected.
        """
        wrong = f"{notebook}: parameter '{self.name}' is {value!r}, but"
        if value is None and self.default is None:
            return value
        if self.choices:
            if value not in self.choices:
                raise ValueError(f"{wrong} {' or '.join(self.choices)} was expected.")
        elif self.low is not None and self.high is not None:
            kind = "a whole number" if self.whole else "a number"
            if isinstance(value, bool) or not isinstance(value, int if self.whole else (int, float)):
                raise ValueError(f"{wrong} {kind} from {self.low:g} to {self.high:g} was expected.")
            if not self.low <= value <= self.high:
                raise ValueError(f"{wrong} {kind} from {self.low:g} to {self.high:g} was expected.")
        elif isinstance(self.default, (bool, str)):
            kind = bool if isinstance(self.default, bool) else str
            if not isinstance(value, kind):
                raise ValueError(f"{wrong} {'True or False' if kind is bool else 'text'} was expected.")
        return value


def read_parameters(notebook: str | Path) -> dict[str, Parameter]:
    """Parameters declared by the one cell tagged `parameters`.

    Raises:
        FileNotFoundError: no such notebook.
        ValueError: not a notebook, no such cell or several, or the cell holds more than plain assignments.
    """
    path = Path(notebook)
    if not path.is_file():
        raise FileNotFoundError(f"There is no notebook {path}.")
    try:
        cells = nbformat.read(path, as_version=4).cells
    except Exception as error:  # noqa: BLE001 - nbformat raises many kinds; the sentence names the file and the cause
        raise ValueError(f"{path.name} is not a readable notebook: {str(error).splitlines()[0]}") from None
    tagged = [cell for cell in cells if "parameters" in cell.metadata.get("tags", [])]
    if len(tagged) != 1:
        raise ValueError(f"{path.name} has {len(tagged)} cells tagged 'parameters', but exactly one was expected.")
    return _parse(tagged[0].source, path.name)


def check_parameters(values: Mapping[str, Any], declared: Mapping[str, Parameter], notebook: str) -> dict[str, Any]:
    """Check values against a notebook's declarations.

    Raises:
        ValueError: a name that is not declared (with the nearest one), or a value of the wrong kind or range.
    """
    for name in values:
        if name not in declared:
            close = difflib.get_close_matches(name, declared, n=1, cutoff=0.5)
            hint = f"did you mean '{close[0]}'?" if close else f"it has {', '.join(declared)}."
            raise ValueError(f"{notebook} has no parameter '{name}'; {hint}")
    return {name: declared[name].check(value, notebook) for name, value in values.items()}


def _parse(source: str, notebook: str) -> dict[str, Parameter]:
    lines = source.splitlines()
    found = {}
    for statement in ast.parse(source).body:
        if not isinstance(statement, ast.Assign) or not isinstance(statement.targets[0], ast.Name):
            raise ValueError(f"{notebook}: the parameters cell may hold assignments 'name = value' only.")
        name = statement.targets[0].id
        try:
            default = ast.literal_eval(statement.value)
        except ValueError:
            raise ValueError(f"{notebook}: the default of parameter '{name}' must be a plain value.") from None
        comment = lines[statement.lineno - 1][statement.end_col_offset :].partition("#")[2]
        found[name] = _declare(name, default, comment)
    return found


def _declare(name: str, default: Any, comment: str) -> Parameter:
    numbers, choices = RANGE.match(comment), CHOICES.match(comment)
    if numbers:
        low, high = numbers.groups()
        whole = all(re.fullmatch(r"-?\d+", text) for text in (low, high)) and not isinstance(default, float)
        return Parameter(name, default, low=float(low), high=float(high), whole=whole)
    if choices:
        return Parameter(name, default, choices=tuple(choices.group(1).split(" | ")))
    return Parameter(name, default)
