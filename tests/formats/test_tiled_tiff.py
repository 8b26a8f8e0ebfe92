"""Tiled TIFF files of large pictures: read back by tifffile, this package and Pillow; written in rows of tiles."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from emlib.formats import tiled_tiff
from emlib.formats.metadata import Metadata
from emlib.formats.tiled_tiff import SIDE, save_tiled
from emlib.volume import open_volume


class Strips:
    """A picture of which at most one row of tiles is read at once, from top to bottom."""

    def __init__(self, array):
        self.array, self.shape, self.dtype, self.seen = array, array.shape, array.dtype, 0

    def __getitem__(self, rows):
        assert rows.start == self.seen
        self.seen = rows.stop
        assert rows.stop - rows.start <= SIDE
        return self.array[rows]


@pytest.mark.parametrize("shape", [(1, 1), (SIDE, SIDE), (SIDE + 1, 2 * SIDE - 1), (3, 1200), (1200, 5)])
@pytest.mark.parametrize("dtype", ["u4", "u8", "u1"])
def test_what_is_written_is_read(tmp_path, shape, dtype):
    labels = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype)
    save_tiled(tmp_path / "a.tif", Strips(labels), Metadata("yx", (250.0, 500.0)))
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), labels)
    volume = open_volume(tmp_path / "a.tif")
    assert (volume.shape, volume.dtype, volume.axes, volume.voxel_size) == (shape, np.dtype(dtype), "yx", (250, 500))
    np.testing.assert_array_equal(volume[:], labels)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        page = file.pages.first
        assert (page.is_tiled, page.compression, file.is_bigtiff) == (True, 8, False)


def test_other_readers_read_it_too(tmp_path):
    labels = np.random.default_rng(0).integers(0, 256, (700, 900), np.uint8)
    save_tiled(tmp_path / "a.tif", labels, Metadata("yx"))
    with Image.open(tmp_path / "a.tif") as picture:
        np.testing.assert_array_equal(np.array(picture), labels)


def test_large_ones_are_bigtiff(tmp_path, monkeypatch):
    labels = np.arange(600 * 600, dtype=np.uint32).reshape(600, 600)
    monkeypatch.setattr(tiled_tiff, "CLASSIC_BYTES", labels.nbytes)
    save_tiled(tmp_path / "a.tif", labels, Metadata("yx"))
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert file.is_bigtiff
    np.testing.assert_array_equal(open_volume(tmp_path / "a.tif")[:], labels)
