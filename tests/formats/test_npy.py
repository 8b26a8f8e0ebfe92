""".npy: memory-mapped, with metadata behind the array that no other program sees."""

import os

import numpy as np
import pytest

from emlib.volume import open_volume, save_volume

ARRAY = np.random.default_rng(0).integers(0, 65535, (6, 20, 24), dtype=np.uint16)


def test_files_of_numpy(tmp_path):
    for array in (ARRAY, np.asfortranarray(ARRAY), ARRAY.astype(">u2")):
        np.save(tmp_path / "a.npy", array)
        volume = open_volume(tmp_path / "a.npy")
        assert (volume.dtype, volume.voxel_size) == (np.uint16, None)
        np.testing.assert_array_equal(volume[1:, ::-2], ARRAY[1:, ::-2])


@pytest.mark.parametrize("keep", [0, 5, 100, -1])
def test_truncated_files(tmp_path, keep):
    np.save(tmp_path / "a.npy", ARRAY)
    size = os.path.getsize(tmp_path / "a.npy")
    os.truncate(tmp_path / "a.npy", keep if keep >= 0 else size + keep)
    with pytest.raises(OSError, match=r"a.npy is no complete .npy file, it is damaged or truncated"):
        open_volume(tmp_path / "a.npy")


def test_truncated_metadata(tmp_path):
    path = save_volume(tmp_path / "a.npy", ARRAY, voxel_size=(30, 8, 8))
    os.truncate(path, path.stat().st_size - 3)
    with pytest.raises(OSError, match="the metadata behind the array cannot be read"):
        open_volume(path)


def test_objects_are_never_unpickled(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[[{}]]], dtype=object), allow_pickle=True)
    with pytest.raises(TypeError, match="dtype object"):
        open_volume(tmp_path / "a.npy")


def test_without_metadata_the_file_is_numpys_own(tmp_path):
    path = save_volume(tmp_path / "a.npy", ARRAY)
    np.save(tmp_path / "b.npy", ARRAY)
    assert path.read_bytes() == (tmp_path / "b.npy").read_bytes()
