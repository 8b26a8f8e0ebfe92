"""Dask workers as Slurm jobs."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from emlib.formats.source import one_line
from emlib.scaling.slurm_request import SlurmRequest, quoted_option


@contextmanager
def slurm_cluster(
    request: SlurmRequest,
    *,
    jobs: int,
    folder: str | Path,
    interface: str | None = None,
    python: str | None = None,
) -> Iterator[Any]:
    """A dask cluster whose workers are Slurm jobs, one worker with one thread each; they end with the block.

    The scheduler runs here, on a node from which `sbatch` works and which the jobs can reach. It listens on that
    network, so everything is encrypted, with keys that are made for this cluster: whoever has not read access to
    `folder` can neither connect nor listen. The pages that dask serves beside it stay on 127.0.0.1.

    Args:
        request: what each job asks for. A worker does one block at a time; cores are for what runs in the block.
        jobs: how many; `cluster.scale(n)` changes it. None is submitted for 0.
        folder: for logs and keys, on a file system that all nodes see; made if it is not there. Without blanks.
        interface: network interface that the nodes share, such as "ib0"; None is the usual one.
        python: the interpreter on the nodes; None is this one.

    Raises:
        ModuleNotFoundError: dask-jobqueue is not installed.
        ValueError: a wrong number of jobs, or blanks in `folder`.

    Example:
        >>> request = SlurmRequest(partition="gpu", gpus=1, cores=4, memory="32G", setup=["module load cuda"])
        >>> with slurm_cluster(request, jobs=10, folder="/scratch/me/run") as cluster:           # doctest: +SKIP
        ...     print(cluster.job_script())
        ...     run_blocks(function, plan, ledger=ledger, cluster=cluster)
    """
    if isinstance(jobs, bool) or not hasattr(jobs, "__index__") or jobs < 0:
        raise ValueError(f"jobs must be a whole number of at least 0, got {jobs!r}.")
    folder = Path(folder).absolute()
    if any(character.isspace() for character in str(folder)):
        raise ValueError(f"folder is {str(folder)!r}, but dask-jobqueue cannot handle blanks in it.")
    try:
        from dask_jobqueue import SLURMCluster
        from distributed import Security

        security = Security.temporary()
    except ImportError as error:
        raise ModuleNotFoundError(
            f'dask-jobqueue cannot be imported ({one_line(error)}); install it with pip install "emlib[scale]", or use '
            "`emlib slurm`, which needs no scheduler."
        ) from error
    import dask

    from emlib.scaling.dask_work import SETTINGS

    for name in ("logs", "keys"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "keys").chmod(0o700)
    threads = f"export OMP_NUM_THREADS={request.cores} NUMBA_NUM_THREADS={request.cores}"
    given = len(("--nodes", "--ntasks", "--cpus-per-task", "--mem", "--time"))
    with (
        dask.config.set(SETTINGS),
        SLURMCluster(
            cores=1,
            processes=1,
            job_cpu=request.cores,
            job_mem=str(request.memory),
            memory=f"{request.megabytes}MiB",
            walltime=str(request.time),
            job_name="emlib-blocks",
            job_extra_directives=[
                *request.directives()[given:],
                quoted_option("--output", folder / "logs" / "%j.log"),
            ],
            job_script_prologue=["set -euo pipefail", *request.preparation(), threads],
            python=shlex.quote(python or sys.executable),
            worker_extra_args=["--dashboard-address", "127.0.0.1:0", "--no-dashboard"],
            scheduler_options={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
            interface=interface,
            protocol="tls://",
            security=security,
            shared_temp_directory=str(folder / "keys"),
            death_timeout=120,
            n_workers=0,
        ) as cluster,
    ):
        if jobs:
            cluster.scale(jobs=int(jobs))
        yield cluster
