"""What holds for every format: equal to numpy indexing, lazy, picklable, usable in workers, damage is named."""

import multiprocessing
import pickle
import threading

import numpy as np
import pytest
from formats.examples import write_everywhere
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from emlib.volume import Volume, open_volume

DTYPES = ["uint8", "uint16", "uint32", "uint64", "int32", "float32", "bool"]


@st.composite
def arrays(draw):
    """Small arrays of every dtype and memory order, with values over the dtype's whole range."""
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    shape = tuple(draw(st.integers(1, 12)) for _ in range(3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    if dtype.kind in "ui":
        info = np.iinfo(dtype)
        values = rng.integers(info.min, info.max, size=(2 * shape[0], *shape[1:]), dtype=dtype, endpoint=True)
    else:
        values = (rng.standard_normal((2 * shape[0], *shape[1:])) > 0).astype(dtype)
    order = draw(st.sampled_from("CFS"))
    return values[::2] if order == "S" else np.array(values[: shape[0]], order=order)


@settings(max_examples=25)
@given(array=arrays(), data=st.data())
def test_every_format_reads_like_numpy(array, data, tmp_path_factory):
    before = array.copy()
    folder = tmp_path_factory.mktemp("v")
    paths = write_everywhere(folder, array)
    index = data.draw(npst.basic_indices(array.shape, allow_newaxis=False, allow_ellipsis=True))
    low = [data.draw(st.integers(0, length - 1)) for length in array.shape]
    high = [data.draw(st.integers(start + 1, length)) for start, length in zip(low, array.shape, strict=True)]
    ranges = list(zip(low, high, strict=True))
    part = array[tuple(slice(*one) for one in ranges)]
    for name, path in paths.items():
        colours = name == "colour tiles"
        volume = open_volume(path)
        assert (volume.shape, volume.dtype, volume.ndim, volume.axes) == (array.shape, array.dtype, 3, "zyx")
        expected = array % 2**24 if colours else array
        found = volume[index]
        np.testing.assert_array_equal(found, expected[index], err_msg=name)
        assert np.asarray(found).dtype == array.dtype
        crop = volume.crop(*ranges)
        np.testing.assert_array_equal(np.asarray(crop), part % 2**24 if colours else part, err_msg=name)
        assert crop.shape == part.shape
    np.testing.assert_array_equal(array, before)


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    array = np.random.default_rng(1).integers(0, 255, (6, 20, 24), dtype=np.uint8)
    return array, write_everywhere(tmp_path_factory.mktemp("stored"), array)


FORMATS = ["a.zarr", "a.h5", "a.tif", "a.npy", "compressed.tif", "slices of tif", "slices of png", "tiles"]


def read_section(volume, number):
    return volume[number]


# Spawning imports everything anew (a second each); pickling is tested for all formats below.
@pytest.mark.parametrize("method, name", [*(("fork", name) for name in FORMATS), ("spawn", "a.h5")])
def test_volumes_work_in_worker_processes(stored, name, method):
    array, paths = stored
    volume = open_volume(paths[name]).crop(y=(2, 18))
    volume[0]  # the parent holds the file open while the workers read
    with multiprocessing.get_context(method).Pool(2) as pool:
        sections = pool.starmap(read_section, [(volume, number) for number in range(6)], chunksize=3)
    np.testing.assert_array_equal(np.stack(sections), array[:, 2:18])


@pytest.mark.parametrize("name", FORMATS)
def test_pickle_carries_the_place_and_not_the_voxels(stored, name):
    array, paths = stored
    volume = open_volume(paths[name], voxel_size=(30, 8, 8)).crop(z=(1, 4))
    volume[0]
    data = pickle.dumps(volume)
    assert len(data) < array.nbytes
    again = pickle.loads(data)
    np.testing.assert_array_equal(again[:], array[1:4])
    assert (again.voxel_size, again.axes, again.path) == (volume.voxel_size, "zyx", volume.path)


def test_a_volume_in_memory_pickles():
    volume = pickle.loads(pickle.dumps(Volume(np.arange(24).reshape(2, 3, 4), (3, 2, 1), attributes={"a": 1})))
    assert volume[1, 2, 3] == 23
    assert volume.attributes == {"a": 1}


@pytest.mark.parametrize("name", FORMATS)
def test_threads_may_share_a_volume(stored, name):
    array, paths = stored
    volume = open_volume(paths[name])
    wrong = []

    def read(seed):
        for z in np.random.default_rng(seed).integers(0, 6, 10):
            if not np.array_equal(volume[z, 3:9], array[z, 3:9]):
                wrong.append(z)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_read_belongs_to_the_caller(stored, name):
    array, paths = stored
    volume = open_volume(paths[name])
    found = volume[:]
    assert type(found) is np.ndarray
    assert found.flags.c_contiguous
    found[:] = 7
    np.testing.assert_array_equal(volume[:], array)


@pytest.mark.parametrize("name", [name for name in FORMATS if name not in ("a.zarr", "a.h5", "a.npy")])
def test_formats_that_cannot_be_written_say_so(stored, name):
    with pytest.raises(ValueError, match=r"read-only here; convert"):
        open_volume(stored[1][name], mode="r+")


@pytest.mark.parametrize("name", FORMATS)
def test_closing_is_harmless(stored, name):
    volume = open_volume(stored[1][name])
    first = volume[2]
    volume.close()
    volume.close()
    np.testing.assert_array_equal(volume[2], first)


@pytest.mark.parametrize("name", ["a.npy", "a.tif", "compressed.tif", "tiles", "slices of png"])
def test_a_key_where_there_are_none(stored, name):
    with pytest.raises(ValueError, match="do not pass a key"):
        open_volume(stored[1][name], "main")
