"""Cells as files for other programs: outlines, ROIs, GeoJSON, tables, overlays."""

import csv
import errno
import io
import json
import zipfile
from pathlib import Path

import cc3d
import imageio.v3 as imageio
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from emlib.data import make_cell_phantom
from emlib.visualization.cells import (
    cell_outlines,
    cells_as_geojson,
    measure_cells,
    outline_overlay,
    roi_bytes,
    save_cell_results,
)
from emlib.visualization.cells.outlines import enclosed_area


def filled(rings, shape):
    """Pixels whose centre lies inside an odd number of rings: brute force, edge by edge."""
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    inside = np.zeros(shape, bool)
    for ring in rings:
        for (y0, x0), (y1, _) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
            inside ^= (x < x0) & ((y > min(y0, y1)) & (y < max(y0, y1)))
    return inside


@given(
    labels=hnp.arrays(
        st.sampled_from([np.uint8, np.int64, np.uint64]),
        hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9),
        elements=st.integers(0, 3),
    ),
    fortran=st.booleans(),
)
def test_outlines_enclose_just_their_pixels(labels, fortran):
    labels = np.asfortranarray(labels) if fortran else labels
    before = labels.copy()
    found = cell_outlines(labels)
    assert [outline.id for outline in found] == sorted(set(labels.ravel().tolist()) - {0})
    for outline in found:
        mask = labels == outline.id
        np.testing.assert_array_equal(filled([r for piece in outline.pieces for r in piece], labels.shape), mask)
        pieces, count = cc3d.connected_components(mask, connectivity=4, return_N=True)
        assert len(outline.pieces) == count
        areas = []
        for ring, *holes in outline.pieces:
            own = filled([ring, *holes], labels.shape)
            assert len(np.unique(pieces[own])) == 1
            assert enclosed_area(ring) > 0 > max(map(enclosed_area, holes), default=-1)
            areas.append(enclosed_area(ring))
            steps = np.diff(np.concatenate([ring, ring[:1]]), axis=0)
            assert ((steps == 0).sum(axis=1) == 1).all()
        assert areas == sorted(areas, reverse=True)
    np.testing.assert_array_equal(labels, before)


def test_ids_beyond_32_bits_keep_their_number():
    labels = np.array([[0, 2**40, 2**63 + 1]], np.uint64)
    assert [outline.id for outline in cell_outlines(labels)] == [2**40, 2**63 + 1]


@pytest.mark.parametrize("far", [0, 40_000])
def test_imagej_reads_the_regions(far):
    roifile = pytest.importorskip("roifile", reason="roifile, which reads ImageJ's regions, is not installed")
    ring = cell_outlines(np.array([[0, 1, 1, 0], [1, 1, 1, 1], [0, 1, 0, 0]]))[0].pieces[0][0] + far
    region = roifile.ImagejRoi.frombytes(roi_bytes(ring, "zelle-7"))
    assert region.name == "zelle-7"
    assert region.roitype == roifile.ROI_TYPE.TRACED
    np.testing.assert_array_equal(region.coordinates(), ring[:, ::-1])
    if not far:
        assert (region.top, region.left, region.bottom, region.right) == (0, 0, 3, 4)
    with pytest.raises(ValueError, match="2 corners"):
        roi_bytes(ring[:2], "line")


def test_geojson_has_holes_and_pieces():
    labels = np.zeros((6, 9), int)
    labels[1:5, 1:5], labels[2:4, 2:4], labels[0, 8] = 3, 0, 3
    feature = cells_as_geojson(cell_outlines(labels))["features"][0]
    assert feature["geometry"]["type"] == "MultiPolygon"
    (outer, hole), (speck,) = feature["geometry"]["coordinates"]
    assert outer == [[1, 1], [5, 1], [5, 5], [1, 5], [1, 1]]
    assert sorted(hole[:-1]) == [[2, 2], [2, 4], [4, 2], [4, 4]]
    assert speck == [[8, 0], [9, 0], [9, 1], [8, 1], [8, 0]]
    assert json.loads(json.dumps(feature)) == feature


def test_measurements_equal_scikit_image():
    measure = pytest.importorskip("skimage.measure", reason="scikit-image is not installed")
    phantom = make_cell_phantom((150, 170), seed=3)
    labels = phantom.labels.astype(np.int32) * 3
    table = measure_cells(labels, phantom.image, pixel_size=0.5)
    expected = measure.regionprops(labels, phantom.image)
    assert [row[0] for row in table.rows] == [one.label for one in expected]
    for row, one in zip(table.rows, expected, strict=True):
        found = dict(zip(table.columns, row, strict=True))
        assert found["area"] == one.area
        assert (found["centre_y"], found["centre_x"]) == pytest.approx(one.centroid)
        assert tuple(found[name] for name in ("top", "left", "bottom", "right")) == one.bbox
        assert found["diameter"] == pytest.approx(one.equivalent_diameter_area)
        assert [found[f"mean_{channel}"] for channel in range(3)] == pytest.approx(list(one.intensity_mean))
        assert found["area_um2"] == pytest.approx(one.area / 4)
        y, x, bottom, right = one.bbox
        assert found["at_border"] == (y == 0 or x == 0 or bottom == 150 or right == 170)


def test_the_overlay_paints_borders_only():
    labels = np.zeros((8, 8), np.uint16)
    labels[1:7, 1:4], labels[1:7, 4:7] = 1, 2
    image = np.full((8, 8), 9, np.uint8)
    picture = outline_overlay(image, labels)
    changed = (picture != 9).any(axis=2)
    expected = labels > 0
    expected[2:6, 2] = expected[2:6, 5] = False
    np.testing.assert_array_equal(changed, expected)
    assert (outline_overlay(image, labels, alpha=0.5)[3, 2] != 9).any()
    assert (image == 9).all()
    with pytest.raises(ValueError, match="uint8"):
        outline_overlay(image.astype(float), labels)


def test_every_file_says_the_same(tmp_path):
    phantom = make_cell_phantom((100, 120), seed=1, modality="bacteria")
    files = save_cell_results(phantom.labels, tmp_path / "out", "a.b", image=phantom.image)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(path.name for path in files.values())
    stored = tifffile.imread(files["tif"])
    np.testing.assert_array_equal(stored, phantom.labels)
    assert stored.dtype == np.uint32
    assert imageio.imread(files["png"]).shape == (100, 120, 3)
    count = int(phantom.labels.max())
    rows = list(csv.DictReader(io.StringIO(files["csv"].read_text())))
    assert [int(row["id"]) for row in rows] == list(range(1, count + 1))
    assert sum(int(row["area"]) for row in rows) == np.count_nonzero(phantom.labels)
    assert len(json.loads(files["geojson"].read_text())["features"]) == count
    with zipfile.ZipFile(files["rois"]) as archive:
        assert archive.testzip() is None
        assert len({name.split("-")[0].removesuffix(".roi") for name in archive.namelist()}) == count
    again = save_cell_results(phantom.labels, tmp_path / "again", "a.b", image=phantom.image)
    assert all(again[one].read_bytes() == files[one].read_bytes() for one in files)


def test_an_image_without_cells_and_wide_ids(tmp_path):
    files = save_cell_results(np.zeros((5, 6), np.int32), tmp_path, "empty")
    assert set(files) == {"tif", "rois", "geojson", "csv"}
    assert files["csv"].read_text().splitlines() == [
        "id,area,centre_y,centre_x,top,left,bottom,right,diameter,at_border"
    ]
    wide = save_cell_results(np.full((2, 2), 2**40, np.uint64), tmp_path, "wide", formats=["tif"])
    assert tifffile.imread(wide["tif"]).dtype == np.uint64


@pytest.mark.parametrize(
    "change, words",
    [
        ({"formats": ("tif", "jpg")}, "some of tif, png, rois, geojson, csv"),
        ({"formats": "tif"}, "some of tif"),
        ({"name": "a/b"}, "without folder"),
        ({"labels": np.zeros((3, 3))}, "labels are float64"),
        ({"labels": np.zeros((3, 3, 3), int)}, "(y, x) was expected"),
        ({"labels": np.full((3, 3), -1)}, "negative id -1"),
        ({"image": np.zeros((4, 3), np.uint8)}, "labels' shape (3, 3)"),
        ({"pixel_size": 0.0}, "pixel_size is 0.0"),
    ],
)
def test_bad_input_is_refused(tmp_path, change, words):
    arguments = {"labels": np.eye(3, dtype=int), "folder": tmp_path, "name": "cells"} | change
    labels, folder, name = (arguments.pop(key) for key in ("labels", "folder", "name"))
    with pytest.raises((ValueError, TypeError)) as caught:
        save_cell_results(labels, folder, name, **arguments)
    assert words in str(caught.value)


def test_a_full_disk_leaves_no_half_file(tmp_path, monkeypatch):
    labels = np.eye(3, dtype=int)
    save_cell_results(labels, tmp_path, "cells", formats=("tif",))
    before = (tmp_path / "cells_label.tiff").read_bytes()

    def write(_path, _content):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", write)
    with pytest.raises(OSError, match=r"cells_label\.tiff: the disk is full"):
        save_cell_results(labels * 2, tmp_path, "cells")
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["cells_label.tiff"]
    assert (tmp_path / "cells_label.tiff").read_bytes() == before
    with pytest.raises(FileExistsError):
        save_cell_results(labels, tmp_path, "cells", overwrite=False)
