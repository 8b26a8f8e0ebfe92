"""Checkpoints: a folder with weights, training state and a description, written whole or not at all.

`checkpoint_000200/` holds `weights.safetensors`, `state.pt` (optimizer and everything else that resuming needs) and
`checkpoint.json`, which says what the weights belong to and carries the SHA-256 of the other two and of itself.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from emlib.atomic import TEMPORARY_MARK, atomic_path, write_text
from emlib.recipe import Recipe

WEIGHTS, STATE, DESCRIPTION = "weights.safetensors", "state.pt", "checkpoint.json"
BEST = "best.json"
PACKAGES = ("emlib", "torch", "numpy", "lightning-fabric", "safetensors")


def checkpoint_path(out_dir: str | Path, iteration: int) -> Path:
    """Where the checkpoint of this iteration lies.

    Example:
        >>> checkpoint_path("run", 200).name
        'checkpoint_000200'
    """
    return Path(out_dir) / f"checkpoint_{iteration:06d}"


def write_checkpoint(
    path: Path, weights: Mapping[str, torch.Tensor], state: Mapping[str, Any], description: Mapping[str, Any]
) -> Path:
    """Write a checkpoint folder atomically.

    Args:
        path: the folder; replaced if it is there.
        weights: the network's `state_dict()`.
        state: plain types and tensors, such that `torch.load(weights_only=True)` reads it.
        description: plain JSON types; hashes and package versions are added.

    Raises:
        OSError: it could not be written; nothing at `path` has changed.
    """
    from safetensors.torch import save

    # Made in memory and written by Python: on a full disk neither library's own writing says that the disk is full.
    plain = save({name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()})
    pickled = io.BytesIO()
    torch.save(dict(state), pickled)
    with atomic_path(path) as folder:
        folder.mkdir()
        (folder / WEIGHTS).write_bytes(plain)
        (folder / STATE).write_bytes(pickled.getbuffer())
        content = dict(description) | {
            "packages": {name: _version(name) for name in PACKAGES},
            "sha256": {name: _file_hash(folder / name) for name in (WEIGHTS, STATE)},
        }
        content["checksum"] = _content_hash(content)
        (folder / DESCRIPTION).write_text(json.dumps(content, indent=2), encoding="utf-8")
    return path


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """The description of a checkpoint whose files are all there and unchanged.

    Args:
        path: a checkpoint folder, or a training's output folder, which stands for its best checkpoint.

    Raises:
        FileNotFoundError: no checkpoint, or one of its files is missing.
        ValueError: a file was truncated or altered.
    """
    path = resolve_checkpoint(path)
    for name in (DESCRIPTION, WEIGHTS, STATE):
        if not (path / name).is_file():
            raise FileNotFoundError(f"Checkpoint {path} has no {name}; it is incomplete and cannot be used.")
    try:
        content = json.loads((path / DESCRIPTION).read_text(encoding="utf-8"))
        intact = content.pop("checksum") == _content_hash(content)
    except (ValueError, KeyError, AttributeError, TypeError):
        intact = False
    if not intact:
        raise ValueError(f"Checkpoint {path} is damaged: {DESCRIPTION} was truncated or altered.")
    for name in (WEIGHTS, STATE):
        if _file_hash(path / name) != content["sha256"][name]:
            raise ValueError(f"Checkpoint {path} is damaged: {name} was truncated or altered since it was written.")
    return content


def load_recipe_of(checkpoint: str | Path, *, overrides: Iterable[str] | Mapping[str, Any] = ()) -> Recipe:
    """The recipe that a checkpoint was trained with, for example to apply it with `inference.overlap=0.25`.

    Args:
        checkpoint: a checkpoint folder, or a training's output folder, which stands for its best checkpoint.
        overrides: as of `emlib.recipe.load_recipe`.

    Raises:
        FileNotFoundError, ValueError: as `read_checkpoint`; an override that the recipe does not know.
    """
    stored = read_checkpoint(checkpoint)["recipe"]
    return Recipe.from_mapping(stored, where=f"recipe of {checkpoint}").with_overrides(overrides)


def read_state(path: str | Path) -> dict[str, Any]:
    """Optimizer and everything else that resuming needs; loaded with `weights_only=True`, so it runs no code."""
    return torch.load(Path(path) / STATE, map_location="cpu", weights_only=True)


def resolve_checkpoint(path: str | Path) -> Path:
    """The checkpoint folder itself, or the best one of a training's output folder.

    Raises:
        FileNotFoundError: there is none.
    """
    path = Path(path)
    if not (path / BEST).is_file():
        if not path.is_dir():
            raise FileNotFoundError(f"There is no checkpoint {path}; train first.")
        return path
    try:
        return path / json.loads((path / BEST).read_text(encoding="utf-8"))["checkpoint"]
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{path / BEST} is damaged; name a checkpoint folder instead.") from None


def find_latest(out_dir: str | Path, *, report: Callable[[str], None] = print) -> Path | None:
    """The newest intact checkpoint of a training, or None. A damaged one is reported in one line and passed over.

    Example:
        >>> find_latest("no_such_folder") is None
        True
    """
    for path in list_checkpoints(out_dir):
        try:
            read_checkpoint(path)
        except (OSError, ValueError) as error:
            report(f"{error} Looking for an earlier one.")
            continue
        return path
    return None


def list_checkpoints(out_dir: str | Path) -> list[Path]:
    """The checkpoint folders of a training, newest first, intact or not."""
    found = Path(out_dir).glob("checkpoint_*")
    numbered = [path for path in found if path.is_dir() and path.name.removeprefix("checkpoint_").isdigit()]
    return sorted(numbered, key=lambda path: int(path.name.removeprefix("checkpoint_")), reverse=True)


def write_best(out_dir: Path, best: Mapping[str, Any]) -> None:
    """Point to the best checkpoint: {"checkpoint": folder name, "metric": name, "value": figure}."""
    write_text(out_dir / BEST, json.dumps(dict(best), indent=2) + "\n")


def prune_checkpoints(out_dir: Path, *, keep_last: int, best: str) -> None:
    """Delete all checkpoints but the newest `keep_last` and the best."""
    for path in list_checkpoints(out_dir)[keep_last:]:
        if path.name != best:
            # Renamed first, so that an interruption cannot leave half a checkpoint under its name.
            shutil.rmtree(path.rename(path.with_name(f"{TEMPORARY_MARK}{path.name}")))


def remove_leftovers(out_dir: Path) -> None:
    """Delete what a killed training left half-written or half-deleted."""
    for pattern in (f"{TEMPORARY_MARK}*checkpoint_*", ".checkpoint_*.old-*"):
        for path in out_dir.glob(pattern):
            shutil.rmtree(path)
    for name in (BEST, "training.csv"):
        for path in out_dir.glob(f"{TEMPORARY_MARK}*-{name}"):
            path.unlink()


def _file_hash(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _content_hash(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
