"""Which blocks of a long piece of work are done, kept in a folder that any number of processes share."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emlib.atomic import TEMPORARY_MARK, write_text
from emlib.progress import progress
from emlib.scaling.block_record import (
    FORMAT,
    DamagedRecord,
    canonical,
    check_files,
    hash_of,
    place_of,
    plain,
    read_record,
    read_result,
    write_record,
)
from emlib.scaling.blocks import Block

HEAD = "ledger.json"


@dataclass(frozen=True)
class Survey:
    """What a ledger says about a plan: blocks that are done, not yet done, and done but damaged since."""

    done: tuple[Block, ...]
    missing: tuple[Block, ...]
    damaged: tuple[Block, ...]

    @property
    def todo(self) -> tuple[Block, ...]:
        """Blocks to work on, in the plan's order."""
        return tuple(sorted(self.missing + self.damaged))


class BlockLedger:
    """A folder with one small file for each finished block.

    A block is done when all that came of it is written, flushed to disk, hashed, and named by a record that appears
    under its name at once. So a killed process leaves a block done or not done, never half done; processes write
    different files and need no lock; and a result that was cut, lost or changed by a bit is found by its hash and made
    again. What is made again is the same, since the ledger belongs to one identity, and refuses another.

    The files are JSON (and .npy for arrays) that other programs can read:

        FOLDER/ledger.json               the identity
        FOLDER/blocks/0.2.1.json         place, values, and size and SHA-256 of each file, of block (0, 2, 1)
        FOLDER/blocks/0.2.1.NAME.npy     an array that its function returned

    Args:
        folder: made if it is not there.
        identity: all that the results depend on, by name, as plain values: hashes of the recipe, the weights, the
            input, and the plan (`plan_fingerprint`). It may be shown to the user, so the names should mean something.

    Raises:
        ValueError: the folder holds work of another identity, an empty identity, or a later version's files.
        TypeError: the identity is not made of plain values.
        OSError: the folder cannot be written, or its ledger.json is damaged.

    Example:
        >>> import tempfile
        >>> from emlib.scaling import plan_blocks
        >>> folder = tempfile.mkdtemp()
        >>> ledger, plan = BlockLedger(folder, {"weights": "4f1c", "threshold": 0.5}), plan_blocks((8,), 4)
        >>> ledger.store(plan[0], {"objects": 3})
        >>> ledger.load(plan[0]), len(ledger.survey(plan).todo)
        ({'objects': 3}, 1)
        >>> BlockLedger(folder, {"weights": "4f1c", "threshold": 0.6})
        Traceback (most recent call last):
        ValueError: ... was begun with another threshold (0.5 then, 0.6 now); use another folder, or remove ...
    """

    def __init__(self, folder: str | Path, identity: Mapping[str, Any]) -> None:
        if not isinstance(identity, Mapping):
            raise TypeError(f"identity must be a mapping of names to plain values, got {type(identity).__name__}.")
        if not identity:
            raise ValueError("identity is empty, so a changed input could not be told from the same one.")
        self.folder = Path(folder).absolute()
        self.identity: dict[str, Any] = plain(dict(identity), "identity")
        self.digest = hash_of(canonical(self.identity))
        self._begin()

    def part(self, name: str) -> BlockLedger:
        """A ledger for one of several passes over the blocks, in a folder below this one."""
        return BlockLedger(self.folder / name, self.identity | {"pass": name})

    def path_of(self, block: Block) -> Path:
        """The record of a block."""
        return self.folder / "blocks" / f"{'.'.join(map(str, block.index))}.json"

    def store(self, block: Block, result: Mapping[str, Any] | None = None) -> None:
        """Note that a block is done.

        Args:
            block: which one.
            result: what came of it, by name: plain values, arrays, or the `WrittenFiles` of a `BlockVolume`.

        Raises:
            TypeError: a result of another kind.
            OSError: the disk is full or cannot be written; the block counts as not done.
        """
        write_record(self.path_of(block), block, self.digest, result)

    def load(self, block: Block) -> dict[str, Any]:
        """The values and arrays that were stored for a block (not its `WrittenFiles`).

        Raises:
            KeyError: it is not done.
            OSError: it was damaged since; `run_blocks` does it again.
        """
        path = self.path_of(block)
        try:
            return read_result(path, self._record(block))
        except FileNotFoundError:
            raise KeyError(f"{block} is not done in {self.folder}.") from None
        except DamagedRecord as error:
            raise OSError(f"{error} Run the blocks again to repair it.") from error

    def is_done(self, block: Block, *, thorough: bool = True) -> bool:
        """Whether a block is done and undamaged; without `thorough` only sizes are compared, not hashes.

        Raises:
            ValueError: what is there belongs to another identity or plan.
        """
        try:
            check_files(self.path_of(block), self._record(block), thorough=thorough)
        except (FileNotFoundError, DamagedRecord):
            return False
        return True

    def survey(self, plan: Sequence[Block], *, thorough: bool = True, show: bool = False) -> Survey:
        """Sort a plan's blocks by what the ledger says; with `thorough` every file is read and hashed.

        Raises:
            ValueError: what is there belongs to another identity or plan.
        """
        done, missing, damaged = [], [], []
        folder = self.folder / "blocks"
        there = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
        recorded = [block for block in plan if self.path_of(block).name in there]
        missing = sorted(set(plan).difference(recorded))
        for block in progress(recorded, label="checking finished blocks", unit="block", show=show and bool(recorded)):
            (done if self.is_done(block, thorough=thorough) else damaged).append(block)
        return Survey(tuple(done), tuple(missing), tuple(damaged))

    def tidy(self) -> None:
        """Remove what killed processes left half-written; call it when nothing is being written any more."""
        for folder in (self.folder, self.folder / "blocks"):
            for file in folder.glob(f"{TEMPORARY_MARK}*"):
                # A folder is the beginning of a volume, which tidies up for itself.
                if not file.is_dir():
                    file.unlink(missing_ok=True)

    def _record(self, block: Block) -> dict[str, Any]:
        path = self.path_of(block)
        record = read_record(path)
        if record["identity"] != self.digest:
            raise ValueError(f"{path} belongs to other work than the rest of {self.folder}; remove that folder.")
        if record["block"] != place_of(block):
            before = " and ".join(
                f"{record['block'][low]} to {record['block'][high]}"
                for low, high in (("start", "stop"), ("outer_start", "outer_stop"))
            )
            raise ValueError(
                f"{self.folder} was begun with other blocks: {path.stem} went from {before} with its halo, and is "
                f"now {block}; use another folder, or remove this one to start over."
            )
        return record

    def _begin(self) -> None:
        path = self.folder / HEAD
        head = {"format": FORMAT, "identity": self.identity}
        if not path.exists():
            write_text(path, json.dumps(head | {"sha256": hash_of(canonical(head))}, indent=1))
        # Read back even if it was just written: another process may have begun something else at the same moment.
        try:
            found = read_record(path)
        except DamagedRecord as error:
            raise OSError(
                f"{path} is damaged, so it is not known what the blocks there were made from; remove {self.folder} "
                "to start over."
            ) from error
        if differences := _differences(found["identity"], self.identity):
            raise ValueError(
                f"{self.folder} was begun with another {' and another '.join(differences)}; use another folder, or "
                "remove this one to start over."
            )


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    names = [name for name in [*now, *(name for name in before if name not in now)]
             if name not in before or name not in now or before[name] != now[name]]  # fmt: skip
    return [f"{name} ({_short(before, name)} then, {_short(now, name)} now)" for name in names]


def _short(identity: Mapping[str, Any], name: str) -> str:
    text = json.dumps(identity[name]) if name in identity else "none"
    return text if len(text) <= 40 else f"{text[:36]}..."
