"""Volume itself: indexing, crops, boxes that reach outside, metadata, and the errors at its door."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emlib.volume import Volume, create_volume, open_volume, save_volume

ARRAY = np.arange(5 * 6 * 7, dtype=np.uint16).reshape(5, 6, 7)


def test_attributes_of_an_array_in_memory():
    volume = Volume(ARRAY, (30, 8, 8), attributes={"name": "em"})
    assert (volume.shape, volume.dtype, volume.ndim, len(volume)) == ((5, 6, 7), np.uint16, 3, 5)
    assert (volume.size, volume.nbytes) == (210, 420)
    assert volume.voxel_size == (30.0, 8.0, 8.0)
    assert all(type(size) is float for size in volume.voxel_size)
    assert (volume.axes, volume.path, volume.key, volume.chunks, volume.writable) == ("zyx", None, None, None, True)
    volume.attributes["name"] = "changed"
    assert volume.attributes == {"name": "em"}


def test_an_array_is_not_copied_and_results_are():
    volume = Volume(ARRAY)
    assert np.shares_memory(np.asarray(volume), ARRAY)
    assert np.shares_memory(np.asarray(volume.crop(z=(1, 3))), ARRAY)
    assert not np.shares_memory(volume[:], ARRAY)
    assert not np.shares_memory(volume.read_box((0, 0, 0), (5, 6, 7)), ARRAY)
    assert not np.shares_memory(np.array(volume), ARRAY)


def test_open_volume_takes_volumes_and_arrays():
    volume = Volume(ARRAY, (30, 8, 8))
    assert open_volume(volume) is volume
    assert open_volume(volume, voxel_size=(1, 2, 3)).voxel_size == (1, 2, 3)
    assert volume.voxel_size == (30, 8, 8)
    np.testing.assert_array_equal(open_volume(ARRAY, axes="cyx")[:], ARRAY)
    with pytest.raises(ValueError, match="key"):
        open_volume(ARRAY, "main")
    with pytest.raises(TypeError, match="not from list"):
        open_volume([1, 2])


def test_big_endian_arrays_come_out_native():
    volume = Volume(ARRAY.astype(">u2"))
    assert volume.dtype.isnative
    assert volume[:].dtype.isnative
    assert np.asarray(volume).dtype.isnative
    np.testing.assert_array_equal(volume[:], ARRAY)


@pytest.mark.parametrize(
    "index, error, text",
    [
        (5, IndexError, "Index 5 is out of range for axis 0 of length 5"),
        ((0, -7), IndexError, "Index -7 is out of range for axis 1 of length 6"),
        ((0, 0, 0, 0), IndexError, "4 indices were given for a volume of 3 dimensions"),
        ((..., ...), IndexError, "only one Ellipsis"),
        (None, TypeError, "not with NoneType"),
        ([0, 1], TypeError, "not with list"),
        (np.array([0, 1]), TypeError, "not with ndarray"),
        (True, TypeError, "not with bool"),
        (1.0, TypeError, "not with float"),
        ("z", TypeError, "not with str"),
    ],
)
def test_indices_that_are_not_supported(index, error, text):
    with pytest.raises(error, match=text):
        Volume(ARRAY)[index]


def test_indices_like_numpy():
    volume = Volume(ARRAY)
    assert volume[np.int64(1), -1, 2] == ARRAY[1, -1, 2]
    assert isinstance(volume[1, 2, 3], np.uint16)
    assert volume[3:1].shape == (0, 6, 7)
    np.testing.assert_array_equal(volume[::-2, ..., 3], ARRAY[::-2, ..., 3])
    assert [section.sum() for section in volume] == [section.sum() for section in ARRAY]


def test_crops():
    volume = Volume(np.stack([ARRAY, ARRAY + 1]), (30, 8, 8))
    crop = volume.crop(z=slice(1, 4), x=(-3, 7))
    assert (crop.shape, crop.axes, crop.voxel_size) == ((2, 3, 6, 3), "czyx", (30, 8, 8))
    again = crop.crop(z=(1, 3), y=slice(None, -1))
    np.testing.assert_array_equal(again[:], np.stack([ARRAY, ARRAY + 1])[:, 2:4, :-1, -3:])
    np.testing.assert_array_equal(again[1, ::-1], (ARRAY + 1)[2:4, :-1, -3:][::-1])


@pytest.mark.parametrize(
    "crop, error, text",
    [
        ({"z": slice(0, 4, 2)}, ValueError, "no step"),
        ({"z": 3}, TypeError, r"\(start, stop\) pair, got 3 for z"),
        ({"z": (0, 1, 2)}, TypeError, "pair"),
        ({"z": (0.0, 2)}, TypeError, "pair"),
        ({"y": (0, 7)}, IndexError, "outside axis y of length 6"),
        ({"x": (3, 3)}, ValueError, "holds nothing"),
    ],
)
def test_crops_that_are_refused(crop, error, text):
    with pytest.raises(error, match=text):
        Volume(ARRAY).crop(**crop)


def test_a_crop_needs_the_axis():
    with pytest.raises(ValueError, match="axes 'yx' cannot be cropped along z"):
        Volume(ARRAY[0]).crop(z=(0, 1))


@st.composite
def boxes(draw):
    shape = tuple(draw(st.integers(1, 6)) for _ in range(3))
    start = tuple(draw(st.integers(-15, 15)) for _ in range(3))
    stop = tuple(low + draw(st.integers(1, 20)) for low in start)
    return shape, start, stop


@given(case=boxes(), padding=st.sampled_from(["reflect", "edge", "constant"]), channels=st.booleans())
def test_read_box_equals_numpy_pad(case, padding, channels):
    shape, start, stop = case
    array = np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
    reach = 36
    options = {"constant_values": 9} if padding == "constant" else {}
    padded = np.pad(array, reach, mode=padding, **options)
    expected = padded[tuple(slice(low + reach, high + reach) for low, high in zip(start, stop, strict=True))]
    if channels:
        array, expected = np.stack([array, 255 - array], axis=-1), expected[..., None]
    volume = Volume(array, axes="zyxc" if channels else "zyx")
    found = volume.read_box(start, stop, padding=padding, fill=9)
    np.testing.assert_array_equal(found[..., :1] if channels else found, expected)
    assert found.dtype == array.dtype
    found[...] = 1
    np.testing.assert_array_equal(volume[...], array)


def test_read_box_reads_only_the_part_it_mirrors():
    volume = Volume(np.arange(1000).reshape(10, 10, 10))
    seen = []
    read = volume._source.read
    volume._source.read = lambda box: (seen.append(box), read(box))[1]
    volume.read_box((-2, 4, 8), (1, 6, 12))
    assert [[(part.start, part.stop) for part in box] for box in seen] == [[(0, 3), (4, 6), (7, 10)]]


def test_a_box_of_a_crop_stays_in_the_crop():
    volume = Volume(ARRAY).crop(z=(1, 4))
    np.testing.assert_array_equal(volume.read_box((-1, 0, 0), (1, 1, 1))[:, 0, 0], ARRAY[[2, 1], 0, 0])


@pytest.mark.parametrize(
    "arguments, options, error, text",
    [
        (((0, 0, 0), (1, 1, 1)), {"padding": "reflct"}, ValueError, "did you mean 'reflect'"),
        (((0, 0), (1, 1)), {}, ValueError, "need 3 integers"),
        (((0, 0, 0), (1, 0, 1)), {}, ValueError, "is empty"),
        (((0, 0, 0), (1, 1.5, 1)), {}, TypeError, "integer"),
        (
            ((0, 0, 0), (1, 1, 1)),
            {"padding": "constant", "fill": -1},
            ValueError,
            "fill=-1 is no number of dtype uint16",
        ),
        (((0, 0, 0), (1, 1, 1)), {"padding": "constant", "fill": 0.5}, ValueError, "fill=0.5"),
        (((0, 0, 0), (1, 1, 1)), {"padding": "constant", "fill": "a"}, ValueError, "fill='a'"),
    ],
)
def test_boxes_that_are_refused(arguments, options, error, text):
    with pytest.raises(error, match=text):
        Volume(ARRAY).read_box(*arguments, **options)


@pytest.mark.parametrize(
    "voxel_size, error, text",
    [
        ((30, 8), ValueError, "3 numbers in nm, one for each of z, y, x, got 2"),
        ((30, 8, 0), ValueError, "positive and finite"),
        ((30, 8, -8), ValueError, "positive and finite"),
        ((30, 8, float("nan")), ValueError, "positive and finite"),
        (("30", "b", 8), TypeError, "3 numbers"),
        (8, TypeError, "3 numbers"),
        ("zyx", TypeError, "3 numbers"),
    ],
)
def test_voxel_sizes_that_are_refused(voxel_size, error, text, tmp_path):
    with pytest.raises(error, match=text):
        Volume(ARRAY, voxel_size)
    with pytest.raises(error, match=text):
        save_volume(tmp_path / "a.zarr", ARRAY, voxel_size=voxel_size)
    with pytest.raises(error, match=text):
        create_volume(tmp_path / "a.h5", (2, 2, 2), "uint8", voxel_size=voxel_size)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "array, axes, error, text",
    [
        (ARRAY, "czyx", ValueError, "names 4 dimensions, but the array has 3"),
        (ARRAY, "xyz", ValueError, "not one of .* did you mean"),
        (ARRAY, 3, TypeError, "axes must be a string"),
        (ARRAY[None, None], None, ValueError, r"2 \(yx\), 3 \(zyx\) or 4 \(czyx\) dimensions, this array has 5"),
        (ARRAY[0, 0], None, ValueError, "this array has 1"),
        (ARRAY[:0], None, ValueError, "no voxels"),
        (ARRAY.astype(object), None, TypeError, "dtype object"),
        (ARRAY.astype(complex), None, TypeError, "complex128"),
        (np.array([["a"]]), None, TypeError, "bool, integers"),
    ],
)
def test_arrays_that_are_refused(array, axes, error, text, tmp_path):
    with pytest.raises(error, match=text):
        Volume(array, axes=axes)
    with pytest.raises(error, match=text):
        save_volume(tmp_path / "a.h5", array, axes=axes)
    assert list(tmp_path.iterdir()) == []


def test_arrays_of_zarr_and_h5py_would_be_loaded_whole(tmp_path):
    import zarr

    with pytest.raises(TypeError, match=r"open it with open_volume\(path, key\)"):
        Volume(zarr.zeros((2, 2, 2)))


def test_two_dimensional_volumes_have_two_sizes():
    volume = Volume(ARRAY[0], (8, 4))
    assert (volume.axes, volume.voxel_size) == ("yx", (8.0, 4.0))
    assert volume.read_box((-1, 0), (2, 3)).shape == (3, 3)
    assert volume.crop(y=(0, 2)).shape == (2, 7)


def test_assigning_checks_shape_and_values():
    array = np.zeros((2, 3, 4), np.uint8)
    volume = Volume(array)
    volume[0, ::-1] = np.arange(12).reshape(3, 4)
    np.testing.assert_array_equal(array[0], np.arange(12).reshape(3, 4)[::-1])
    volume.crop(z=(1, 2))[...] = 7
    assert (array[1] == 7).all()
    with pytest.raises(ValueError, match=r"shape \(5,\) do not fit a box of shape \(3, 4\)"):
        volume[0] = np.zeros(5)
    for value in (256, -1, 0.5, np.uint64(300)):
        with pytest.raises(TypeError, match="would be changed by storing them as uint8"):
            volume[0] = value
    assert array[0, 2, 0] == 0
    array.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        Volume(array)[0] = 1


@pytest.mark.parametrize("values", [np.array([2**53 + 1], np.uint64), np.array([2**62 + 1])])
def test_large_ids_are_not_rounded_into_floats(values):
    with pytest.raises(TypeError, match="would be changed"):
        Volume(np.zeros((1, 1))[:])[0] = values
