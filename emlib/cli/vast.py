"""The command `emlib data vast`: proofread labels from VAST to a volume, and labels to VAST."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from emlib.cli.arguments import Key

VOLUMES = (".h5", ".hdf5", ".hdf", ".zarr", ".npy", ".tif", ".tiff", ".json")


def data_vast(
    source: Annotated[Path, typer.Argument(help="VAST export (folder or glob of PNG sections), or a label volume")],
    out: Annotated[Path, typer.Argument(help="of an export: .zarr or .h5 to write; of a volume: folder for sections")],
    window: Annotated[
        str | None, typer.Option(help="export: part to take, z0,z1,y0,y1,x0,x1 in voxels from the first section")
    ] = None,
    missing: Annotated[
        str, typer.Option(help="export: sections left out are an error, or background, or skip to close the gaps")
    ] = "error",
    voxel_size: Annotated[
        tuple[float, float, float] | None, typer.Option(help="export: nm along z, y and x, three numbers")
    ] = None,
    collapse: Annotated[
        str | None, typer.Option(help="export: make children part of their parents by --table: top or collapsed")
    ] = None,
    original_ids: Annotated[
        bool, typer.Option("--original-ids", help="export: ids as they were before --renumber")
    ] = False,
    renumber: Annotated[
        bool, typer.Option("--renumber", help="volume: write ids as 1, 2, ... (colours end at 16777215)")
    ] = False,
    first: Annotated[int, typer.Option(help="volume: number of the first section")] = 0,
    key: Key = None,
    table: Annotated[
        Path | None, typer.Option(help="table of segments: read for --collapse; of a volume: written, with anchors")
    ] = None,
    pattern: Annotated[str | None, typer.Option(help="names of the sections, with %d or %04d for the number")] = None,
    overwrite: Annotated[bool, typer.Option(help="replace what is there")] = False,
) -> None:
    """Turn a VAST export into a label volume, or a label volume into sections for VAST.

    The id of a pixel is R * 65536 + G * 256 + B. Sections are read and written some at a time; OUT appears when it is
    complete.
    """
    if source.suffix.lower() in VOLUMES:
        _refuse(
            {"--window": window, "--voxel-size": voxel_size, "--collapse": collapse, "--original-ids": original_ids},
            f"is for a VAST export, but {source} is a volume.",
        )
        if out.suffix.lower() in VOLUMES:
            raise ValueError(f"{source} is a volume, so OUT must be a folder for its sections, not {out.name}.")
        _to_vast(source, out, key, pattern, first, renumber, table, overwrite)
        return
    _refuse({"--key": key, "--renumber": renumber, "--first": first}, f"is for a volume, but {source} is an export.")
    if (collapse is None) != (table is None):
        raise ValueError("--collapse needs the table of segments, --table FILE, and --table is for --collapse.")
    if collapse is not None and original_ids:
        raise ValueError("--collapse and --original-ids both say what a number stands for; give one of them.")
    _from_vast(source, out, window, pattern, missing, voxel_size, collapse, table, original_ids, overwrite)


def _refuse(options: dict[str, object], why: str) -> None:
    for name, value in options.items():
        if value:
            raise ValueError(f"{name} {why}")


def _from_vast(source, out, window, pattern, missing, voxel_size, collapse, table, original_ids, overwrite) -> None:
    from emlib.data import collapsed_ids, read_renumbering, read_vast_table, vast_to_volume
    from emlib.volume import open_volume

    ids = None
    if collapse is not None:
        ids = collapsed_ids(read_vast_table(table), rule=collapse)
    elif original_ids:
        ids = read_renumbering(source)
    vast_to_volume(
        source, out, window=_numbers(window), pattern=pattern, missing=missing, ids=ids, voxel_size=voxel_size,
        overwrite=overwrite,
    )  # fmt: skip
    volume = open_volume(out)
    size = " x ".join(map(str, volume.shape))
    print(f"{out}: {size} voxels, {volume.dtype}, from section {volume.attributes['first_section']}")


def _to_vast(source, out, key, pattern, first, renumber, table, overwrite) -> None:
    from emlib.data import anchors_of, segment_table, write_vast, write_vast_table
    from emlib.data.vast_names import PATTERN
    from emlib.volume import open_volume

    if table is not None and table.exists() and not overwrite:
        raise FileExistsError(f"{table} exists already; allow overwriting to make it anew.")
    labels = open_volume(source, key, labels=True if source.suffix.lower() == ".json" else None)
    write_vast(
        labels, out, pattern=PATTERN if pattern is None else pattern, first=first, renumber=renumber,
        overwrite=overwrite,
    )  # fmt: skip
    print(f"{out}: {labels.shape[0]} sections of {labels.shape[1]} x {labels.shape[2]}")
    if table is not None:
        found = anchors_of(labels, show_progress=True)
        # Renumbered objects are counted in the order of their ids, as here.
        numbers = range(1, found.ids.size + 1) if renumber else found.ids.tolist()
        names = [f"object {one}" for one in found.ids.tolist()]
        write_vast_table(table, segment_table(numbers, found.boxes, found.anchors, names=names))
        print(f"{table}: {found.ids.size} segments")


def _numbers(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 6 or not all(part.removeprefix("-").isdecimal() for part in parts):
        raise ValueError(f"--window is '{text}', but six whole numbers z0,z1,y0,y1,x0,x1 were expected.")
    return tuple(int(part) for part in parts)
