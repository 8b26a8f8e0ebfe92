"""What one Slurm job asks for, checked, and written as the lines that sbatch reads."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class SlurmRequest:
    """What one job asks for.

    Attributes:
        partition: queue; None is the site's own.
        gpus: GPUs of a job.
        cores: CPU cores of a job.
        memory: of a job, as Slurm writes it: megabytes, or a number with K, M, G or T.
        time: longest run time, as Slurm writes it: minutes, hours:minutes:seconds or days-hours:minutes:seconds.
        account: whom to charge; None is the user's own.
        options: further options of sbatch, such as "--qos=long".
        virtual_environment: folder of a Python environment whose bin/activate is read first.
        setup: shell lines that are run before, such as "module load cuda" or "conda activate em".

    Raises:
        ValueError: a value that Slurm would not take.

    Example:
        >>> print("\\n".join(SlurmRequest(partition="gpu", gpus=1, cores=4, memory="32G").directives()))
        --nodes=1
        --ntasks=1
        --cpus-per-task=4
        --mem=32G
        --time=1-00:00:00
        --partition=gpu
        --gres=gpu:1
    """

    partition: str | None = None
    gpus: int = 0
    cores: int = 1
    memory: str = "8G"
    time: str = "1-00:00:00"
    account: str | None = None
    options: Sequence[str] = ()
    virtual_environment: str | Path | None = None
    setup: Sequence[str] = field(default=())

    def __post_init__(self) -> None:
        for name, smallest in (("gpus", 0), ("cores", 1)):
            value = getattr(self, name)
            if isinstance(value, bool) or not hasattr(value, "__index__") or value < smallest:
                raise ValueError(f"{name} must be a whole number of at least {smallest}, got {value!r}.")
        if not re.fullmatch(r"0*[1-9]\d*[KMGT]?", str(self.memory)):
            raise ValueError(f"memory must be megabytes, or a number with K, M, G or T, got {self.memory!r}.")
        if not re.fullmatch(r"(\d+-\d+(:\d+){0,2})|(\d+(:\d+){0,2})", str(self.time)):
            raise ValueError(f"time must be like 90 (minutes), 12:00:00 or 3-00:00:00 (days first), got {self.time!r}.")
        for name in ("partition", "account"):
            value = getattr(self, name)
            if value is not None and not re.fullmatch(r"[\w.,-]+", value):
                raise ValueError(f"{name} must be a name without blanks, got {value!r}.")
        for name in ("options", "setup"):
            lines = getattr(self, name)
            if isinstance(lines, str) or any("\n" in line or not line.strip() for line in lines):
                raise ValueError(f"{name} must be a list of single lines, got {lines!r}.")
        if strange := [option for option in self.options if not option.startswith("-")]:
            raise ValueError(f"options must begin with -, as sbatch has them, got {strange[0]!r}.")

    @property
    def megabytes(self) -> int:
        """The memory in units of 1024 x 1024 bytes, as Slurm counts them."""
        number, unit = re.fullmatch(r"(\d+)([KMGT]?)", str(self.memory)).groups()
        return max(1, int(number) * 1024 ** "KMGT".index(unit or "M") // 1024)

    def directives(self) -> list[str]:
        """Options of sbatch, one a line, without "#SBATCH"."""
        lines = ["--nodes=1", "--ntasks=1", f"--cpus-per-task={self.cores}", f"--mem={self.memory}"]
        lines.append(f"--time={self.time}")
        if self.partition is not None:
            lines.append(f"--partition={self.partition}")
        if self.account is not None:
            lines.append(f"--account={self.account}")
        if self.gpus:
            lines.append(f"--gres=gpu:{self.gpus}")
        return [*lines, *self.options]

    def preparation(self) -> list[str]:
        """Shell lines that bring a job's shell into the environment the work needs."""
        lines = list(self.setup)
        if self.virtual_environment is not None:
            script = Path(self.virtual_environment).absolute() / "bin" / "activate"
            lines.append(f"source {shlex.quote(str(script))}")
        # Modules and environments read variables that need not be set.
        return ["set +u", *lines, "set -u"] if lines else []


def quoted_option(name: str, path: str | Path) -> str:
    """An option of sbatch whose value is a path, which may hold blanks.

    Raises:
        ValueError: a path with a quotation mark, a backslash or a line break, which sbatch cannot be told.

    Example:
        >>> print(quoted_option("--output", "/my data/%j.log"))
        --output="/my data/%j.log"
    """
    if re.search(r'["\\\n]', str(path)):
        raise ValueError(f"{path} holds a quotation mark, a backslash or a line break, which sbatch cannot read.")
    return f'{name}="{path}"'
