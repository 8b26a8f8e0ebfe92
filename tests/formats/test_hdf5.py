"""HDF5: which data set is meant, foreign conventions, lazy chunks, damage, and who has the file open."""

import os

import h5py
import numpy as np
import pytest

from emlib.volume import create_volume, open_volume, save_volume

ARRAY = np.random.default_rng(0).integers(0, 2**40, (4, 6, 8), dtype=np.uint64)


def write(path, arrays, **attributes):
    with h5py.File(path, "w") as file:
        for key, array in arrays.items():
            file.create_dataset(key, data=array).attrs.update(attributes)
    return path


@pytest.mark.parametrize(
    "keys, first",
    [
        (["vol0"], "vol0"),
        (["vol10", "vol2"], "vol2"),
        (["dataset_1", "main"], "main"),
        (["a/b/raw", "z"], "z"),
        (["volumes/labels/ids", "volumes/raw"], "volumes/raw"),
        (["g10/x", "g9/x"], "g9/x"),
        (["main/x", "a"], "a"),
    ],
)
def test_the_first_data_set(tmp_path, keys, first):
    path = write(tmp_path / "a.h5", dict.fromkeys(keys, ARRAY))
    volume = open_volume(path)
    assert volume.key == first
    np.testing.assert_array_equal(volume[:], ARRAY)


def test_flat_tables_and_texts_are_passed_over(tmp_path):
    path = write(tmp_path / "a.h5", {"annotations/locations": ARRAY[0], "ids": ARRAY[0, 0], "volumes/raw": ARRAY,
                                     "note": "text", "names": np.array([[[b"a"]]])})  # fmt: skip
    assert open_volume(path).key == "volumes/raw"
    assert open_volume(write(tmp_path / "b.h5", {"ids": ARRAY[0, 0], "picture": ARRAY[0]})).axes == "yx"
    with pytest.raises(ValueError, match="no numeric array with 2 or more dimensions"):
        open_volume(write(tmp_path / "c.h5", {"note": "text"}))
    with pytest.raises(TypeError, match=r"\[names\] has dtype"):
        open_volume(path, "names")


def test_wrong_keys(tmp_path):
    path = write(tmp_path / "a.h5", {"volumes/raw": ARRAY, "volumes/ids": ARRAY})
    with pytest.raises(ValueError, match=r"no array 'volumes/rw', it holds 'volumes/ids', 'volumes/raw'; did you mean"):
        open_volume(path, "volumes/rw")
    for key in ("volumes", "/", "volumes/raw/more"):
        with pytest.raises(ValueError, match="has no array"):
            open_volume(path, key)
    write(tmp_path / "empty.h5", {})
    with pytest.raises(ValueError, match="it holds no arrays at all"):
        open_volume(tmp_path / "empty.h5", "main")


@pytest.mark.parametrize(
    "attributes, voxel_size",
    [
        ({"voxel_size": [30, 8, 8]}, (30, 8, 8)),
        ({"resolution": np.array([40.0, 4.0, 4.0])}, (40, 4, 4)),
        ({"element_size_um": [0.25, 0.125, 0.125]}, (250, 125, 125)),
        ({"voxel_size": [1, 2, 3], "resolution": [40, 4, 4]}, (1, 2, 3)),
        ({"resolution": [40.0, 4.0]}, None),
        ({"resolution": "fine"}, None),
        ({"element_size_um": [0.0, 1.0, 1.0]}, None),
        ({}, None),
    ],
)
def test_voxel_sizes_of_other_programs(tmp_path, attributes, voxel_size):
    path = write(tmp_path / "a.h5", {"raw": ARRAY}, **attributes)
    assert open_volume(path).voxel_size == voxel_size
    assert open_volume(path, voxel_size=(9, 9, 9)).voxel_size == (9, 9, 9)
    foreign = {name for name in attributes if name != "voxel_size"}
    assert set(open_volume(path).attributes) == foreign
    again = save_volume(tmp_path / "b.zarr", open_volume(path))
    assert open_volume(again).voxel_size == voxel_size


def test_an_unusable_voxel_size_of_ours_is_an_error(tmp_path):
    with pytest.raises(ValueError, match=r"a.h5 \[raw\] has an unusable attribute: voxel_size must be positive"):
        open_volume(write(tmp_path / "a.h5", {"raw": ARRAY}, voxel_size=[0, 1, 1]))


def test_strange_attributes_do_not_hinder(tmp_path):
    path = write(tmp_path / "a.h5", {"raw": ARRAY})
    with h5py.File(path, "r+") as file:
        file["raw"].attrs["where"] = file["raw"].ref
        file["raw"].attrs["bytes"] = np.bytes_("µ".encode())
        file["raw"].attrs["nothing"] = h5py.Empty("f")
    attributes = open_volume(path).attributes
    assert attributes["bytes"] == "µ"
    assert set(attributes) == {"where", "bytes", "nothing"}


def test_a_crop_reads_only_its_chunks(tmp_path):
    path = save_volume(tmp_path / "a.h5", ARRAY, chunks=(2, 3, 4))
    with h5py.File(path) as file:
        data = file["main"].id
        places = {data.get_chunk_info(i).chunk_offset: data.get_chunk_info(i) for i in range(data.get_num_chunks())}
    with open(path, "r+b") as file:
        for corner, place in places.items():
            if corner != (2, 3, 4):
                file.seek(place.byte_offset)
                file.write(b"\xa7\x01" * (place.size // 2))
    volume = open_volume(path)
    np.testing.assert_array_equal(volume[2:, 3:, 4:], ARRAY[2:, 3:, 4:])
    with pytest.raises(OSError, match=r"a.h5 \[main\] cannot be read at \[1:3, 3:6, 4:8\], it is damaged"):
        volume[1:3, 3:, 4:]


@pytest.mark.parametrize("keep", [0, 100, 900, -10])
def test_truncated_files(tmp_path, keep):
    path = save_volume(tmp_path / "a.h5", ARRAY)
    os.truncate(path, keep if keep >= 0 else path.stat().st_size + keep)
    with pytest.raises(OSError, match=r"a.h5 is (a truncated HDF5 file|not an HDF5 file)"):
        open_volume(path)


def test_a_file_that_is_open_elsewhere(tmp_path):
    path = save_volume(tmp_path / "a.h5", ARRAY)
    reading = open_volume(path)
    reading[0]
    writing = open_volume(path, mode="r+")
    with pytest.raises(OSError, match="open elsewhere"):
        writing[0] = 1
    reading.close()
    writing[0] = 1
    assert (reading[0] == 1).all()


def test_a_disk_that_fills_up_while_streaming(tmp_path, monkeypatch):
    from emlib.formats import hdf5

    volume = create_volume(tmp_path / "a.h5", (4, 64, 64), "uint64", chunks=(1, 64, 64))
    volume[0] = np.arange(4096).reshape(64, 64)

    def full(self, data):
        self.error = self.error or OSError(28, "No space left on device")
        return len(data)

    with monkeypatch.context() as patch:
        patch.setattr(hdf5._RecordingFile, "write", full)
        with pytest.raises(OSError, match="No space left"):
            volume[1] = np.random.default_rng(0).integers(0, 2**60, (64, 64))
    np.testing.assert_array_equal(volume[0].ravel(), np.arange(4096))
