"""Block by block equals the whole, exactly; ids are global; what does not fit is counted; writing is atomic."""

import numpy as np
import pytest

from emlib.diffusion import diffusion_flow
from emlib.postprocessing import flow_blocks, masks_from_flows, masks_from_flows_blocks
from emlib.volume import Volume, open_volume, save_volume

QUIET = {"show": False}


def cells(shape, count, radius, seed=0):
    random = np.random.default_rng(seed)
    labels = np.zeros(shape, dtype=np.uint32)
    grid = np.indices(shape)
    for number in range(1, count + 1):
        place = random.uniform(0, np.array(shape))
        size = random.uniform(0.6, 1, len(shape)) * radius
        squares = sum(((axis - c) / s) ** 2 for axis, c, s in zip(grid, place, size, strict=True))
        labels[(squares <= 1) & (labels == 0)] = number
    return labels


def prediction(shape, count, radius, noise=0.25):
    """Noisy flow and a ragged probability with holes: what a network says, not a perfect one."""
    labels = cells(shape, count, radius)
    random = np.random.default_rng(1)
    flow = diffusion_flow(labels) + random.normal(0, noise, (len(shape), *shape)).astype(np.float32)
    probability = np.clip((labels > 0) * 0.8 + random.uniform(0, 0.2, shape), 0, 1).astype(np.float32)
    probability[random.random(shape) < 0.02] = 0.1
    return flow, probability


def same_up_to_numbers(first, second):
    pairs = np.unique(np.stack([first.ravel(), second.ravel()]), axis=1)
    return len(np.unique(pairs[0])) == len(np.unique(pairs[1])) == pairs.shape[1]


@pytest.mark.parametrize("block", [40, (33, 57), (200, 23), 500])
def test_equals_the_whole_whatever_the_block(tmp_path, block):
    flow, probability = prediction((150, 160), 70, 10)
    whole = masks_from_flows(flow, probability)
    assert whole.max() > 45
    result = masks_from_flows_blocks(flow, probability, tmp_path / "a.zarr", block=block, overlap=64, **QUIET)
    found = open_volume(result.path)[:]
    assert same_up_to_numbers(found, whole)
    assert (result.objects, result.cut) == (whole.max(), 0)
    assert np.array_equal(np.unique(found), np.arange(result.objects + 1))
    assert found.dtype == np.uint32


def test_equals_the_whole_in_3d(tmp_path):
    flow, probability = prediction((20, 44, 48), 16, 7, noise=0.15)
    whole = masks_from_flows(flow, probability)
    assert whole.max() > 8
    out = tmp_path / "a.zarr"
    result = masks_from_flows_blocks(flow, probability, out, block=(20, 31, 25), overlap=(0, 36, 36), **QUIET)
    assert same_up_to_numbers(open_volume(out)[:], whole)
    assert (result.objects, result.cut) == (whole.max(), 0)
    result = masks_from_flows_blocks(flow, probability, out, block=(11, 30, 48), overlap=36, **QUIET)
    assert same_up_to_numbers(open_volume(out)[:], whole)


def test_cells_across_every_seam_are_whole(tmp_path):
    """Cells centred on the borders and the corners of blocks, also with all settings changed."""
    y, x = np.mgrid[:128, :160]
    labels = (y // 32) * 5 + x // 32 + 1
    labels[((y % 32 - 15.5) ** 2 + (x % 32 - 15.5) ** 2) > 200] = 0
    flow = 5 * diffusion_flow(labels, "mediar")
    logits = np.where(labels > 0, 3.0, -3.0)
    keywords = {"logits": True, "flow_scale": 5, "rule": "mediar", "min_size": 300, "steps": 90, "peak": 12}
    keywords["flow_threshold"] = 0.2
    whole = masks_from_flows(flow, logits, **keywords)
    assert same_up_to_numbers(whole, labels)
    for block in (48, 80):
        result = masks_from_flows_blocks(
            flow, logits, tmp_path / "a.zarr", block=block, overlap=80, **keywords, **QUIET
        )
        assert same_up_to_numbers(open_volume(result.path)[:], whole)


def test_a_small_overlap_is_noticed(tmp_path):
    labels = np.zeros((60, 120), dtype=np.uint8)
    labels[10:50, 20:100] = 1
    flow = diffusion_flow(labels)
    result = masks_from_flows_blocks(flow, labels > 0, tmp_path / "a.zarr", block=64, overlap=8, **QUIET)
    assert result.cut >= 1
    result = masks_from_flows_blocks(flow, labels > 0, tmp_path / "a.zarr", block=64, overlap=100, **QUIET)
    assert (result.cut, result.objects) == (0, 1)


def test_reads_volumes_and_keeps_the_voxel_size(tmp_path):
    flow, probability = prediction((90, 70), 20, 9)
    save_volume(tmp_path / "flow.zarr", flow, axes="cyx", chunks=(2, 32, 32))
    save_volume(tmp_path / "p.zarr", (probability * 255).astype(np.uint8), voxel_size=(250, 250), axes="yx")
    volumes = open_volume(tmp_path / "flow.zarr"), open_volume(tmp_path / "p.zarr")
    result = masks_from_flows_blocks(*volumes, tmp_path / "a.zarr", block=32, overlap=60, **QUIET)
    found = open_volume(result.path)
    assert found.voxel_size == (250.0, 250.0)
    assert same_up_to_numbers(found[:], masks_from_flows(flow, (probability * 255).astype(np.uint8)))


def test_nothing_is_a_volume_of_zeros(tmp_path):
    flow, probability = np.zeros((2, 50, 40), np.float32), np.zeros((50, 40), np.uint8)
    result = masks_from_flows_blocks(flow, probability, tmp_path / "a.zarr", block=16, **QUIET)
    assert (result.objects, result.cut) == (0, 0)
    assert not open_volume(result.path)[:].any()


def test_a_failure_leaves_what_was_there(tmp_path, monkeypatch):
    flow, probability = prediction((90, 70), 20, 9)
    out = tmp_path / "a.zarr"
    save_volume(out, np.full((90, 70), 7, np.uint32))

    class Broken(Volume):
        def __getitem__(self, index):
            if index[0].start > 0:
                raise OSError("the disk is gone")
            return super().__getitem__(index)

    with pytest.raises(OSError, match="gone"):
        masks_from_flows_blocks(flow, Broken(probability), out, block=32, overlap=10, **QUIET)
    monkeypatch.setattr(flow_blocks, "_write", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        masks_from_flows_blocks(flow, probability, out, block=32, overlap=10, **QUIET)
    assert (open_volume(out)[:] == 7).all()
    assert [path.name for path in tmp_path.iterdir()] == ["a.zarr"]
    monkeypatch.undo()
    with pytest.raises(FileExistsError):
        masks_from_flows_blocks(flow, probability, out, overwrite=False, **QUIET)


@pytest.mark.parametrize(
    "change,text",
    [
        ({"block": 0}, "block"),
        ({"block": (8, 8, 8)}, "block"),
        ({"block": 8.5}, "block"),
        ({"overlap": -1}, "overlap"),
        ({"out": "cells.tif"}, "zarr"),
        ({"flow": np.zeros((3, 20, 20), np.float32)}, "shape"),
        ({"flow": np.zeros((2, 20, 21), np.float32)}, "shape"),
        ({"flow": np.full((2, 20, 20), np.inf, np.float32)}, "infinite"),
        ({"flow_threshold": -1.0}, "flow_threshold"),
    ],
)
def test_bad_input_is_refused(tmp_path, change, text):
    given = {"flow": np.zeros((2, 20, 20), np.float32), "probability": np.ones((20, 20)), "out": "a.zarr", **QUIET}
    given |= change
    with pytest.raises(ValueError, match=text):
        masks_from_flows_blocks(given.pop("flow"), given.pop("probability"), tmp_path / given.pop("out"), **given)
    assert list(tmp_path.iterdir()) == []
