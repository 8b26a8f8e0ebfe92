"""Manifest: the record that a stage leaves beside its files, and that the next stage checks before it starts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from emlib.atomic import write_text

FILE_NAME = "manifest.json"
RECORDED_PACKAGES = ("emlib", "numpy", "torch", "monai", "zarr", "h5py", "lightning-fabric", "numba", "papermill")


@dataclass(frozen=True)
class Manifest:
    """What a stage was, what it read and what it made.

    Attributes:
        track, stage, profile, seed, device: which run this was; device is "cpu" or the GPU's name.
        recipe: the whole recipe as plain values; `recipe_hash` its hash; `overrides` what differed from the file.
        inputs: "stage" or "stage/name" -> sha256 of that manifest or output at the time it was read.
        outputs: name -> {"path": relative to the manifest's folder, "sha256": ...}.
        metrics: name -> number; `judged` are those that the notebook shows against their bands.
        versions: package -> version.
        wall_seconds, peak_memory: duration and peak resident memory (bytes) of the process.
    """

    track: str
    stage: str
    profile: str
    seed: int
    device: str
    recipe: Mapping[str, Any]
    recipe_hash: str
    overrides: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)
    outputs: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    judged: Sequence[str] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    wall_seconds: float = 0.0
    peak_memory: int = 0

    def write(self, folder: str | Path) -> Path:
        """Store as `manifest.json` in `folder`, atomically."""
        return write_text(Path(folder) / FILE_NAME, json.dumps(asdict(self), indent=2, sort_keys=True) + "\n")

    def verify_output(self, name: str, folder: str | Path) -> Path:
        """Path of an output, after checking that it is there and unchanged.

        Raises:
            ValueError: the stage has no such output, or its bytes differ from what was recorded.
            FileNotFoundError: the file or folder is gone.
        """
        if name not in self.outputs:
            raise ValueError(f"{self.stage} has no output '{name}'; it has {', '.join(self.outputs) or 'none'}.")
        path = Path(folder) / self.outputs[name]["path"]
        again = f"run notebook {self.stage} again"
        if not path.exists():
            raise FileNotFoundError(f"The output '{name}' of {self.stage} ({path.name}) is missing; {again}.")
        if hash_path(path) != self.outputs[name]["sha256"]:
            raise ValueError(
                f"The output '{name}' of {self.stage} ({path.name}) changed after it was written; {again}."
            )
        return path


def read_manifest(folder: str | Path) -> Manifest:
    """Read `manifest.json` of a stage's folder.

    Raises:
        FileNotFoundError: there is none: the stage has not run, or not to its end.
        ValueError: the file is truncated or not a manifest.
    """
    path = Path(folder) / FILE_NAME
    stage = Path(folder).name
    if not path.is_file():
        raise FileNotFoundError(f"Stage {stage} has not finished (no {stage}/{FILE_NAME}); run notebook {stage} first.")
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        unknown = set(stored) - {item.name for item in fields(Manifest)}
        if unknown:
            raise ValueError(f"unknown entries {sorted(unknown)}")
        return Manifest(**stored)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{stage}/{FILE_NAME} is damaged ({error}); run notebook {stage} again.") from None


def hash_path(path: str | Path) -> str:
    """SHA-256 (hexadecimal) of a file's bytes, or of a folder's relative names and bytes, in sorted order.

    Example:
        >>> import tempfile, pathlib
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "a"; _ = file.write_bytes(b"")
        >>> hash_path(file)[:8]
        'e3b0c442'
    """
    path = Path(path)
    if path.is_dir():
        digest = hashlib.sha256()
        for child in sorted(item for item in path.rglob("*") if item.is_file()):
            digest.update(f"{child.relative_to(path).as_posix()}\0{hash_path(child)}\n".encode())
        return digest.hexdigest()
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def package_versions() -> dict[str, str]:
    """Installed versions of the packages on which results depend."""
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in RECORDED_PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def peak_memory() -> int:
    """Peak resident memory of this process so far, in bytes."""
    import psutil

    usage = psutil.Process().memory_info()
    if hasattr(usage, "peak_wset"):  # Windows
        return int(usage.peak_wset)
    import resource
    import sys

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)
