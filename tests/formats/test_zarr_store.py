"""zarr: keys, NGFF voxel sizes, version 2, lazy chunks, and every kind of lost or damaged file."""

import json
import os
import shutil

import numpy as np
import pytest
import zarr

from emlib.volume import create_volume, open_volume, save_volume

ARRAY = np.random.default_rng(0).integers(0, 2**40, (4, 6, 8), dtype=np.uint64)


@pytest.fixture
def store(tmp_path):
    return save_volume(tmp_path / "a.zarr", ARRAY, chunks=(2, 3, 4))


def test_all_chunks_are_written_even_empty_ones(tmp_path):
    path = save_volume(tmp_path / "a.zarr", np.zeros((4, 6, 8), np.uint8), chunks=(2, 3, 4))
    assert len([file for file in (path / "c").rglob("*") if file.is_file()]) == 8


def test_a_missing_chunk_is_an_error_where_it_is_needed(store):
    (store / "c/1/0/1").unlink()
    volume = open_volume(store)
    np.testing.assert_array_equal(volume[:2], ARRAY[:2])
    np.testing.assert_array_equal(volume[:, 3:], ARRAY[:, 3:])
    with pytest.raises(OSError, match=r"is incomplete: the chunk file .*/c/1/0/1 for \[2:4, 0:3, 4:8\] is missing"):
        volume[3, 2, 4]


def test_a_crop_reads_only_its_chunks(store, monkeypatch):
    volume = open_volume(store)
    volume[0, 0, 0]
    asked = []
    get = zarr.storage.LocalStore.get

    async def counted(self, key, *arguments, **keywords):
        asked.append(key)
        return await get(self, key, *arguments, **keywords)

    monkeypatch.setattr(zarr.storage.LocalStore, "get", counted)
    np.testing.assert_array_equal(volume.crop(z=(1, 3), x=(5, 8))[:, 4], ARRAY[1:3, 4, 5:8])
    assert sorted(asked) == ["c/0/1/1", "c/1/1/1"]


@pytest.mark.parametrize("damage", ["truncated", "empty", "flipped", "longer"])
def test_damaged_chunks(store, damage):
    chunk = store / "c/0/1/0"
    data = bytearray(chunk.read_bytes())
    if damage == "flipped":
        data[len(data) // 2] ^= 1
    chunk.write_bytes(
        {"truncated": data[: len(data) // 2], "empty": b"", "flipped": data, "longer": data + b"x"}[damage]
    )
    volume = open_volume(store)
    np.testing.assert_array_equal(volume[2:], ARRAY[2:])
    with pytest.raises(OSError, match=r"cannot be read at \[0:4, 0:6, 0:8\]: chunk file .*c/0/1/0 is damaged"):
        volume[:]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"node_type": "array"}', '{"node_type": 3, "shape": 3}'])
def test_damaged_metadata(store, text):
    (store / "zarr.json").write_text(text)
    with pytest.raises(OSError, match=r"zarr.json is damaged or truncated"):
        open_volume(store)


def test_metadata_that_zarr_cannot_use(store):
    node = json.loads((store / "zarr.json").read_text())
    for change in ({"codecs": [{"name": "unheard-of"}]}, {"data_type": "unheard-of"}, {"chunk_grid": {}}):
        (store / "zarr.json").write_text(json.dumps(node | change))
        with pytest.raises(OSError, match="metadata that zarr cannot use"):
            open_volume(store)


def test_missing_metadata(store):
    (store / "zarr.json").unlink()
    with pytest.raises(OSError, match=r"a.zarr is not a zarr array or group: it has no zarr.json"):
        open_volume(store)


def test_keys(tmp_path):
    path = tmp_path / "g.zarr"
    for key in ("volumes/raw10", "volumes/raw9", "volumes/deep/first"):
        save_volume(path, ARRAY, key=key)
    assert open_volume(path).key == "volumes/raw9"
    assert open_volume(path / "volumes" / "raw9").key is None
    np.testing.assert_array_equal(open_volume(path, "volumes/deep/first")[:], ARRAY)
    with pytest.raises(ValueError, match=r"it holds 'volumes/raw9', 'volumes/raw10', 'volumes/deep/first'; did"):
        open_volume(path, "volumes/raw1")
    for key in ("volumes", "../g.zarr/volumes/raw9", ""):
        with pytest.raises(ValueError, match="has no array"):
            open_volume(path, key)
    with pytest.raises(ValueError, match="is one zarr array, not a group"):
        open_volume(path / "volumes" / "raw9", "main")
    shutil.rmtree(path / "volumes")
    with pytest.raises(ValueError, match="no numeric array"):
        open_volume(path)


def test_folders_need_no_suffix(store, tmp_path):
    store.rename(tmp_path / "image")
    assert open_volume(tmp_path / "image").shape == (4, 6, 8)


def ngff(version, unit="micrometer", transform="scale"):
    axes = [{"name": "c", "type": "channel"}] + [{"name": axis, "type": "space", "unit": unit} for axis in "zyx"]
    levels = [
        {"path": f"s{level}", "coordinateTransformations": [{"type": transform, "scale": [1, 0.03, size, size]}]}
        for level, size in enumerate((0.008, 0.016))
    ]
    scales = [
        {"axes": axes, "datasets": levels, "coordinateTransformations": [{"type": "scale", "scale": [1, 2, 1, 1]}]}
    ]
    return {"ome": {"version": version, "multiscales": scales}} if version == "0.5" else {"multiscales": scales}


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_ngff_voxel_sizes(tmp_path, version):
    group = zarr.create_group(
        str(tmp_path / "a.zarr"), attributes=ngff(version), zarr_format=3 if version == "0.5" else 2
    )
    for level in range(2):
        group.create_array(f"s{level}", data=np.ones((1, 4, 4, 4), np.uint8))
    volume = open_volume(tmp_path / "a.zarr")
    assert (volume.key, volume.axes) == ("s0", "czyx")
    assert volume.voxel_size == pytest.approx((60, 8, 8))
    assert open_volume(tmp_path / "a.zarr", "s1").voxel_size == pytest.approx((60, 16, 16))


@pytest.mark.parametrize("options", [{"unit": "furlong"}, {"transform": "affine"}])
def test_ngff_that_is_not_simple(tmp_path, options):
    attributes = ngff("0.5", **options)
    if "transform" in options:
        del attributes["ome"]["multiscales"][0]["coordinateTransformations"]
    group = zarr.create_group(str(tmp_path / "a.zarr"), attributes=attributes)
    group.create_array("s0", data=np.ones((1, 4, 4, 4), np.uint8))
    assert open_volume(tmp_path / "a.zarr").voxel_size is None


@pytest.mark.parametrize("options", [{"zarr_format": 2}, {"shards": (4, 6, 8)}, {"fill_value": 7}])
def test_other_writers_arrays(tmp_path, options):
    array = zarr.create_array(str(tmp_path / "a.zarr"), shape=(4, 6, 8), chunks=(2, 3, 4), dtype="uint64", **options)
    array[:2] = ARRAY[:2]
    volume = open_volume(tmp_path / "a.zarr")
    np.testing.assert_array_equal(volume[:2], ARRAY[:2])
    assert (volume[2:] == options.get("fill_value", 0)).all()
    open_volume(tmp_path / "a.zarr", mode="r+")[1:3, ::2] = 5
    assert (open_volume(tmp_path / "a.zarr")[1:3, ::2] == 5).all()
    np.testing.assert_array_equal(open_volume(tmp_path / "a.zarr")[1, 1::2], ARRAY[1, 1::2])


def test_marking_a_streamed_volume_complete(tmp_path):
    volume = create_volume(tmp_path / "a.zarr", (4, 6, 8), "uint8", chunks=(2, 3, 4), key="out")
    volume[:2] = 0
    assert (open_volume(tmp_path / "a.zarr")[:] == 0).all()
    with pytest.raises(OSError, match=r"is incomplete: the chunk file .*c/1/0/0"):
        volume.mark_complete()
    volume[2:] = 0
    assert volume.mark_complete() is volume
    os.unlink(tmp_path / "a.zarr/out/c/0/0/0")
    with pytest.raises(OSError, match="incomplete"):
        open_volume(tmp_path / "a.zarr")[0]


def test_writing_part_of_chunks(tmp_path):
    volume = create_volume(tmp_path / "a.zarr", (5, 7, 9), "int32", chunks=(2, 3, 4))
    expected = np.zeros((5, 7, 9), np.int32)
    rng = np.random.default_rng(0)
    for _ in range(10):
        low = [int(rng.integers(0, length)) for length in expected.shape]
        box = tuple(
            slice(start, int(rng.integers(start + 1, n + 1))) for start, n in zip(low, expected.shape, strict=True)
        )
        values = rng.integers(-9, 9, expected[box].shape)
        volume[box] = expected[box] = values
    np.testing.assert_array_equal(open_volume(tmp_path / "a.zarr")[:], expected)
