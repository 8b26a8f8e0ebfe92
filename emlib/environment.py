"""What this machine and installation are: versions, device, cores, memory, and what is missing."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = (
    "numpy", "torch", "torchvision", "monai", "segmentation-models-pytorch", "h5py", "zarr", "matplotlib",
    "neuroglancer", "papermill", "jupyterlab", "lightning-fabric", "numba", "connected-components-3d",
)  # fmt: skip


@dataclass(frozen=True)
class Environment:
    """Attributes: python, system, cores, memory (bytes), device, packages (name -> version or None), notes."""

    python: str
    system: str
    cores: int
    memory: int
    device: str
    packages: dict[str, str | None]
    notes: tuple[str, ...]


def describe_environment() -> Environment:
    """Look at this machine and installation; starts nothing and changes nothing.

    Example:
        >>> describe_environment().cores >= 1
        True
    """
    import psutil

    packages: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            packages[name] = None
    return Environment(
        python=platform.python_version(),
        system=f"{platform.system()} {platform.machine()}",
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory=psutil.virtual_memory().total,
        device=_device(),
        packages=packages,
        notes=tuple(_notes(packages)),
    )


def format_environment(environment: Environment) -> str:
    """The environment as aligned text."""
    lines = [
        f"Python   {environment.python} on {environment.system}",
        f"machine  {environment.cores} cores, {environment.memory / 2**30:.0f} GiB memory",
        f"device   {environment.device}",
    ]
    width = max(len(name) for name in environment.packages)
    lines += [f"  {name:{width}}  {found or 'MISSING'}" for name, found in environment.packages.items()]
    return "\n".join([*lines, *(f"note: {note}" for note in environment.notes)])


def _device() -> str:
    try:
        import torch
    except ImportError:
        return "none (torch is not installed)"
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        return f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB"
    return f"CPU, {torch.get_num_threads()} threads"


def _notes(packages: dict[str, str | None]) -> list[str]:
    notes = []
    missing = [name for name, found in packages.items() if found is None]
    if missing:
        notes.append(f"missing: {', '.join(missing)}; install with pip install -c constraints.txt -e '.[all]'")
    data = os.environ.get("EMLIB_DATA")
    if data and not Path(data).is_dir():
        notes.append(f"EMLIB_DATA names {data}, which is not a folder")
    return notes
