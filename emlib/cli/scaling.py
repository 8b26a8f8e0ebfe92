"""The command `emlib slurm`: files for sbatch that share a command's blocks out among jobs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def slurm(
    folder: Annotated[Path, typer.Argument(help="folder for the scripts and the jobs' logs")],
    command: Annotated[list[str], typer.Argument(help="after --: the command, which gets --shard J --of N at its end")],
    shards: Annotated[int, typer.Option(help="number of jobs that share the blocks")] = 5,
    rounds: Annotated[int, typer.Option(help="passes of the work; each waits for the one before")] = 1,
    array: Annotated[bool, typer.Option(help="one script with a job array")] = False,
    partition: Annotated[str | None, typer.Option(help="queue; default: the site's")] = None,
    gpus: Annotated[int, typer.Option(help="GPUs of a job")] = 0,
    cores: Annotated[int, typer.Option(help="CPU cores of a job")] = 1,
    memory: Annotated[str, typer.Option(help="of a job: megabytes, or a number with K, M, G, T")] = "8G",
    time: Annotated[str, typer.Option(help="longest run time: minutes, h:m:s or d-h:m:s")] = "1-00:00:00",
    account: Annotated[str | None, typer.Option(help="whom to charge")] = None,
    options: Annotated[
        list[str], typer.Option("--sbatch", help="further option of sbatch, such as --qos=long; can be repeated")
    ] = [],  # noqa: B006
    environment: Annotated[
        Path | None, typer.Option("--venv", help="Python environment to activate: folder with bin/activate")
    ] = None,
    setup: Annotated[
        list[str], typer.Option(help='shell line to run first, such as "module load cuda"; can be repeated')
    ] = [],  # noqa: B006
    name: Annotated[str, typer.Option(help="name of the jobs")] = "emlib",
    working_folder: Annotated[
        Path | None, typer.Option("--chdir", help="where to run the command; default: where it is submitted")
    ] = None,
) -> None:
    """Write sbatch files that share the blocks of a command out: job J of N does block J, J + N, J + 2N, ...

    emlib slurm jobs --shards 5 --partition gpu --gpus 2 --cores 2 --memory 50000 --time 3-00:00:00 -- COMMAND ...
    """
    from emlib.scaling import SlurmRequest, write_slurm_scripts

    request = SlurmRequest(
        partition=partition, gpus=gpus, cores=cores, memory=memory, time=time, account=account, options=options,
        virtual_environment=environment, setup=setup,
    )  # fmt: skip
    *scripts, submit = write_slurm_scripts(
        folder, command, request, shards=shards, rounds=rounds, array=array, name=name, working_folder=working_folder
    )
    print(f"{len(scripts)} script{'s' if len(scripts) > 1 else ''} in {folder}; submit with: bash {submit}")
