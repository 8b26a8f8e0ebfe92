"""Blocks as tasks of dask.distributed: local processes, a running scheduler, or a cluster."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from emlib.formats.source import one_line
from emlib.scaling.block_ledger import BlockLedger
from emlib.scaling.block_work import Outcome, Perform, do_block
from emlib.scaling.blocks import Block

SETTINGS = {
    # A long block that holds Python's lock keeps its worker from reporting; it is not dead for that.
    "distributed.scheduler.worker-ttl": None,
    # A worker's death is one failed attempt of its block, to be counted by us.
    "distributed.scheduler.allowed-failures": 0,
    "distributed.comm.timeouts.connect": "60s",
}
_POLL = 1.0


def import_distributed() -> Any:
    """The module dask.distributed.

    Raises:
        ModuleNotFoundError: it is not installed; the sentence says how to install it.
    """
    try:
        import distributed
    except ImportError as error:
        raise ModuleNotFoundError(
            f'dask.distributed cannot be imported ({error}); install it with pip install "emlib[scale]", or use '
            "workers=1, which works without."
        ) from error
    return distributed


@contextmanager
def local_cluster(workers: int, *, memory_limit: str | int = "auto") -> Iterator[Any]:
    """A dask client of worker processes on this machine, which end with the block (or with this process).

    All servers listen on 127.0.0.1 only, encrypted with keys that are made for this cluster and kept in memory: other
    users of the machine cannot connect. There is no dashboard.

    Args:
        workers: processes, one thread each.
        memory_limit: of each, such as "2GiB"; a worker that exceeds it is ended and replaced.

    Raises:
        ModuleNotFoundError: dask.distributed, or cryptography, is not installed.

    In a script:

        if __name__ == "__main__":  # as with all of Python's processes
            with local_cluster(4, memory_limit="8GiB") as client:
                run_blocks(function, plan, ledger=ledger, cluster=client)
    """
    distributed = import_distributed()
    import dask

    try:
        security = distributed.Security.temporary()
    except ImportError as error:
        raise ModuleNotFoundError(f"Local workers need keys: {one_line(error)}.") from error
    with (
        dask.config.set(SETTINGS),
        distributed.LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            worker_dashboard_address="127.0.0.1:0",
            scheduler_kwargs={"dashboard": False},
            memory_limit=memory_limit,
            security=security,
            silence_logs=logging.CRITICAL,
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        yield client


@contextmanager
def client_of(scheduler: str | None, cluster: Any) -> Iterator[Any]:
    """A dask client of a running scheduler, or of a cluster; a client is given back as it is, and stays open.

    Raises:
        ConnectionError: there is no scheduler at that address.
        ModuleNotFoundError: dask.distributed is not installed.
    """
    distributed = import_distributed()
    if isinstance(cluster, distributed.Client):
        yield cluster
        return
    with ExitStack() as stack:
        try:
            address = cluster if scheduler is None else scheduler
            client = stack.enter_context(distributed.Client(address, set_as_default=False, timeout="30s"))
        except (OSError, TimeoutError) as error:
            raise ConnectionError(f"There is no dask scheduler at {scheduler} ({one_line(error)}).") from error
        yield client


def on_workers(client: Any, function: Callable[[Block], Any], ledger: BlockLedger) -> Perform:
    """Do blocks on a client's workers.

    Raises:
        TypeError: the function cannot be pickled.
    """
    from distributed.protocol.pickle import dumps

    try:
        dumps((function, ledger))
    except Exception as error:
        raise TypeError(
            f"The function {function!r} cannot be sent to other processes ({one_line(error)}); give it plain values, "
            "paths and Volumes instead of open files."
        ) from error
    return lambda queue: _outcomes(client, function, ledger, queue)


def _outcomes(
    client: Any, function: Callable[[Block], Any], ledger: BlockLedger, queue: deque[Block]
) -> Iterator[Outcome]:
    """Keep every worker busy with one block a thread: none waits at a worker, where another's death would hit it."""
    import distributed

    flying: dict[Any, Block] = {}
    try:
        while queue or flying:
            room = max(1, sum(client.nthreads().values())) - len(flying)
            for _ in range(min(room, len(queue))):
                block = queue.popleft()
                flying[client.submit(do_block, function, block, ledger, pure=False)] = block
            try:
                with client.as_current():
                    finished = distributed.wait(list(flying), timeout=_POLL, return_when="FIRST_COMPLETED").done
            except TimeoutError:
                # Workers may have come, which can take more blocks.
                continue
            for future in finished:
                yield _outcome(client, future, flying.pop(future))
    finally:
        if flying and client.status == "running":
            client.cancel(list(flying))


def _outcome(client: Any, future: Any, block: Block) -> Outcome:
    if future.status == "finished":
        return future.result()
    if future.status != "error":
        raise ConnectionError(
            f"The dask scheduler at {client.scheduler.address if client.scheduler else '?'} was lost; run the same "
            "again to go on."
        )
    error = future.exception()
    if type(error).__name__ == "KilledWorker":
        return Outcome(block, "the worker's process ended while it worked on it (killed, or out of memory)")
    return Outcome(block, f"{type(error).__name__}: {one_line(error)}")
