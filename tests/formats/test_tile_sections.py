"""Tile lists with the key `sections` (1-based), and pyramids written as such."""

import json

import numpy as np
import pytest
from faults.disk import failing_steps
from faults.sentences import listing
from formats.examples import as_colours
from hypothesis import given, settings
from hypothesis import strategies as st

from emlib.data import downsample_image, downsample_labels, write_tiles
from emlib.formats import tiles
from emlib.formats.pictures import encode_png
from emlib.volume import Volume, open_volume, save_volume

IMAGE = np.random.default_rng(0).integers(0, 255, (3, 20, 29), dtype=np.uint8)
IDS = np.random.default_rng(0).integers(0, 2**24, (2, 9, 11)).astype(np.uint32)


def lay_out(folder, array, size, name="{z:04d}_tr{{row}}-tc{{column}}.png", **keys):
    """The tiles of an array, counted from 1, and a list that says nothing more than where they are."""
    folder.mkdir(parents=True, exist_ok=True)
    patterns = [name.format(z=z) for z in range(len(array))]
    for z, y, x in np.ndindex(len(array), -(-array.shape[1] // size), -(-array.shape[2] // size)):
        tile = array[z, y * size : (y + 1) * size, x * size : (x + 1) * size]
        file = folder / patterns[z].replace("{row}", str(y + 1)).replace("{column}", str(x + 1))
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(encode_png(tile))
    (folder / "tiles.json").write_text(json.dumps({"sections": patterns, **keys}))
    return folder / "tiles.json"


@given(
    size=st.sampled_from([2, 5, 8, 31]),
    shape=st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9)),
    data=st.data(),
)
@settings(max_examples=20)
def test_any_region_of_a_list_that_says_only_where_tiles_are(size, shape, data, tmp_path_factory):
    array = IMAGE[: shape[0], : shape[1], : shape[2]]
    whole = max(min(size, length) for length in array.shape[1:])
    listed = lay_out(tmp_path_factory.mktemp("t"), array, size)
    # A tile's side cannot be seen where there is but one, smaller, tile: then it is an argument or does not matter.
    volume = open_volume(listed, tile_size=data.draw(st.sampled_from([None, size])) if whole == size else size)
    assert (volume.shape, volume.dtype) == (array.shape, np.uint8)
    region = []
    for length in array.shape:
        start = data.draw(st.integers(0, length - 1))
        region.append((start, data.draw(st.integers(start + 1, length))))
    part = volume.crop(*region)
    np.testing.assert_array_equal(part[:], array[tuple(slice(*one) for one in region)])


def test_only_needed_tiles_are_decoded(tmp_path, monkeypatch):
    read, asked = tiles.read_picture, []
    monkeypatch.setattr(tiles, "read_picture", lambda path: (asked.append(path.name), read(path))[1])
    volume = open_volume(lay_out(tmp_path / "a", IMAGE, 8, voxel_size=[30, 8, 8]))
    assert (volume.shape, volume.voxel_size, volume.chunks, asked) == (IMAGE.shape, (30, 8, 8), (1, 8, 8), [])
    np.testing.assert_array_equal(volume.crop(y=(7, 9))[1, :, 8:16], IMAGE[1, 7:9, 8:16])
    assert sorted(asked) == ["0001_tr1-tc2.png", "0001_tr2-tc2.png"]


def test_ids_of_several_tiles_a_section(tmp_path):
    listed = lay_out(tmp_path / "a", as_colours(IDS), 4)
    volume = open_volume(listed, labels=True)
    assert volume.dtype == np.uint32
    np.testing.assert_array_equal(volume[:], IDS)
    with pytest.raises(ValueError, match="colour picture; pass labels=True"):
        open_volume(listed)[:]


def test_missing_tiles_are_refused_or_filled(tmp_path):
    listed = lay_out(tmp_path / "a", IMAGE, 8)
    (tmp_path / "a/0001_tr2-tc3.png").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"0001_tr2-tc3.png \(section 1, row 1, column 2\) is missing; pass fill="
    ):
        open_volume(listed)[:]
    expected = IMAGE.copy()
    expected[1, 8:16, 16:24] = 7
    np.testing.assert_array_equal(open_volume(listed, fill=7)[:], expected)


def test_stated_sizes_win_over_tiles_on_disk(tmp_path):
    listed = lay_out(tmp_path / "a", IMAGE, 8, tile_size=8, height=18, width=25)
    assert open_volume(listed).shape == (3, 18, 25)
    np.testing.assert_array_equal(open_volume(listed)[:], IMAGE[:, :18, :25])
    from_zero = lay_out(tmp_path / "b", IMAGE, 8, tile_st=[1, 2], height=20, width=21, tile_size=8)
    np.testing.assert_array_equal(open_volume(from_zero)[:], IMAGE[:, :, 8:])


@pytest.mark.parametrize(
    "keys, options, kind, text",
    [
        ({"tile_size": 4}, {}, ValueError, r"is \(8, 8\) pixels, more than the tile size 4"),
        ({}, {"tile_size": 4}, ValueError, r"is \(8, 8\) pixels, more than the tile size 4"),
        ({"tile_size": 8}, {"tile_size": 4}, ValueError, "says that tile_size is 8, but 4 was asked for"),
        ({}, {"tile_size": 0}, ValueError, "tile_size must be a whole number of at least 1, got 0"),
        ({"image": []}, {}, ValueError, "has both keys 'sections' and 'image'"),
        ({"sections": []}, {}, ValueError, "sections lists no sections"),
        ({"sections": "a.png"}, {}, ValueError, "sections must be a list of paths"),
        ({"depth": 4}, {}, ValueError, "sections lists 3 sections, but depth is 4"),
        ({"sections": ["none_{row}_{column}.png"]}, {}, FileNotFoundError, "the first would be .*none_1_1.png"),
        ({"sections": ["{row}/{column}.png"]}, {}, ValueError, "has to say height, width and tile_size"),
        ({"tile_st": [2, 1]}, {}, ValueError, r"tiles before row and column \[2, 1\]"),
        ({"width": 99, "n_columns": 4}, {}, ValueError, "does not cover width = 99"),
    ],
)
def test_lists_that_are_refused(tmp_path, keys, options, kind, text):
    listed = lay_out(tmp_path / "a", IMAGE, 8, **keys)
    with pytest.raises(kind, match=text):
        open_volume(listed, **options)[:]


def test_a_tile_size_is_for_tiles(tmp_path):
    with pytest.raises(ValueError, match="tile_size=8 is for a tile list"):
        open_volume(save_volume(tmp_path / "a.npy", IMAGE), tile_size=8)


@given(st.sampled_from([7, 10, 30]), st.sampled_from([None, 1, 2, 3]), st.sampled_from([np.uint8, np.uint16]))
@settings(max_examples=8)
def test_pyramids_of_images(tmp_path_factory, size, levels, dtype):
    image = IMAGE[:2].astype(dtype) * (257 if dtype == np.uint16 else 1)
    first = write_tiles(
        Volume(image, (30, 8, 8)), tmp_path_factory.mktemp("p") / "tiles", labels=False, tile_size=size, levels=levels,
        show_progress=False,
    )  # fmt: skip
    written = sorted(first.parent.glob("*.json"))
    assert levels is None or len(written) == levels
    for number, listed in enumerate(written):
        volume = open_volume(listed)
        assert (volume.voxel_size, volume.dtype) == ((30, 8 * 2**number, 8 * 2**number), dtype)
        np.testing.assert_array_equal(volume[:], image)
        last, image = image, downsample_image(image, (1, 2, 2))
    assert levels is not None or max(last.shape[1:]) <= size


@given(st.sampled_from([4, 5, 12]), st.sampled_from([np.uint32, np.int64, np.uint64]))
@settings(max_examples=5)
def test_pyramids_of_labels(tmp_path_factory, size, dtype):
    labels = (IDS % 3 * 5_000_000).astype(dtype)
    folder = tmp_path_factory.mktemp("p") / "tiles"
    first = write_tiles(labels, folder, labels=True, tile_size=size, levels=3, show_progress=False)
    assert first == folder / "level0.json"
    for number in range(3):
        np.testing.assert_array_equal(open_volume(folder / f"level{number}.json")[:], labels)
        labels = downsample_labels(labels, (1, 2, 2))
    assert (folder / "level0/0000/1_1.png").is_file()
    assert not (folder / "level0/0000/0_0.png").exists()


def test_sections_stored_together_are_read_together(tmp_path, monkeypatch):
    stored = open_volume(save_volume(tmp_path / "a.zarr", np.tile(IMAGE, (4, 1, 1)), chunks=(4, 16, 16)))
    asked = []
    read = type(stored._source).read
    monkeypatch.setattr(type(stored._source), "read", lambda self, box: (asked.append(box), read(self, box))[1])
    first = write_tiles(stored, tmp_path / "tiles", labels=False, tile_size=16, levels=1, show_progress=False)
    assert len(asked) == 3 * 2 * 2
    monkeypatch.undo()
    np.testing.assert_array_equal(open_volume(first)[:], stored[:])


@pytest.mark.parametrize(
    "array, options, kind, text",
    [
        (IMAGE[0], {}, ValueError, r"the shape is \(20, 29\)"),
        (IMAGE.astype(np.float32), {}, TypeError, "image is float32, but tiles hold uint8 or uint16"),
        (IMAGE > 9, {"labels": True}, TypeError, "labels are bool"),
        (IMAGE, {"tile_size": 0}, ValueError, "tile_size is 0"),
        (IMAGE, {"levels": 0}, ValueError, "levels is 0"),
        (IMAGE, {"voxel_size": (8, 8)}, ValueError, "voxel_size"),
        (IMAGE.astype(np.uint32) + 2**24, {"labels": True}, ValueError, "Section 0 cannot become tiles: the id"),
    ],
)
def test_pyramids_that_are_refused(tmp_path, array, options, kind, text):
    with pytest.raises(kind, match=text):
        write_tiles(array, tmp_path / "tiles", **{"labels": False, "tile_size": 8, "show_progress": False} | options)
    assert list(tmp_path.iterdir()) == []


def test_only_pyramids_are_replaced(tmp_path):
    def write(**options):
        return write_tiles(IMAGE, tmp_path / "tiles", labels=False, tile_size=64, show_progress=False, **options)

    write()
    with pytest.raises(FileExistsError, match="exists already"):
        write()
    write(overwrite=True)
    (tmp_path / "tiles/level0.json").unlink()
    with pytest.raises(FileExistsError, match="holds no tiles that were written here"):
        write(overwrite=True)


def test_every_step_may_fail(tmp_path):
    def action(folder, _):
        write_tiles(IMAGE[:1], folder / "tiles", labels=False, tile_size=16, levels=2, show_progress=False)

    for folder in failing_steps(action, lambda step: tmp_path / f"{step:04d}", None, 2):
        # Only flushing the folder's entry comes after the output has its name; it is whole then.
        if listing(folder):
            np.testing.assert_array_equal(open_volume(folder / "tiles/level0.json")[:], IMAGE[:1])
            assert open_volume(folder / "tiles/level1.json")[:].shape == (1, 10, 15)
        else:
            action(folder, None)
        assert [path.name for path in folder.iterdir()] == ["tiles"]
