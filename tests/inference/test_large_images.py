"""Images that are never whole in memory: read by rows, predicted by rows, segmented by blocks, written to files."""

import os

import numpy as np
import pytest
import tifffile
import torch
from inference.test_predict_image import QUIET, Blob, PerfectFlows, scene
from torch import nn

from emlib.data import opened_image
from emlib.evaluation import cell_f1
from emlib.inference import predict_flows, predict_image
from emlib.inference.image_output import FLOWS
from emlib.inference.image_rows import ImageRows
from emlib.inference.streamed_cells import PredictedRows, choose_block
from emlib.volume import open_volume, save_volume

SETTINGS = {"window": 32, "overlap": 0.5, "blending": "gaussian", "augment": None, "batch_size": 2, "precision": "32"}


class Slide:
    """An image that gives at most as many rows at once as a window is high, or as percentiles are counted in."""

    def __init__(self, image, most=256):
        self.image, self.most, self.shape, self.dtype, self.rows_read = image, most, image.shape, image.dtype, 0

    def __getitem__(self, box):
        found = self.image[box]
        assert len(found) <= self.most
        self.rows_read += len(found)
        return found


def same_cells(found, expected):
    """Whether both hold the same sets of pixels under whatever numbers."""
    return found.max() == expected.max() and cell_f1(found, expected, threshold=0.999, remove_border=0).f1 == 1


def rows_of(image, **changes):
    return ImageRows(FLOWS, Blob(), image, device=None, normalize=None, progress=False, **(SETTINGS | changes))


@pytest.mark.parametrize("normalize", [None, True, {"per_channel": True, "high": 90.0}])
@pytest.mark.parametrize("channels", [None, 1, 2, 3])
def test_an_image_that_is_read_by_rows_gives_the_same_prediction(channels, normalize):
    shape = (300, 70) if channels is None else (300, 70, channels)
    image = np.random.default_rng(0).integers(0, 200, shape, np.uint8)
    expected = predict_flows(Blob(), image, window=32, normalize=normalize, progress=False)
    slide = Slide(image)
    np.testing.assert_array_equal(
        predict_flows(Blob(), slide, window=32, normalize=normalize, progress=False), expected
    )
    # Twice or three times for percentiles, and each row for the windows that begin above it: not again for each window.
    assert slide.rows_read < 8 * 300


def test_floats_that_are_read_by_rows():
    image = np.random.default_rng(0).random((300, 40), dtype=np.float32)
    np.testing.assert_array_equal(predict_flows(Blob(), Slide(image), window=32, **QUIET),
                                  predict_flows(Blob(), image, window=32, **QUIET))  # fmt: skip
    with pytest.raises(TypeError, match="without normalisation, uint8 or floats"):
        predict_flows(Blob(), Slide(image.astype(np.int32)), window=32, **QUIET)
    image[299, 3] = np.nan
    with pytest.raises(ValueError, match="outside \\[0, 1\\], or NaN"):
        predict_flows(Blob(), Slide(image), window=32, **QUIET)


def test_files_maps_and_volumes(tmp_path, monkeypatch):
    image = scene()[0][:60, :64]
    expected = predict_image(PerfectFlows(), image, window=64, **QUIET)
    tifffile.imwrite(tmp_path / "a.tif", image, photometric="rgb", tile=(32, 32), compression="zlib")
    np.save(tmp_path / "a.npy", image)
    monkeypatch.setattr(opened_image, "WORTH_IT", 1000)
    path = save_volume(tmp_path / "a.zarr", image, axes="yxc")
    images = [
        tmp_path / "a.tif",
        tmp_path / "a.npy",
        path,
        open_volume(path),
        np.load(tmp_path / "a.npy", mmap_mode="r"),
    ]
    for found in predict_image(PerfectFlows(), images, window=64, **QUIET):
        np.testing.assert_array_equal(found, expected)


def test_rows_are_made_when_they_are_asked_for_and_forgotten_above():
    image = np.random.default_rng(0).integers(0, 256, (200, 50, 3), np.uint8)
    expected = predict_flows(Blob(), image, window=32, overlap=0.5, batch_size=2, **QUIET)
    made = PredictedRows(rows_of(image))
    flow, probability = made.channels(slice(0, 2)), made.channels(2)
    assert (flow.shape, probability.shape) == ((2, 200, 50), (200, 50))
    for start, stop in ((0, 40), (0, 41), (25, 70), (60, 61), (150, 200)):
        for columns in (slice(0, 50), slice(13, 20)):
            np.testing.assert_array_equal(flow[:, start:stop, columns], expected[:2, start:stop, columns])
            np.testing.assert_array_equal(probability[start:stop, columns], expected[2, start:stop, columns])
        # What is asked for, and no more than what one row of windows more has finished above and below.
        assert sum(values.shape[1] for _, values in made._kept) <= stop - start + 2 * 32
    with pytest.raises(ValueError, match="Rows from 60 on are forgotten"):
        probability[60:70, 0:5]
    made.close()


def test_the_network_is_left_as_it_was_when_its_rows_are_not_used_up():
    model = Blob()
    model.train()
    made = PredictedRows(ImageRows(FLOWS, model, np.zeros((200, 50), np.uint8), device=None, normalize=None,
                                   progress=False, **SETTINGS))  # fmt: skip
    made.read(2, slice(0, 3), slice(0, 5))
    assert not model.training
    made.close()
    assert model.training


@pytest.mark.parametrize("options", [{"memory": 1000}, {"block": 40}, {"block": (33, 90)}, {"block": 500}])
def test_blocks_give_the_cells_of_the_whole(options):
    image, _ = scene()
    expected = predict_image(PerfectFlows(), image, window=64, peak=5, **QUIET)
    found = predict_image(PerfectFlows(), image, window=64, peak=5, halo=64, **options, **QUIET)
    assert found.dtype == np.uint32
    assert same_cells(found, expected)


def test_blocks_fit_into_the_memory():
    for width, window in ((500, 256), (20_000, 512), (60_000, 512)):
        for memory in (2 << 30, 1 << 30, 600 << 20):
            rows, columns = choose_block(width, window, 256, memory)
            assert 256 <= rows <= columns == 2048
            need = 70 * (2048 + 512) ** 2 + 12 * width * (rows + 2 * 256 + 2 * window)
            assert need <= memory or rows == 256
            assert rows == 2048 or need + 12 * width > memory


def test_a_halo_that_is_too_small_is_said():
    image, _ = scene()
    with pytest.warns(UserWarning, match=r"of \d+ cells reach beyond the halo of 2 pixels"):
        predict_image(PerfectFlows(), image, window=64, peak=5, block=40, halo=2, **QUIET)


@pytest.mark.parametrize("name", ["cells.zarr", "cells.tif", "folder/cells.TIFF"])
@pytest.mark.parametrize("options", [{}, {"block": 40, "halo": 64}])
def test_labels_are_written_to_a_file(tmp_path, name, options):
    image = scene()[0][:60, :80]
    options = {"window": 64, "overlap": 0.1, "peak": 5} | options
    expected = predict_image(PerfectFlows(), image, **options, **QUIET)
    source = save_volume(tmp_path / "image.zarr", image, axes="yxc", voxel_size=(250, 500))
    out = tmp_path / name
    for _ in range(2):
        found = predict_image(PerfectFlows(), source, out=os.fspath(out), **options, **QUIET)
        assert (found.path, found.axes, found.dtype, found.voxel_size) == (out, "yx", np.uint32, (250, 500))
        np.testing.assert_array_equal(found[:], expected)
    assert [path for path in out.parent.iterdir() if path != source] == [out]
    if out.suffix != ".zarr":
        np.testing.assert_array_equal(tifffile.imread(out), expected)


def test_classes_are_written_too(tmp_path):
    class Classes(nn.Module):
        def forward(self, batch):
            return torch.cat([1 - batch[:, :1], batch[:, :1], torch.zeros_like(batch[:, :1])], dim=1)

    image = np.zeros((60, 70), np.uint8)
    image[5:20, 5:20] = image[30:50, 40:60] = 255
    options = {"method": "cells_from_classes", "window": 32, **QUIET}
    expected = predict_image(Classes(), image, **options)
    assert expected.max() == 2
    for memory in ("2GiB", 1000):
        found = predict_image(Classes(), image, out=tmp_path / "cells.tif", memory=memory, **options)
        np.testing.assert_array_equal(found[:], expected)


def test_what_goes_wrong_on_the_way_leaves_nothing(tmp_path):
    class Breaks(PerfectFlows):
        def forward(self, batch):
            return super().forward(batch) * (float("nan") if len(self.sizes) > 3 else 1)

    image, _ = scene()
    for name in ("cells.zarr", "cells.tif"):
        with pytest.raises(ValueError, match="not finite"):
            predict_image(Breaks(), image, window=32, batch_size=1, block=30, halo=20, out=tmp_path / name, **QUIET)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "out, options, words",
    [
        ("cells.png", {}, "cannot be written as .png; use .zarr, .tif"),
        ("cells", {}, "no suffix"),
        ("cells.h5", {}, "cannot be written as .h5"),
        (3, {}, "out must be a path, not int"),
        ("cells.tif", {"details": True}, "without details"),
        ("image.zarr", {}, "is the image itself"),
        ("folder.tif", {}, "is a folder"),
        ("file.zarr", {}, "is a file"),
        ("full.zarr", {}, "no zarr store"),
        ("cells.tif", {"block": 0}, "block must be"),
        ("cells.tif", {"block": 30, "halo": -1}, "halo must be"),
        ("cells.tif", {"halo": 2.5}, "halo must be"),
        ("cells.tif", {"block": 30, "method": "cells_from_classes"}, "block=30 is for labels from flows"),
        ("cells.tif", {"memory": "much"}, "memory must be"),
        ("cells.tif", {"flow_treshold": 1}, "did you mean"),
    ],
)
def test_bad_outputs_are_one_sentence(tmp_path, monkeypatch, out, options, words):
    monkeypatch.chdir(tmp_path)
    image = save_volume("image.zarr", np.zeros((40, 40), np.uint8))
    (tmp_path / "folder.tif").mkdir()
    (tmp_path / "file.zarr").write_text("")
    (tmp_path / "full.zarr").mkdir()
    (tmp_path / "full.zarr" / "notes.txt").write_text("mine")
    before = sorted(path.name for path in tmp_path.rglob("*"))
    with pytest.raises((ValueError, TypeError)) as caught:
        predict_image(PerfectFlows(), image, out=out, window=32, **options, **QUIET)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.rglob("*")) == before


def test_an_output_is_for_one_image(tmp_path):
    with pytest.raises(ValueError, match="one image"):
        predict_image(PerfectFlows(), [np.zeros((9, 9))], out=tmp_path / "a.zarr", window=32, **QUIET)
