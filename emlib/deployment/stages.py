"""The stages of a deployment, one after the other, each shared out among any number of processes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from emlib.scaling import Block, BlockLedger, run_blocks


@dataclass
class Stages:
    """Runs the passes over blocks in their order, as far as this call may and other jobs are.

    Attributes:
        names: all stages, in their order.
        only: the one that this call is for; None is all.
        running: what `run_blocks` is told about workers and shards.
        seconds: wall time of each stage in this call.
        waiting: why not all is done; empty if it is.
    """

    names: tuple[str, ...]
    only: str | None
    running: dict[str, Any]
    seconds: dict[str, float] = field(default_factory=dict)
    waiting: str = ""

    def done(self, name: str, function: Callable[[Block], Any], plan: Sequence[Block], ledger: BlockLedger) -> bool:
        """Do a stage's blocks, or this job's share; returns whether all of them are done, by whomever.

        Raises:
            ValueError: `only` is a later stage, and this one is not done.
        """
        part, started = ledger.part(name), time.monotonic()
        before = self.only is not None and self.names.index(name) < self.names.index(self.only)
        if self.only is not None and self.names.index(name) > self.names.index(self.only):
            self.waiting = f"{name} and what follows it were not asked for"
            return False
        if not before and plan:
            run_blocks(function, plan, ledger=part, label=name, **self.running)
        left = ()
        if before or self.running["shard"] is not None:
            left = part.survey(plan, thorough=False).todo
        self.seconds[name] = time.monotonic() - started
        if left and before:
            raise ValueError(
                f"The stage {self.only} needs {name} to be done before, of which {len(left)} of {len(plan)} blocks "
                "are missing."
            )
        if left:
            self.waiting = f"{name}: {len(left)} of {len(plan)} blocks are left to other jobs"
        return not left
