"""save_volume and create_volume: what comes back, what stays of other arrays, and what a failed write leaves."""

import errno
import os
import subprocess
import sys

import h5py
import numpy as np
import pytest
import tifffile
import zarr

from emlib.volume import Volume, create_volume, open_volume, save_volume

NAMES = ["a.zarr", "a.h5", "a.tif", "a.npy"]
ATTRIBUTES = {"name": "phantom", "seed": 3, "scale": 0.1, "nested": {"list": [1, 2], "none": None}, "µ": "ü"}


def labels(dtype="uint64"):
    return np.random.default_rng(0).integers(0, 2**63, (5, 6, 7), dtype=np.uint64).astype(dtype)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", ["uint64", "uint8", "float32", "int32"])
@pytest.mark.parametrize("sizes", [(30, 8, 8), (29.123456789, 1 / 3, 8.1), None])
def test_everything_comes_back(tmp_path, name, dtype, sizes):
    array = labels(dtype)
    path = save_volume(tmp_path / name, array, voxel_size=sizes, attributes=ATTRIBUTES)
    assert path == tmp_path / name
    volume = open_volume(path)
    np.testing.assert_array_equal(volume[:], array)
    assert volume.dtype == dtype
    assert volume.voxel_size == (None if sizes is None else tuple(map(float, sizes)))
    assert volume.axes == "zyx"
    assert volume.attributes == ATTRIBUTES
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "axes, shape",
    [("yx", (6, 7)), ("czyx", (2, 5, 6, 7)), ("yxc", (6, 7, 3)), ("yxc", (6, 7, 1)), ("cyx", (3, 6, 7)),
     ("czyx", (1, 1, 6, 7)), ("zyx", (1, 1, 1)), ("zyx", (1, 6, 7)), ("zyx", (5, 1, 3)), ("zyxc", (5, 6, 7, 2))],
)  # fmt: skip
def test_all_axes_come_back(tmp_path, name, axes, shape):
    array = np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
    if (name, axes) == ("a.tif", "zyxc"):
        with pytest.raises(ValueError, match="cannot hold axes 'zyxc'"):
            save_volume(tmp_path / name, array, axes=axes)
        return
    sizes = (30, 8, 4)[-len([axis for axis in axes if axis in "zyx"]) :]
    volume = open_volume(save_volume(tmp_path / name, array, axes=axes, voxel_size=sizes))
    assert (volume.axes, volume.shape, volume.voxel_size) == (axes, shape, sizes)
    np.testing.assert_array_equal(volume[...], array)


@pytest.mark.parametrize("name", ["a.zarr", "a.h5", "a.npy"])
def test_bool_and_half_floats_come_back(tmp_path, name):
    for dtype in (bool, np.float16):
        array = labels("uint8").astype(dtype)
        np.testing.assert_array_equal(open_volume(save_volume(tmp_path / name, array))[:], array)


def test_a_volume_is_copied_with_its_metadata(tmp_path):
    first = save_volume(tmp_path / "a.h5", labels(), voxel_size=(30, 8, 8), attributes={"n": 1})
    for name in NAMES:
        volume = open_volume(save_volume(tmp_path / name, open_volume(first).crop(z=(1, 4))))
        np.testing.assert_array_equal(volume[:], labels()[1:4])
        assert (volume.voxel_size, volume.attributes) == ((30, 8, 8), {"n": 1})
        first = save_volume(tmp_path / "a.h5", labels(), voxel_size=(30, 8, 8), attributes={"n": 1})


@pytest.mark.parametrize("name", NAMES)
def test_big_volumes_are_copied_block_by_block(tmp_path, name, monkeypatch):
    from emlib.formats import boxes

    monkeypatch.setattr(boxes.blocks, "__defaults__", (64,))
    array = labels("uint16")
    largest = []

    class Watched(Volume):
        def __getitem__(self, index):
            found = super().__getitem__(index)
            largest.append(found.nbytes)
            return found

    chunks = {"chunks": (2, 3, 2)} if name[-3:] in ("arr", ".h5") else {}
    path = save_volume(tmp_path / name, Watched(array), **chunks)
    np.testing.assert_array_equal(open_volume(path)[:], array)
    assert max(largest) <= 6 * 7 * 2  # a page; the smallest unit of TIFF and .npy


def test_default_chunks_are_three_dimensional(tmp_path):
    array = np.zeros((2, 40, 300, 70), np.uint8)
    for name in ("a.zarr", "a.h5"):
        assert open_volume(save_volume(tmp_path / name, array)).chunks == (1, 32, 256, 70)
    stored = zarr.open_array(tmp_path / "a.zarr", mode="r")
    assert stored.metadata.zarr_format == 3
    assert stored.metadata.dimension_names == ("c", "z", "y", "x")


@pytest.mark.parametrize("name", ["a.zarr", "a.h5"])
def test_arrays_live_beside_each_other(tmp_path, name):
    path = tmp_path / name
    save_volume(path, labels(), key="volumes/labels/ids")
    save_volume(path, labels("uint8"), key="volumes/raw", voxel_size=(4, 4, 4))
    save_volume(path, labels("uint16"), key="volumes/labels/ids")
    assert open_volume(path).key == "volumes/raw"
    assert open_volume(path, "volumes/raw").voxel_size == (4, 4, 4)
    np.testing.assert_array_equal(open_volume(path, "/volumes/labels/ids")[:], labels("uint16"))
    with pytest.raises(FileExistsError, match="exists already"):
        save_volume(path, labels(), key="volumes/raw", overwrite=False)
    with pytest.raises(FileExistsError, match="exists already"):
        create_volume(path, (2, 2, 2), "uint8", key="volumes/raw")
    create_volume(path, (2, 2, 2), "uint8", key="volumes/raw", overwrite=True)
    assert open_volume(path, "volumes/raw").shape == (2, 2, 2)
    np.testing.assert_array_equal(open_volume(path, "volumes/labels/ids")[:], labels("uint16"))


def test_saving_an_hdf5_data_set_again_does_not_grow_the_file(tmp_path):
    path = tmp_path / "a.h5"
    save_volume(path, labels(), key="g/other")
    save_volume(path, labels(), key="g/one")
    size = path.stat().st_size
    for _ in range(3):
        save_volume(path, labels(), key="g/one")
    assert path.stat().st_size <= size
    np.testing.assert_array_equal(open_volume(path, "g/other")[:], labels())


@pytest.mark.parametrize("name", NAMES)
def test_overwriting(tmp_path, name):
    path = save_volume(tmp_path / name, labels())
    with pytest.raises(FileExistsError, match="exists already"):
        save_volume(path, labels("uint8"), overwrite=False)
    np.testing.assert_array_equal(open_volume(path)[:], labels())
    save_volume(path, labels("uint8"))
    assert open_volume(path).dtype == np.uint8


@pytest.mark.parametrize("name", NAMES)
def test_a_volume_may_be_saved_over_itself(tmp_path, name):
    path = save_volume(tmp_path / name, labels())
    save_volume(path, open_volume(path).crop(z=(1, 3)))
    np.testing.assert_array_equal(open_volume(path)[:], labels()[1:3])


def test_a_damaged_hdf5_file_can_be_replaced(tmp_path):
    path = save_volume(tmp_path / "a.h5", labels())
    os.truncate(path, 900)
    with pytest.raises(OSError, match="truncated HDF5 file"):
        save_volume(path, labels(), key="other")
    save_volume(path, labels())
    np.testing.assert_array_equal(open_volume(path)[:], labels())


def test_other_peoples_folders_are_not_replaced(tmp_path):
    (tmp_path / "a.zarr").mkdir()
    (tmp_path / "a.zarr" / "thesis.txt").write_text("years of work")
    for write in (save_volume, lambda path, array: create_volume(path, array.shape, array.dtype, overwrite=True)):
        with pytest.raises(ValueError, match="no zarr store"):
            write(tmp_path / "a.zarr", labels())
    save_volume(tmp_path / "g.zarr", labels(), key="one")
    with pytest.raises(ValueError, match="holds one; name the array with key="):
        save_volume(tmp_path / "g.zarr", labels())
    with pytest.raises(ValueError, match="nothing can be put below it"):
        save_volume(tmp_path / "g.zarr", labels(), key="one/two")
    assert open_volume(tmp_path / "g.zarr", "one").dtype == np.uint64
    assert (tmp_path / "a.zarr" / "thesis.txt").exists()


@pytest.mark.parametrize(
    "name, options, error, text",
    [
        ("a.nii", {}, ValueError, "suffix '.nii'"),
        ("a.zar", {}, ValueError, "did you mean '.zarr'"),
        ("a", {}, ValueError, "no suffix"),
        ("a.png", {}, ValueError, "use .zarr, .h5, .tif, .npy"),
        ("a.tif", {"key": "main"}, ValueError, "do not pass a key"),
        ("a.npy", {"chunks": (1, 1, 1)}, ValueError, "no chunks"),
        ("a.h5", {"key": "../x"}, ValueError, "is no key"),
        ("a.zarr", {"key": "/"}, ValueError, "is no key"),
        ("a.zarr", {"chunks": (1, 1)}, ValueError, "chunks must be 3 integers"),
        ("a.zarr", {"chunks": (1, 1, 0)}, ValueError, "at least 1"),
        ("a.zarr", {"chunks": 4}, TypeError, "chunks must be 3 integers"),
        ("a.zarr", {"attributes": {"voxel_size": 1}}, ValueError, "'voxel_size' is reserved"),
        ("a.h5", {"attributes": {"when": object()}}, TypeError, "JSON-able"),
        ("a.h5", {"attributes": {"nan": float("nan")}}, TypeError, "JSON-able"),
        ("a.h5", {"attributes": [1]}, TypeError, "dict with text keys"),
    ],
)
def test_arguments_that_are_refused_leave_nothing(tmp_path, name, options, error, text):
    with pytest.raises(error, match=text):
        save_volume(tmp_path / name, labels(), **options)
    assert list(tmp_path.iterdir()) == []


def test_bool_has_no_place_in_tiff(tmp_path):
    with pytest.raises(TypeError, match="cannot hold bool"):
        save_volume(tmp_path / "a.tif", labels() > 5)
    assert list(tmp_path.iterdir()) == []


class FullDisk:
    """An array whose second block cannot be written: the disk is full by then."""

    def __init__(self, code):
        self.code, self.blocks = code, 0

    def __call__(self, *arguments, **keywords):
        self.blocks += 1
        raise OSError(self.code, os.strerror(self.code))


@pytest.mark.parametrize(
    "code, text", [(errno.ENOSPC, "the disk is full"), (errno.EROFS, "read-only"), (errno.EACCES, "not writable")]
)
@pytest.mark.parametrize(
    "name, place",
    [
        ("a.zarr", "zarr.storage.LocalStore.set"),
        ("a.h5", "h5py.Dataset.__setitem__"),
        ("a.tif", "tifffile.imwrite"),
        ("a.npy", "numpy.ascontiguousarray"),
    ],
)
def test_a_failing_disk_leaves_the_old_file(tmp_path, monkeypatch, name, place, code, text):
    old = save_volume(tmp_path / name, labels())
    fault = FullDisk(code)
    with monkeypatch.context() as patch:
        patch.setattr(place, fault)
        with pytest.raises(OSError, match=text) as caught:
            save_volume(old, labels("uint8"))
    assert fault.blocks == 1
    assert str(old) in str(caught.value)
    assert os.listdir(tmp_path) == [name]
    np.testing.assert_array_equal(open_volume(old)[:], labels())


@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_may_not_grow_leaves_nothing(tmp_path, name):
    # The operating system itself refuses here (in a process of its own), as a full disk would in mid-file.
    code = (
        "import resource, signal, sys, numpy as np; from emlib.volume import save_volume\n"
        "sys.dont_write_bytecode = True  # the limit would leave half of a module in the caches\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "array = np.random.default_rng(0).integers(0, 255, (64, 256, 256), dtype=np.uint8)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "try:\n    save_volume(sys.argv[1], array)\n"
        "except OSError as error:\n    print('refused', error.errno)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / name)], capture_output=True, text=True)
    assert (done.stdout.split(), done.returncode) == (["refused", str(errno.EFBIG)], 0), done.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_output_folder_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    for name in NAMES:
        with pytest.raises(OSError, match=r"a part of the path is a file|Not a directory|File exists|is a file"):
            save_volume(tmp_path / "file" / name, labels())


@pytest.mark.parametrize("name", ["a.zarr", "a.h5"])
def test_created_volumes_are_filled_box_by_box(tmp_path, name):
    volume = create_volume(tmp_path / name, (5, 6, 7), "uint64", voxel_size=(30, 8, 8), chunks=(2, 3, 4),
                           attributes={"n": [1]})  # fmt: skip
    assert volume.writable
    assert (volume[:] == 0).all()
    expected = np.zeros((5, 6, 7), np.uint64)
    for box in ((slice(0, 2), slice(0, 3)), (3, slice(None, None, -2)), (..., 5)):
        volume[box] = labels()[box]
        expected[box] = labels()[box]
        np.testing.assert_array_equal(open_volume(tmp_path / name)[:], expected)
    np.testing.assert_array_equal(volume[:], expected)
    assert (volume.voxel_size, volume.chunks, volume.attributes) == ((30, 8, 8), (2, 3, 4), {"n": [1]})
    with pytest.raises(FileExistsError, match="exists already"):
        create_volume(tmp_path / name, (5, 6, 7), "uint64")
    with pytest.raises(ValueError, match=r"is read-only; open it with open_volume\(path, mode='r\+'\)"):
        open_volume(tmp_path / name)[0] = 1


def test_only_zarr_and_hdf5_are_created(tmp_path):
    with pytest.raises(ValueError, match=r"use .zarr, .h5"):
        create_volume(tmp_path / "a.tif", (2, 2, 2), "uint8")
    with pytest.raises(ValueError, match="at least one voxel"):
        create_volume(tmp_path / "a.zarr", (2, 0, 2), "uint8")
    with pytest.raises(TypeError, match="object"):
        create_volume(tmp_path / "a.zarr", (2, 2, 2), object)
    with pytest.raises(ValueError, match="mode must be"):
        open_volume(tmp_path, mode="w")


def test_npy_can_be_written_in_place(tmp_path):
    path = save_volume(tmp_path / "a.npy", labels(), attributes={"n": 1})
    open_volume(path, mode="r+")[2] = 5
    assert (open_volume(path)[2] == 5).all()
    assert open_volume(path).attributes == {"n": 1}


def test_other_programs_read_what_is_saved(tmp_path):
    array = labels("uint16")
    for name in NAMES:
        save_volume(tmp_path / name, array, voxel_size=(30, 8, 4))
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), array)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), array)
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "a.zarr")[:], array)
    with h5py.File(tmp_path / "a.h5") as file:
        np.testing.assert_array_equal(file["main"][:], array)
        assert file["main"].attrs["voxel_size"].tolist() == [30, 8, 4]
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert file.is_imagej
        assert (file.imagej_metadata["spacing"], file.imagej_metadata["unit"]) == (30, "nm")
        x, y = (file.pages[0].tags[name].value for name in ("XResolution", "YResolution"))
        assert (x[1] / x[0], y[1] / y[0]) == (4, 8)
