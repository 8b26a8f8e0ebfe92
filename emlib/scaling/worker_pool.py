"""Workers that serve several passes, one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def worker_pool(
    workers: int = 1, scheduler: str | None = None, cluster: Any = None, memory_limit: str | int = "auto"
) -> Iterator[Any]:
    """What to pass to `run_blocks` as `cluster`: a dask client, or None for this process.

    Args:
        workers, scheduler, cluster, memory_limit: as for `run_blocks`; those that are started here end with the block.

    Raises:
        ValueError: more than one of workers, scheduler and cluster.
        ConnectionError: there is no scheduler at that address.
        ModuleNotFoundError: dask is needed and not installed.

    Example:
        >>> with worker_pool(1) as pool:
        ...     print(pool)
        None
    """
    if isinstance(workers, bool) or not hasattr(workers, "__index__") or workers < 1:
        raise ValueError(f"workers must be a whole number of at least 1, got {workers!r}.")
    given = [name for name, one in (("scheduler", scheduler), ("cluster", cluster)) if one is not None]
    if workers > 1:
        given.insert(0, "workers")
    if len(given) > 1:
        raise ValueError(f"Give one of workers, scheduler and cluster, not {' and '.join(given)}.")
    if not given:
        yield None
        return
    from emlib.scaling.dask_work import client_of, local_cluster

    with local_cluster(workers, memory_limit=memory_limit) if workers > 1 else client_of(scheduler, cluster) as client:
        yield client
