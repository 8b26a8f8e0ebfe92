"""Agglomeration block by block gives the labels of the whole volume, and leaves nothing half-written."""

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from emlib.postprocessing import agglomerate_affinities, agglomerate_blocks
from emlib.postprocessing import block_agglomeration as module
from emlib.volume import open_volume, save_volume


def random_affinities(shape, seed, levels):
    random = np.random.default_rng(seed)
    smooth = np.kron(random.integers(0, levels, (3, *[-(-n // 3) for n in shape])), np.ones((1, 3, 3, 3), int))
    noisy = 0.6 * smooth[:, : shape[0], : shape[1], : shape[2]] + 0.4 * random.integers(0, levels, (3, *shape))
    return (np.rint(noisy) * (255 // (levels - 1))).astype(np.uint8)


@settings(max_examples=25)
@given(
    st.integers(0, 10**6),
    st.tuples(st.integers(1, 6), st.integers(2, 9), st.integers(2, 9)),
    st.sampled_from(["mean", "aff50_his256", "max3"]),
    st.sampled_from([2, 3]),
    st.sampled_from([4, 256]),
)
def test_equal_to_the_whole_volume(tmp_path_factory, seed, block, scoring, dimensions, levels):
    shape = tuple(np.random.default_rng(seed).integers(1, 10, 3))
    affinities = random_affinities(shape, seed, levels)
    options = {
        "thresholds": (0.15, 0.4),
        "scoring": scoring,
        "fragment_dimensions": dimensions,
        "low": 0.2,
        "high": 0.9,
    }
    expected = agglomerate_affinities(affinities, **options)
    folder = tmp_path_factory.mktemp("blocks")
    paths = agglomerate_blocks(
        affinities, [folder / "low.zarr", folder / "high.zarr"], block=block, show=False, **options
    )
    for path, labels in zip(paths, expected, strict=True):
        written = open_volume(path)
        assert written.dtype == labels.dtype
        assert np.array_equal(written[...], labels)


def test_volumes_on_disk_and_offsets(tmp_path):
    affinities = random_affinities((7, 20, 18), 0, 256)
    channels = np.zeros((4, 7, 20, 18), dtype=np.float16)
    channels[1], channels[2] = affinities[1] / 255, affinities[0] / 255
    channels[3, :, :, :-1] = affinities[2, :, :, 1:] / 255
    offsets = [(-4, 0, 0), (0, -1, 0), (-1, 0, 0), (0, 0, 1)]
    (expected,) = agglomerate_affinities(affinities, thresholds=0.3)
    path = save_volume(tmp_path / "affinities.zarr", channels, voxel_size=(30, 6, 6), chunks=(1, 3, 8, 8))
    for source in (open_volume(path), zarr.open_array(path, mode="r")):
        (written,) = agglomerate_blocks(
            source, tmp_path / "out.zarr", block=(3, 8, 8), thresholds=0.3, offsets=offsets, show=False
        )
        assert np.array_equal(open_volume(written)[...], expected)
    assert open_volume(path).voxel_size == (30, 6, 6)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["affinities.zarr", "out.zarr"]


def test_voxel_size_goes_with_the_volume(tmp_path):
    path = save_volume(tmp_path / "a.zarr", random_affinities((2, 4, 4), 0, 256), voxel_size=(30, 6, 6))
    (written,) = agglomerate_blocks(open_volume(path), tmp_path / "b.zarr", thresholds=0.3, show=False)
    assert open_volume(written).voxel_size == (30, 6, 6)
    (written,) = agglomerate_blocks(
        open_volume(path), tmp_path / "b.zarr", thresholds=0.3, voxel_size=(9, 8, 7), show=False
    )
    assert open_volume(written).voxel_size == (9, 8, 7)


@pytest.mark.parametrize("stage", ["_write_fragments", "merge_boundaries", "create_volume", "relabel"])
def test_a_failure_leaves_what_was_there(tmp_path, monkeypatch, stage):
    affinities = random_affinities((3, 6, 6), 0, 256)
    kept = save_volume(tmp_path / "out.zarr", np.full((3, 6, 6), 7, dtype=np.uint32))

    def fail(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, stage, fail)
    with pytest.raises(OSError, match="disk is full"):
        agglomerate_blocks(affinities, kept, block=(2, 4, 4), thresholds=0.3, show=False)
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.zarr"]
    assert (open_volume(kept)[...] == 7).all()


def test_existing_result_is_kept_if_wanted(tmp_path):
    affinities = random_affinities((3, 6, 6), 0, 256)
    kept = save_volume(tmp_path / "out.zarr", np.full((3, 6, 6), 7, dtype=np.uint32))
    with pytest.raises(FileExistsError):
        agglomerate_blocks(affinities, kept, thresholds=0.3, overwrite=False, show=False)
    agglomerate_blocks(affinities, kept, thresholds=0.3, show=False)
    assert not (open_volume(kept)[...] == 7).all()


def test_a_bad_value_in_a_late_block_leaves_nothing(tmp_path):
    affinities = np.full((3, 4, 6, 6), 0.5)
    affinities[2, 3, 5, 5] = np.nan
    with pytest.raises(ValueError, match="channel 2 at z = 3"):
        agglomerate_blocks(affinities, tmp_path / "out.zarr", block=(2, 4, 4), thresholds=0.3, show=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "out, options, words",
    [
        ("a.zarr", {"thresholds": (0.1, 0.2)}, "2 different paths"),
        (["a.zarr", "a.zarr"], {"thresholds": (0.1, 0.2)}, "2 different paths"),
        ("a.h5", {}, ".zarr"),
        ("a.zarr", {"block": (2, 2)}, "block"),
        ("a.zarr", {"block": (0, 2, 2)}, "block"),
        ("a.zarr", {"block": (1.5, 2, 2)}, "block"),
        ("a.zarr", {"scoring": "median"}, "scoring"),
        ("a.zarr", {"fragment_dimensions": 4}, "dimensions"),
    ],
)
def test_bad_options_are_refused_before_anything_is_written(tmp_path, monkeypatch, out, options, words):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=words):
        agglomerate_blocks(np.ones((3, 2, 2, 2)), out, **({"thresholds": 0.5, "show": False} | options))
    assert list(tmp_path.iterdir()) == []
