"""Readers of registered data sets, on small stand-ins, and on the real files where EMLIB_DATA has them."""

import gzip
import io

import h5py
import imageio.v3 as imageio
import numpy as np
import pytest
import tifffile

from emlib.data import real_sets
from emlib.data.real_sets import load_fib25, load_published_segmentation, load_real_set, load_vnc


@pytest.fixture
def vnc_folder(tmp_path):
    rng = np.random.default_rng(0)
    for kind in ("raw", "mitochondria", "membranes"):
        (tmp_path / "stack1" / kind).mkdir(parents=True)
    for z in range(20):
        imageio.imwrite(tmp_path / "stack1" / "raw" / f"{z:02d}.tif", rng.integers(0, 256, (16, 24), np.uint8))
        for kind in ("mitochondria", "membranes"):
            mask = np.zeros((16, 24), np.uint8)
            mask[z % 16] = 255
            mask[0, 0] = 90  # a stray grey pixel, as some published masks have
            imageio.imwrite(tmp_path / "stack1" / kind / f"{z:02d}.png", mask)
    return tmp_path


def write_bodies(path, stack, transforms):
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file["stack"], file["transforms"] = stack, transforms
    path.write_bytes(gzip.compress(buffer.getvalue()))


def test_vnc(vnc_folder):
    stack = load_vnc(vnc_folder)
    assert stack.image.shape == stack.mitochondria.shape == stack.membranes.shape == (20, 16, 24)
    assert stack.image.dtype == stack.mitochondria.dtype == np.uint8
    assert stack.mitochondria[3].sum() == 24
    assert stack.mitochondria[3, 3].all()
    assert set(np.unique(stack.membranes)) == {0, 1}
    assert stack.voxel_size == (50.0, 4.6, 4.6)


def test_vnc_with_a_missing_or_odd_section(vnc_folder):
    imageio.imwrite(vnc_folder / "stack1" / "raw" / "05.tif", np.zeros((8, 24), np.uint8))
    with pytest.raises(ValueError, match=r"05\.tif has shape \(8, 24\)"):
        load_vnc(vnc_folder)
    (vnc_folder / "stack1" / "raw" / "05.tif").unlink()
    with pytest.raises(FileNotFoundError, match="holds 19 files"):
        load_vnc(vnc_folder)


def test_fib25(tmp_path, monkeypatch):
    monkeypatch.setattr(real_sets, "FIB25_SIDE", 3)
    maps = tmp_path / "training_sample2" / "grayscale_maps"
    maps.mkdir(parents=True)
    for z in range(3):
        imageio.imwrite(maps / f"iso.{2600 + z}.png", np.full((3, 3), z, np.uint8))
    stack = np.arange(27, dtype=np.int32).reshape(3, 3, 3)
    table = np.stack([np.arange(27), np.arange(27) // 9 + 135478], axis=1)
    for name in ("groundtruth", "oversegmented_stack_labels"):
        write_bodies(tmp_path / "training_sample2" / f"{name}.h5.gz", stack, table)
    sample = load_fib25(tmp_path)
    assert sample.bodies.dtype == np.uint32
    assert [np.unique(sample.bodies[z]).tolist() for z in range(3)] == [[135478], [135479], [135480]]
    assert sample.image[2].max() == 2
    write_bodies(tmp_path / "training_sample2" / "groundtruth.h5.gz", stack, table[:-1])
    with pytest.raises(ValueError, match="does not cover"):
        load_fib25(tmp_path)
    (tmp_path / "training_sample2" / "groundtruth.h5.gz").unlink()
    with pytest.raises(FileNotFoundError, match=r"groundtruth\.h5\.gz"):
        load_fib25(tmp_path)


def test_load_real_set_gives_volumes(vnc_folder, monkeypatch):
    monkeypatch.setattr(real_sets, "fetch_dataset", lambda name, **_: vnc_folder)
    image, labels = load_real_set("vnc", structure="mitochondria")
    assert image.shape == labels.shape == (20, 16, 24)
    assert image.voxel_size == labels.voxel_size == (50.0, 4.6, 4.6)
    assert labels[3].sum() == 24


@pytest.mark.parametrize(
    "name, structure, match",
    [("vcn", "mitochondria", "mean vnc"), ("zzz", "neurites", "readers for"), ("fib25", "mitochondria", "labels")],
)
def test_load_real_set_refuses(name, structure, match):
    with pytest.raises(ValueError, match=match):
        load_real_set(name, structure=structure)


def test_snemi3d_folder(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    image, labels = rng.integers(0, 256, (5, 12, 9), np.uint8), rng.integers(0, 9, (5, 12, 9)).astype(np.uint16)
    folder = tmp_path / "snemi3d"
    folder.mkdir()
    tifffile.imwrite(folder / "train-input.tif", image)
    tifffile.imwrite(folder / "train-labels.tif", labels)
    found, truth = load_real_set("snemi3d", structure="neurites", data_dir=tmp_path)
    assert found.voxel_size == truth.voxel_size == (30.0, 6.0, 6.0)
    assert np.array_equal(found[:], image)
    assert np.array_equal(truth[:], labels)
    (folder / "train-labels.tif").unlink()
    with pytest.raises(FileNotFoundError, match=r"train-labels\.tif"):
        load_real_set("snemi3d", structure="neurites", data_dir=tmp_path)


def test_only_fib25_has_a_published_segmentation(tmp_path, monkeypatch):
    fragments = np.arange(27, dtype=np.uint32).reshape(3, 3, 3)
    sample = real_sets.FIB25(np.zeros((3, 3, 3), np.uint8), fragments // 9, fragments)
    monkeypatch.setattr(real_sets, "fetch_dataset", lambda name, **_: tmp_path)
    monkeypatch.setattr(real_sets, "load_fib25", lambda folder: sample)
    volume = load_published_segmentation("fib25")
    assert np.array_equal(volume[:], fragments)
    assert volume.voxel_size == (10.0, 10.0, 10.0)
    assert load_published_segmentation("vnc") is None
    assert load_published_segmentation(None) is None
