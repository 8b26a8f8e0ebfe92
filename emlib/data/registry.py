"""The list of data sets: what they are, under which licence, where they come from, how their files are verified."""

from __future__ import annotations

import csv
import difflib
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal
from urllib.parse import quote

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

Text = Annotated[str, Field(min_length=1)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Nanometre = Annotated[float, Field(gt=0)]


def list_datasets() -> list[DatasetEntry]:
    """All registered data sets, in the registry's order.

    Raises:
        FileNotFoundError: there is no registry file.
        ValueError: the registry is not valid; the message names the data set and the key.

    Example:
        >>> [entry.name for entry in list_datasets()][:2]
        ['vnc', 'fib25']
    """
    return list(_load(registry_path(), registry_path().stat().st_mtime_ns).values())


def describe_dataset(name: str) -> DatasetEntry:
    """One registered data set.

    Raises:
        ValueError: no data set has that name; the message suggests similar ones.

    Example:
        >>> describe_dataset("vnc").voxel_size
        (50.0, 4.6, 4.6)
    """
    entries = {entry.name: entry for entry in list_datasets()}
    if name in entries:
        return entries[name]
    close = difflib.get_close_matches(str(name), entries, n=3)
    hint = f"did you mean {' or '.join(close)}?" if close else f"known are {', '.join(entries)}."
    raise ValueError(f"There is no data set '{name}' in the registry; {hint}")


def registry_path() -> Path:
    """Where the registry is: the file named by EMLIB_REGISTRY, else data/registry.yaml beside the package.

    Raises:
        FileNotFoundError: neither exists.
    """
    named = os.environ.get("EMLIB_REGISTRY")
    if named:
        if not Path(named).is_file():
            raise FileNotFoundError(f"EMLIB_REGISTRY names {named}, but there is no such file.")
        return Path(named)
    beside = checkout_folder() / "data" / "registry.yaml"
    if not beside.is_file():
        raise FileNotFoundError(
            f"There is no data registry at {beside}: it is part of the repository, not of the installed package; take "
            "the folder data/ of the repository and set EMLIB_REGISTRY to its registry.yaml."
        )
    return beside


def checkout_folder() -> Path:
    """The folder that holds the package `emlib`: the repository, when emlib was installed from it in place."""
    return Path(__file__).resolve().parents[2]


def registry_table() -> str:
    """The registry as a Markdown table (data/README.md holds it)."""
    rows = ["| name | what | how | MB | voxel size (nm) | licence | cite |", "|" + " --- |" * 7]
    for entry in list_datasets():
        size = f"{entry.size / 1e6:.1f}" if entry.size else ""
        voxels = " x ".join(f"{value:g}" for value in entry.voxel_size) if entry.voxel_size else "not given"
        cite = f"[{entry.doi}](https://doi.org/{entry.doi})" if entry.doi else f"[page]({entry.page})"
        how = "by hand" if entry.kind == "by hand" else "download"
        rows.append(f"| `{entry.name}` | {entry.title} | {how} | {size} | {voxels} | {entry.licence} | {cite} |")
    return "\n".join(rows)


@lru_cache(maxsize=8)
def _load(path: Path, _changed: int) -> dict[str, DatasetEntry]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds {type(content).__name__}, but a mapping from name to data set was expected.")
    entries = {}
    for name, fields in content.items():
        if not isinstance(fields, dict):
            raise ValueError(f"{path}: data set '{name}' holds {fields!r}, but a mapping of keys was expected.")
        if not isinstance(name, str) or not name or name != PurePosixPath(name).name or name.startswith("."):
            raise ValueError(f"{path}: {name!r} cannot be the name of a data set, because it names its folder too.")
        try:
            entries[name] = DatasetEntry(name=name, folder=path.parent, **fields)
        except (ValidationError, TypeError) as error:
            raise ValueError(f"{path}: data set '{name}': {_first_problem(error)}") from error
    return entries


def _first_problem(error: ValidationError | TypeError) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    problem = error.errors()[0]
    key = ".".join(str(part) for part in problem["loc"]) or "the entry"
    if problem["type"] == "extra_forbidden":
        close = difflib.get_close_matches(key, DatasetEntry.model_fields, n=1)
        return f"unknown key '{key}'" + (f"; did you mean '{close[0]}'?" if close else ".")
    return f"{key}: {problem['msg'].removeprefix('Value error, ')}"


@lru_cache(maxsize=32)
def _read_file_list(path: Path, _changed: int, pairs: tuple[tuple[str, str], ...]) -> tuple[RegisteredFile, ...]:
    bases = dict(pairs)
    files = []
    with path.open(encoding="utf-8", newline="") as stream:
        rows = csv.DictReader(stream, delimiter="\t")
        if rows.fieldnames != ["path", "bytes", "sha256"]:
            raise ValueError(f"{path} has the columns {rows.fieldnames}, but path, bytes and sha256 were expected.")
        for number, row in enumerate(rows, 2):
            parts = PurePosixPath(row["path"] or "")
            sha256 = row["sha256"] or ""
            if not parts.parts or parts.is_absolute() or ".." in parts.parts or "\\" in row["path"]:
                raise ValueError(f"{path}, line {number}: {row['path']!r} is not a relative path inside the data set.")
            if not (row["bytes"] or "").isdigit() or len(sha256) != 64 or set(sha256) - set("0123456789abcdef"):
                raise ValueError(f"{path}, line {number}: a size in bytes and a sha256 of 64 hex digits were expected.")
            prefix = max((prefix for prefix in bases if row["path"].startswith(prefix)), key=len)
            files.append(RegisteredFile(row["path"], int(row["bytes"]), sha256, bases[prefix] + quote(row["path"])))
    if not files:
        raise ValueError(f"{path} lists no files.")
    return tuple(files)


@dataclass(frozen=True)
class RegisteredFile:
    """One file of a data set.

    Attributes:
        path: relative to the data set's folder, with forward slashes.
        bytes: its size.
        sha256: of its content, hexadecimal.
        url: where it can be downloaded.
    """

    path: str
    bytes: int
    sha256: str
    url: str


class ArchiveSource(BaseModel):
    """One archive that holds a whole data set."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: Text
    sha256: Sha256
    bytes: Annotated[int, Field(gt=0)]


class DatasetEntry(BaseModel):
    """What the registry says about one data set.

    Attributes:
        name: also the name of its folder under EMLIB_DATA or the download folder.
        kind: "files" (a list of single files), "archive" (one archive) or "by hand" (behind a registration or not
            free to pass on: you download it and emlib finds it).
        voxel_size: nm, (z, y, x) for volumes, (y, x) for images, None where it was not published.
        expected: "by hand": patterns of files that must be there.
        layout: "by hand": the same in words.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Text
    folder: Path = Field(repr=False, description="folder of the registry file")
    title: Text
    kind: Literal["files", "archive", "by hand"]
    modality: Text
    labels: Text
    licence: Text
    licence_note: str | None = None
    citation: Text
    doi: str | None = Field(pattern=r"^10\.\d{4,}/\S+$")
    page: Annotated[str, Field(pattern=r"^https?://")]
    voxel_size: tuple[Nanometre, Nanometre, Nanometre] | tuple[Nanometre, Nanometre] | None
    voxel_size_note: str | None = None
    files: str | None = None
    base_urls: dict[str, Annotated[str, Field(pattern=r"^https?://.*/$")]] = Field(default_factory=dict)
    archive: ArchiveSource | None = None
    expected: tuple[Text, ...] = ()
    layout: str | None = None

    @model_validator(mode="after")
    def _complete(self) -> DatasetEntry:
        needs = {"files": ("files", "base_urls"), "archive": ("archive",), "by hand": ("expected", "layout")}
        for kind, keys in needs.items():
            for key in keys:
                if kind == self.kind and not getattr(self, key):
                    raise ValueError(f"a data set of kind '{kind}' needs the key '{key}'")
                if kind != self.kind and getattr(self, key):
                    raise ValueError(f"the key '{key}' does not belong to a data set of kind '{self.kind}'")
        if self.voxel_size is None and not self.voxel_size_note:
            raise ValueError("voxel_size is null, so voxel_size_note must say why")
        if self.base_urls and "" not in self.base_urls:
            raise ValueError("base_urls needs the key '' for files that no other prefix covers")
        return self

    @property
    def size(self) -> int | None:
        """Bytes to download, None for a set that is fetched by hand."""
        if self.archive:
            return self.archive.bytes
        return sum(file.bytes for file in self.listed_files()) if self.files else None

    def listed_files(self) -> tuple[RegisteredFile, ...]:
        """The files of a set of kind "files", with their hashes and addresses; empty for other kinds.

        Raises:
            FileNotFoundError: the list is missing beside the registry.
            ValueError: a line of it is not valid.
        """
        if not self.files:
            return ()
        path = self.folder / self.files
        if not path.is_file():
            raise FileNotFoundError(f"The file list {path} of data set '{self.name}' is missing beside the registry.")
        return _read_file_list(path, path.stat().st_mtime_ns, tuple(sorted(self.base_urls.items())))
