"""Read a JSON file of which only the form is certain to be JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def read_json(path: str | Path) -> Any:
    """The content of a JSON file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not JSON, broken off, or with NaN or Infinity, which JSON does not know.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.json"
        >>> _ = path.write_text('{"images": []}')
        >>> read_json(path)
        {'images': []}
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    return parse_json(path.read_bytes(), path)


def parse_json(content: bytes, where: str | Path) -> Any:
    """The same of content that was read already; `where` is what the sentence of an error names."""
    try:
        return json.loads(content.decode("utf-8-sig"), parse_constant=_refuse)
    except RecursionError:
        raise ValueError(f"{where} is not valid JSON (it is nested too deeply).") from None
    except ValueError as error:
        raise ValueError(f"{where} is not valid JSON ({' '.join(str(error).split()).rstrip('.')}).") from error


def _refuse(word: str) -> None:
    raise ValueError(f"it holds {word}")
