"""The command that reads VAST exports and writes them."""

import numpy as np
import pytest
from cli.running import refused, said

from emlib.data import (
    VastSegment,
    read_renumbering,
    read_vast,
    read_vast_table,
    write_tiles,
    write_vast,
    write_vast_table,
)
from emlib.volume import open_volume, save_volume

IDS = np.random.default_rng(0).integers(0, 4, (3, 10, 12)).astype(np.uint64) * 4_000_000


@pytest.fixture
def labels(tmp_path):
    return save_volume(tmp_path / "labels.h5", IDS, voxel_size=(30, 8, 8), key="ids")


@pytest.fixture
def export(tmp_path):
    return write_vast(IDS, tmp_path / "export", first=7, show_progress=False)


def test_there_and_back(labels, tmp_path):
    folder, out, table = tmp_path / "vast", tmp_path / "back.zarr", tmp_path / "segments.txt"
    lines = said("data", "vast", labels, folder, "--key", "ids", "--first", 7, "--table", table).splitlines()
    assert lines == [f"{folder}: 3 sections of 10 x 12", f"{table}: 3 segments"]
    assert sorted(path.name for path in folder.iterdir()) == [f"{z:04d}_tr1-tc1.png" for z in (7, 8, 9)]
    for one in read_vast_table(table)[1:]:
        assert IDS[one.anchor] == one.id
    line = said("data", "vast", folder, out, "--voxel-size", 30, 8, 8)
    assert line == f"{out}: 3 x 10 x 12 voxels, uint32, from section 7\n"
    np.testing.assert_array_equal(open_volume(out)[:], IDS)
    assert open_volume(out).voxel_size == (30, 8, 8)


def test_part_of_an_export(export, tmp_path):
    out = tmp_path / "part.h5"
    said("data", "vast", f"{export}/*.png", out, "--window", "1,3,0,5,2,-1", "--pattern", "%04d_tr1-tc1.png")
    np.testing.assert_array_equal(open_volume(out)[:], IDS[1:3, :5, 2:-1])
    assert open_volume(out).attributes == {"first_section": 8}
    assert "part.h5 exists already" in refused("data", "vast", export, out)
    said("data", "vast", export, out, "--overwrite")
    (export / "0008_tr1-tc1.png").unlink()
    assert "lacks the sections 8" in refused("data", "vast", export, out, "--overwrite")
    said("data", "vast", export, out, "--overwrite", "--missing", "skip")
    np.testing.assert_array_equal(open_volume(out)[:], IDS[::2])


def test_large_ids_and_tiles(tmp_path):
    large = save_volume(tmp_path / "large.zarr", IDS * 2**20)
    assert "pass renumber=True" in refused("data", "vast", large, tmp_path / "a")
    table = tmp_path / "segments.txt"
    said("data", "vast", large, tmp_path / "a", "--renumber", "--table", table)
    assert [(one.id, one.name) for one in read_vast_table(table)][1:] == [
        (number, f"object {one}") for number, one in read_renumbering(tmp_path / "a").items() if number
    ]
    said("data", "vast", tmp_path / "a", tmp_path / "b.zarr", "--original-ids")
    np.testing.assert_array_equal(open_volume(tmp_path / "b.zarr")[:], IDS * 2**20)
    listed = write_tiles(IDS, tmp_path / "tiles", labels=True, tile_size=5, show_progress=False)
    said("data", "vast", listed, tmp_path / "c", "--pattern", "s%d.png")
    np.testing.assert_array_equal(read_vast(tmp_path / "c")[:], IDS)


def test_children_become_their_parents(tmp_path):
    export = write_vast(np.array([[[0, 1, 2, 3]]]), tmp_path / "e", show_progress=False)
    tree = [VastSegment(1, collapsed=1), VastSegment(2, parent=1, collapsed=2), VastSegment(3, parent=2, collapsed=2)]
    table = write_vast_table(tmp_path / "t.txt", tree)
    for rule, expected in (("top", [0, 1, 1, 1]), ("collapsed", [0, 1, 2, 2])):
        said("data", "vast", export, tmp_path / f"{rule}.zarr", "--table", table, "--collapse", rule)
        assert open_volume(tmp_path / f"{rule}.zarr")[:].ravel().tolist() == expected


def test_refusals(labels, export, tmp_path):
    out = tmp_path / "out"
    for arguments, words in (
        ((labels, out, "--window", "0,1,0,1,0,1"), "--window is for a VAST export, but"),
        ((labels, out, "--collapse", "top"), "--collapse is for a VAST export, but"),
        ((labels, tmp_path / "b.zarr"), "so OUT must be a folder for its sections, not b.zarr"),
        ((export, out), "no suffix"),
        ((export, tmp_path / "b.zarr", "--key", "ids"), "--key is for a volume, but"),
        ((export, tmp_path / "b.zarr", "--renumber"), "--renumber is for a volume, but"),
        ((export, tmp_path / "b.zarr", "--window", "0,1"), "--window is '0,1', but six whole numbers"),
        ((export, tmp_path / "b.zarr", "--collapse", "top"), "--collapse needs the table of segments"),
        ((export, tmp_path / "b.zarr", "--table", "t.txt"), "--table is for --collapse"),
        ((export, tmp_path / "b.zarr", "--original-ids"), "were not renumbered"),
        ((tmp_path / "none", tmp_path / "b.zarr"), "No file matches"),
    ):
        before = sorted(tmp_path.iterdir())
        assert words in refused("data", "vast", *arguments)
        assert sorted(tmp_path.iterdir()) == before
    (tmp_path / "t.txt").write_text("mine")
    assert "t.txt exists already" in refused("data", "vast", labels, out, "--table", tmp_path / "t.txt")
