"""What an interrupted prediction remembers, and how it knows that it is the same prediction."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from emlib.atomic import write_text


class Ledger:
    """A small JSON file beside an unfinished output: what makes it, and how many planes are on disk.

    Args:
        path: the file.
        fingerprint: everything that the values depend on, as `{name: plain value}`.
    """

    def __init__(self, path: Path, fingerprint: Mapping[str, Any]) -> None:
        self.path = path
        self.fingerprint = json.loads(json.dumps(fingerprint))

    def load(self) -> dict[str, Any] | None:
        """The record of an earlier run with the same fingerprint; None if there is none that can be read."""
        record = self._read()
        return record if record is not None and not self.differences() else None

    def differences(self) -> list[str]:
        """What the earlier run's fingerprint has otherwise; empty if there was no earlier run."""
        record = self._read()
        if record is None:
            return []
        before = record["fingerprint"]
        return [name for name in self.fingerprint if before.get(name) != self.fingerprint[name]]

    def write(self, planes: int, **fields: Any) -> None:
        """Record, atomically, that the first `planes` planes are safely on disk."""
        write_text(self.path, json.dumps({"planes": planes, **fields, "fingerprint": self.fingerprint}, indent=1))

    def remove(self) -> None:
        """Forget the run."""
        self.path.unlink(missing_ok=True)

    def _read(self) -> dict[str, Any] | None:
        try:
            record = json.loads(self.path.read_text(encoding="utf-8"))
        except (FileNotFoundError, json.JSONDecodeError, UnicodeDecodeError):
            return None
        complete = isinstance(record, dict) and isinstance(record.get("fingerprint"), dict) and "planes" in record
        return record if complete else None


def model_fingerprint(model: nn.Module) -> str:
    """SHA-256 of a model's class and of every parameter's and buffer's name, dtype, shape and value."""
    digest = hashlib.sha256(f"{type(model).__module__}.{type(model).__qualname__}\n{model}".encode())
    for name, tensor in itertools.chain(model.named_parameters(), model.named_buffers()):
        values = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {values.dtype} {tuple(values.shape)}".encode())
        # as bytes, since numpy knows no bfloat16
        digest.update(values.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
