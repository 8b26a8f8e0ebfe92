"""Do a piece of work for every block of a plan: in this process, in several, or on a cluster; restarted, it goes on."""

from __future__ import annotations

import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from tqdm.auto import tqdm

from emlib.progress import progress as show_progress
from emlib.scaling.block_ledger import BlockLedger
from emlib.scaling.block_work import Perform, in_this_process
from emlib.scaling.blocks import Block, shard_of
from emlib.scaling.worker_pool import worker_pool

_GIB = 2**30


@dataclass(frozen=True)
class BlockFailure:
    """A block that could not be done: its last error in one line, the traceback, and how often it was tried."""

    block: Block
    error: str
    traceback: str
    attempts: int


class BlocksFailed(RuntimeError):
    """Some blocks failed; all others are done. `failures` holds a `BlockFailure` for each, in the plan's order."""

    def __init__(self, failures: Sequence[BlockFailure], total: int) -> None:
        self.failures, self.total = tuple(failures), total
        blocks: dict[str, list[str]] = {}
        for one in self.failures:
            blocks.setdefault(f"{one.error} ({_times(one.attempts)})", []).append(str(one.block))
        told = "; ".join(f"{', '.join(where)}: {error}" for error, where in blocks.items())
        super().__init__(f"{len(self.failures)} of {total} blocks failed, the others are done: {told}.")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.failures, self.total)


@dataclass(frozen=True)
class BlockRun:
    """What a run did.

    Attributes:
        done: blocks that it did.
        found: blocks that were done before.
        repaired: those of `done` that had been done before, and were damaged.
        retries: attempts that failed, of blocks that then succeeded.
        seconds: wall time.
    """

    done: int
    found: int
    repaired: int
    retries: int
    seconds: float


def run_blocks(
    function: Callable[[Block], Any],
    plan: Sequence[Block],
    *,
    ledger: BlockLedger,
    shard: tuple[int, int] | None = None,
    workers: int = 1,
    scheduler: str | None = None,
    cluster: Any = None,
    memory_limit: str | int = "auto",
    retries: int = 2,
    progress: bool = True,
    label: str = "blocks",
) -> BlockRun:
    """Call `function` for each block that the ledger lacks, and store what it returns there.

    A block that fails is tried again, on whichever worker is free; one that keeps failing is reported at the end, when
    all others are done. A worker that dies takes no other block's result with it. The results do not depend on the
    number of workers, on the order, or on how often the run was killed, as long as `function` depends on its block
    (and on what the ledger's identity names) alone.

    A full or read-only disk ends the run at once: nothing that is computed could be kept.

    Args:
        function: takes a `Block`; returns None, or a mapping of plain values, arrays, and the `WrittenFiles` that
            `BlockVolume.write` gives. For other processes it must be picklable.
        plan: of `plan_blocks`.
        ledger: says what is done; on a file system that all workers see.
        shard: (job, jobs): do only every jobs-th block, from number `job` on, and leave the rest to other processes.
        workers: processes on this machine; 1 works in this process, without dask. A script that asks for more must
            have its work under `if __name__ == "__main__":`, as with all of Python's processes.
        scheduler: address of a running dask scheduler, "tcp://host:port", or "tls://host:port" with the keys that
            dask's configuration names.
        cluster: a dask cluster (`slurm_cluster`) or client. It stays open.
        memory_limit: of each local worker, such as "2GiB"; one that exceeds it is ended, and its block counts as
            failed. "auto" shares the machine's memory. Without effect in this process and on clusters.
        retries: how often a failing block is tried again.
        progress: show blocks done, rate, time left, and the workers' memory.
        label: what is being done, for the progress display.

    Returns:
        What was done.

    Raises:
        BlocksFailed: some blocks failed, all others are done.
        ValueError: contradictory arguments, or a ledger of another plan.
        TypeError: a function that cannot be sent to workers.
        OSError: the disk is full or cannot be written; the scheduler was lost.
        ModuleNotFoundError: dask is needed and not installed.

    Example:
        >>> import tempfile
        >>> from emlib.scaling import plan_blocks
        >>> ledger, plan = BlockLedger(tempfile.mkdtemp(), {"input": "0a1b"}), plan_blocks((10, 10), 5)
        >>> run_blocks(lambda block: {"voxels": 25}, plan, ledger=ledger, progress=False).done
        4
        >>> run_blocks(lambda block: {"voxels": 25}, plan, ledger=ledger, progress=False).found
        4
    """
    if isinstance(retries, bool) or not hasattr(retries, "__index__") or retries < 0:
        raise ValueError(f"retries must be a whole number of at least 0, got {retries!r}.")
    started = time.monotonic()
    mine = plan if shard is None else shard_of(plan, *shard)
    survey = ledger.survey(mine, show=progress)
    if survey.damaged and progress:
        _say(f"{label}: {len(survey.damaged)} finished blocks were damaged since and are done again.")
    count = Counter()
    failures: list[BlockFailure] = []
    if survey.todo:
        with worker_pool(workers, scheduler, cluster, memory_limit) as client:
            memory: dict[str, int] = {}
            perform = _performing(function, ledger, client)
            ends = _ends(perform, survey.todo, ledger, int(retries), memory, count)
            for end in show_progress(
                ends, label=label, total=len(mine), unit="block", initial=len(survey.done), show=progress,
                note=lambda: _memory_text(memory),
            ):  # fmt: skip
                if isinstance(end, BlockFailure):
                    failures.append(end)
                    if progress:
                        _say(f"{label}: {end.block} failed: {end.error}")
    if failures:
        raise BlocksFailed(sorted(failures, key=lambda one: one.block), len(mine))
    if len(mine) == len(plan):
        ledger.tidy()
    return BlockRun(len(survey.todo), len(survey.done), len(survey.damaged), count["retries"],
                    time.monotonic() - started)  # fmt: skip


def _ends(
    perform: Perform, todo: Sequence[Block], ledger: BlockLedger, retries: int, memory: dict[str, int], count: Counter
) -> Iterator[Block | BlockFailure]:
    """Each block once, when it is done or given up."""
    queue, failed = deque(todo), Counter()
    with closing(perform(queue)) as outcomes:
        for outcome in outcomes:
            block = outcome.block
            if outcome.worker:
                memory[outcome.worker] = outcome.memory
            # Another process may have done the block in the meantime, and have tidied up under this one's hands.
            if not outcome.error or ledger.is_done(block):
                count["retries"] += failed[block]
                yield block
                continue
            if outcome.disk is not None:
                raise outcome.disk_error()
            failed[block] += 1
            if failed[block] > retries:
                yield BlockFailure(block, outcome.error, outcome.traceback, failed[block])
            else:
                queue.append(block)


def _performing(function: Callable[[Block], Any], ledger: BlockLedger, client: Any) -> Perform:
    if client is None:
        return in_this_process(function, ledger)
    from emlib.scaling.dask_work import on_workers

    return on_workers(client, function, ledger)


def _times(attempts: int) -> str:
    return {1: "tried once", 2: "tried twice"}.get(attempts, f"tried {attempts} times")


def _memory_text(memory: dict[str, int]) -> str:
    if not memory:
        return ""
    largest = f"{max(memory.values()) / _GIB:.2f} GiB"
    return largest if len(memory) == 1 else f"{len(memory)} workers, {sum(memory.values()) / _GIB:.2f} GiB, " + (
        f"the largest {largest}"
    )  # fmt: skip


def _say(text: str) -> None:
    # tqdm's own print does not break a bar that is being shown.
    tqdm.write(text, file=sys.stderr)
