"""Ready files for sbatch: one command, its blocks shared out among several jobs, without a scheduler of our own."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from emlib.atomic import write_text
from emlib.scaling.slurm_request import SlurmRequest, quoted_option

SUBMIT = "submit.sh"


def write_slurm_scripts(
    folder: str | Path,
    command: Sequence[str],
    request: SlurmRequest,
    *,
    shards: int,
    rounds: int = 1,
    array: bool = False,
    name: str = "emlib",
    working_folder: str | Path | None = None,
) -> list[Path]:
    """Write sbatch files that run a command with `--shard J --of N` at its end, for J = 0 ... N - 1.

    The command does block k in job k mod N. It is started again after a failure or a time limit, and does what is
    missing. Work in several passes needs several rounds (`label_in_blocks`: 3): each job of a round waits until
    all of the round before have ended well. `submit.sh`, beside the scripts, submits all of it.

    Seed 001 shared its blocks out in the same way; its five files asked for what the example asks for.

    Args:
        folder: for the files and the jobs' logs; made if it is not there, earlier files of the same names replaced.
        command: program and arguments, one text each; blanks and special characters are quoted.
        request: what each job asks for, and how its shell is prepared.
        shards: number of jobs of a round.
        rounds: how often each job is run.
        array: one file with a job array instead of one file a job.
        name: of the jobs.
        working_folder: where the command is run; None is the folder from which the jobs are submitted.

    Returns:
        The scripts, `submit.sh` last.

    Raises:
        ValueError, TypeError: an empty command or one that is not a list, a wrong number of shards or rounds, a name
            with blanks, a folder that sbatch cannot be told.
        OSError: the files cannot be written.

    Example:
        >>> import tempfile
        >>> request = SlurmRequest(partition="cox", gpus=2, cores=2, memory="50000", time="3-00:00:00")
        >>> paths = write_slurm_scripts(
        ...     tempfile.mkdtemp(), ["emlib", "predict", "my network", "em.h5"], request, shards=5)
        >>> [path.name for path in paths]
        ['00.sh', '01.sh', '02.sh', '03.sh', '04.sh', 'submit.sh']
        >>> print(paths[1].read_text())
        #!/bin/bash
        #SBATCH --job-name=emlib-01
        #SBATCH --output=".../logs/01-%j.log"
        #SBATCH --open-mode=append
        #SBATCH --requeue
        #SBATCH --nodes=1
        #SBATCH --ntasks=1
        #SBATCH --cpus-per-task=2
        #SBATCH --mem=50000
        #SBATCH --time=3-00:00:00
        #SBATCH --partition=cox
        #SBATCH --gres=gpu:2
        set -euo pipefail
        export OMP_NUM_THREADS="${SLURM_CPUS_PER_TASK:-2}" NUMBA_NUM_THREADS="${SLURM_CPUS_PER_TASK:-2}"
        echo "job ${SLURM_JOB_ID:-without Slurm} on ${SLURMD_NODENAME:-${HOSTNAME:-this machine}}: shard 1 of 5"
        exec emlib predict 'my network' em.h5 --shard 1 --of 5
        <BLANKLINE>
    """
    if isinstance(command, str) or not all(isinstance(part, str) for part in command):
        raise TypeError(f"command must be a list of texts, program and arguments, got {command!r}.")
    if not command:
        raise ValueError("command is empty; give the program and its arguments.")
    for label, value in (("shards", shards), ("rounds", rounds)):
        if isinstance(value, bool) or not hasattr(value, "__index__") or value < 1:
            raise ValueError(f"{label} must be a whole number of at least 1, got {value!r}.")
    if not name or not all(character.isalnum() or character in "._-" for character in name):
        raise ValueError(f"name must be of letters, digits and . _ -, got {name!r}.")
    folder = Path(folder).absolute()
    logs = str(folder / "logs").replace("%", "%%")
    start = ["#!/bin/bash"]
    quoted = shlex.join(command)
    contents = {}
    digits = max(2, len(str(shards - 1)))
    if array:
        head = [f"--job-name={name}", quoted_option("--output", f"{logs}/%A_%a.log"), f"--array=0-{shards - 1}"]
        shard = "${SLURM_ARRAY_TASK_ID:?is set by Slurm; to run one by hand, set it to the number of the shard}"
        contents["array.sh"] = _script(request, head, shard, shards, quoted, working_folder)
    else:
        for number in range(shards):
            label = f"{number:0{digits}d}"
            head = [f"--job-name={name}-{label}", quoted_option("--output", f"{logs}/{label}-%j.log")]
            contents[f"{label}.sh"] = _script(request, head, str(number), shards, quoted, working_folder)
    (folder / "logs").mkdir(parents=True, exist_ok=True)
    contents[SUBMIT] = "\n".join([*start, _SUBMISSION.format(scripts=" ".join(contents), rounds=rounds)])
    paths = [write_text(folder / file, text) for file, text in contents.items()]
    for path in paths:
        path.chmod(0o755)
    return paths


def _script(
    request: SlurmRequest, head: list[str], shard: str, shards: int, command: str, working_folder: str | Path | None
) -> str:
    # A job that was ended for another one goes on in the same log.
    directives = [*head, "--open-mode=append", "--requeue", *request.directives()]
    threads = f'"${{SLURM_CPUS_PER_TASK:-{request.cores}}}"'
    node = "${SLURMD_NODENAME:-${HOSTNAME:-this machine}}"
    number = shard if shard.isdecimal() else '"$shard"'
    lines = ["#!/bin/bash", *(f"#SBATCH {line}" for line in directives), "set -euo pipefail"]
    if not shard.isdecimal():
        lines.append(f'shard="{shard}"')
    lines += request.preparation()
    lines.append(f"export OMP_NUM_THREADS={threads} NUMBA_NUM_THREADS={threads}")
    if working_folder is not None:
        lines.append(f"cd {shlex.quote(str(Path(working_folder).absolute()))}")
    said = number.strip('"')
    lines.append(f'echo "job ${{SLURM_JOB_ID:-without Slurm}} on {node}: shard {said} of {shards}"')
    lines.append(f"exec {command} --shard {number} --of {shards}")
    return "\n".join(lines) + "\n"


_SUBMISSION = """\
# Submits every script, as often as the work has passes; each pass waits for the one before.
set -euo pipefail
folder="$(cd -- "$(dirname -- "${{BASH_SOURCE[0]}}")" && pwd)"
after=()
for ((round = 1; round <= {rounds}; round++)); do
    jobs=()
    for script in {scripts}; do
        # The answer is the job's number, or number;cluster.
        job="$(sbatch --parsable ${{after[@]+"${{after[@]}}"}} "$folder/$script")"
        jobs+=("${{job%%;*}}")
    done
    echo "round $round of {rounds}: jobs ${{jobs[*]}}"
    after=("--dependency=afterok:$(IFS=:; echo "${{jobs[*]}}")" --kill-on-invalid-dep=yes)
done
"""
