"""MitoEM tile lists: every key of the JSON, tiles that are missing or wrong, ids in colours, scaled tiles."""

import json
import shutil

import imageio.v3 as iio
import numpy as np
import pytest
from formats.examples import write_tiles
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from emlib.formats import tiles
from emlib.formats.tiles import resize
from emlib.volume import open_volume, save_volume

ARRAY = np.random.default_rng(0).integers(0, 255, (3, 20, 29), dtype=np.uint8)
IDS = np.random.default_rng(0).integers(0, 2**24, (3, 20, 29)).astype(np.uint32)


def change(path, **keys):
    described = json.loads(path.read_text()) | keys
    path.write_text(json.dumps({key: value for key, value in described.items() if value is not None}))
    return path


@given(size=st.integers(1, 31), data=st.data())
def test_any_box_of_any_tiling(size, data, tmp_path_factory):
    array = ARRAY[:1, :7, :9]
    volume = open_volume(write_tiles(tmp_path_factory.mktemp("t"), array, size=size))
    box = []
    for length in array.shape:
        start = data.draw(st.integers(0, length - 1))
        box.append(slice(start, data.draw(st.integers(start + 1, length)), data.draw(st.integers(1, 4))))
    np.testing.assert_array_equal(volume[tuple(box)], array[tuple(box)])


def test_metadata_and_lazy_tiles(tmp_path, monkeypatch):
    read, asked = tiles.read_picture, []
    monkeypatch.setattr(tiles, "read_picture", lambda path: (asked.append(path.name), read(path))[1])
    volume = open_volume(write_tiles(tmp_path / "a", ARRAY, voxel_size=[30, 8, 8]))
    assert (volume.shape, volume.dtype, volume.voxel_size) == ((3, 20, 29), np.uint8, (30, 8, 8))
    assert volume.chunks == (1, 8, 8)
    assert asked == []
    np.testing.assert_array_equal(volume.crop(y=(7, 9))[1, :, 8:16], ARRAY[1, 7:9, 8:16])
    assert sorted(asked) == ["0001_0_1.png", "0001_1_1.png"]
    np.testing.assert_array_equal(volume.read_box((-1, -2, 20), (1, 3, 33)),
                                  np.pad(ARRAY, 5, mode="reflect")[4:6, 3:8, 25:38])  # fmt: skip
    saved = open_volume(save_volume(tmp_path / "a.zarr", volume))
    np.testing.assert_array_equal(saved[:], ARRAY)
    assert saved.voxel_size == (30, 8, 8)


def test_first_tile_and_absolute_paths(tmp_path):
    path = write_tiles(tmp_path / "a", ARRAY, tile_st=[2, 5])
    assert (tmp_path / "a/tiles/0000_2_5.png").exists()
    np.testing.assert_array_equal(open_volume(path)[:], ARRAY)
    images = [str(tmp_path / "a" / one) for one in json.loads(path.read_text())["image"]]
    (tmp_path / "elsewhere").mkdir()
    moved = shutil.copy(change(path, image=images), tmp_path / "elsewhere" / "im.json")
    np.testing.assert_array_equal(open_volume(moved)[:], ARRAY)


def test_a_path_without_pattern_serves_every_tile(tmp_path):
    path = write_tiles(tmp_path / "a", ARRAY[:, :8, :8], size=8)
    change(path, image=[f"tiles/{z:04d}_0_0.png" for z in range(3)], width=12, n_columns=2)
    np.testing.assert_array_equal(open_volume(path)[:], np.concatenate([ARRAY[:, :8, :8], ARRAY[:, :8, :4]], axis=2))


def test_ids_in_colours_and_in_grey(tmp_path):
    volume = open_volume(write_tiles(tmp_path / "a", IDS, colours=True))
    assert volume.dtype == np.uint32
    np.testing.assert_array_equal(volume[:], IDS)
    grey = open_volume(change(write_tiles(tmp_path / "b", (IDS % 2**16).astype(np.uint16)), dtype="uint32"))
    np.testing.assert_array_equal(grey[:], IDS % 2**16)
    narrow = change(write_tiles(tmp_path / "c", IDS, colours=True), dtype="uint16")
    with pytest.raises(ValueError, match=r"holds id \d+, which the dtype uint16"):
        open_volume(narrow)[:]
    change(narrow, dtype="uint8")
    with pytest.raises(ValueError, match="colour picture; pass labels=True"):
        open_volume(narrow)[:]
    with pytest.raises(ValueError, match="holds id"):
        open_volume(narrow, labels=True)[:]


def test_images_of_another_depth_are_refused(tmp_path):
    path = change(write_tiles(tmp_path / "a", ARRAY.astype(np.uint16)), dtype="uint8")
    with pytest.raises(ValueError, match="holds uint16 values, which the dtype uint8"):
        open_volume(path)[:]


def test_missing_image_tiles(tmp_path):
    path = write_tiles(tmp_path / "a", ARRAY)
    (tmp_path / "a/tiles/0001_1_2.png").unlink()
    volume = open_volume(path)
    np.testing.assert_array_equal(volume[1, :8], ARRAY[1, :8])
    with pytest.raises(FileNotFoundError, match=r"0001_1_2.png \(section 1, row 1, column 2\) is missing; pass fill="):
        volume[1]
    expected = ARRAY.copy()
    expected[1, 8:16, 16:24] = 128
    np.testing.assert_array_equal(open_volume(path, fill=128)[:], expected)
    for fill in (256, 0.5, -1):
        with pytest.raises(ValueError, match="is no number of dtype uint8"):
            open_volume(path, fill=fill)


def test_missing_label_tiles_are_never_filled(tmp_path):
    path = write_tiles(tmp_path / "a", IDS, colours=True)
    (tmp_path / "a/tiles/0001_1_2.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"column 2\) is missing\.$"):
        open_volume(path)[:]
    with pytest.raises(ValueError, match="a missing label tile is an error"):
        open_volume(path, fill=0)
    with pytest.raises(ValueError, match="for the missing tiles of a tile list"):
        open_volume(save_volume(tmp_path / "a.npy", ARRAY), fill=3)


def test_damaged_and_small_tiles(tmp_path):
    path = write_tiles(tmp_path / "a", ARRAY)
    tile = tmp_path / "a/tiles/0001_1_2.png"
    whole = tile.read_bytes()
    tile.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(OSError, match=r"0001_1_2.png cannot be read, it is damaged or truncated"):
        open_volume(path)[:]
    iio.imwrite(tile, ARRAY[0, :7, :8])
    with pytest.raises(ValueError, match=r"is \(7, 8\) at the volume's scale, \(8, 8\) is needed"):
        open_volume(path)[:]
    iio.imwrite(tile, ARRAY[0, :12, :12])  # larger than needed: cut
    np.testing.assert_array_equal(open_volume(path)[1, 8:16, 16:24], ARRAY[0, :8, :8])


@pytest.mark.parametrize("ratio", [2, 0.5, 1.5])
@pytest.mark.parametrize("shape", [(8, 8), (7, 5), (2, 4), (256, 3)])
def test_resizing_is_that_of_scipy(ratio, shape):
    image = np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
    for nearest, order in ((True, 0), (False, 1)):
        expected = ndimage.zoom(image, ratio, order=order)
        np.testing.assert_array_equal(resize(image, ratio, nearest=nearest), expected)


def test_scaled_tiles(tmp_path):
    large = np.uint64(2**60 + 1) + IDS[0, :4, :4].astype(np.uint64)
    assert set(resize(large, 2, nearest=True).ravel()) == set(large.ravel())
    path = change(write_tiles(tmp_path / "a", ARRAY, size=8), tile_ratio=2, tile_size=16, height=40, width=58)
    volume = open_volume(path)
    assert volume.shape == (3, 40, 58)
    np.testing.assert_array_equal(volume[0, :16, :16], ndimage.zoom(ARRAY[0, :8, :8], 2, order=1))


@pytest.mark.parametrize(
    "keys, text",
    [
        ({"image": None}, "the key 'image' is missing"),
        ({"tile_size": None, "tile_sz": 8}, r"the key 'tile_size' is missing \('tile_sz' is there\)"),
        ({"depth": 4}, "image lists 3 sections, but depth is 4"),
        ({"depth": 0}, "depth must be a whole number of at least 1, got 0"),
        ({"width": "29"}, "width must be a whole number"),
        ({"n_rows": 2}, "n_rows x tile_size = 16 does not cover height = 20"),
        ({"n_columns": 3}, "does not cover width = 29"),
        ({"image": "im.png"}, "image must be a list of paths"),
        ({"tile_ratio": 0}, "tile_ratio must be a positive number"),
        ({"tile_st": [0]}, "tile_st must be two whole numbers"),
        ({"dtype": "unit8"}, "dtype 'unit8' is unknown"),
        ({"voxel_size": [30, 8]}, "unusable attribute: voxel_size must be 3 numbers"),
    ],
)
def test_lists_that_are_refused(tmp_path, keys, text):
    path = change(write_tiles(tmp_path / "a", ARRAY), **keys)
    with pytest.raises(ValueError, match=text):
        open_volume(path)


@pytest.mark.parametrize("text", ["", '{"image": [', "nonsense"])
def test_truncated_lists(tmp_path, text):
    (tmp_path / "im.json").write_text(text)
    with pytest.raises(OSError, match=r"im.json is no complete JSON file"):
        open_volume(tmp_path / "im.json")
    (tmp_path / "im.json").write_text("[1]")
    with pytest.raises(ValueError, match="is not a tile list: it holds a list"):
        open_volume(tmp_path / "im.json")
