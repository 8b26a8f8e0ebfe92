"""Labels made block by block are those of one call on the whole volume, ids included."""

import numpy as np
from deployment.scene import EASY, cases, heatmap, run, save, whole
from hypothesis import given, settings

from emlib.deployment import component_tables, deploy, exact_blocks
from emlib.postprocessing import distance_watershed
from emlib.volume import open_volume


def labels_of(volume, folder, parameters, block, **options):
    done = deploy(
        None, folder, prediction=volume, parameters=parameters, block=block, pyramid=False, progress=False, **options
    )
    found = open_volume(done.segmentation)[:]
    assert done.objects == found.max(initial=0)
    return found


@settings(max_examples=25)
@given(cases())
def test_any_blocks_give_the_labels_of_the_whole_volume(tmp_path_factory, case):
    volume, parameters, block = case
    found = labels_of(volume, tmp_path_factory.mktemp("out"), parameters, block)
    np.testing.assert_array_equal(found, distance_watershed(volume, **parameters))


@settings(max_examples=4)
@given(cases())
def test_and_so_do_two_workers(tmp_path_factory, client, case):
    volume, parameters, block = case
    block = [max(side, -(-length // 2)) for side, length in zip(block, volume.shape, strict=True)]
    found = labels_of(volume, tmp_path_factory.mktemp("out"), parameters, block, cluster=client)
    np.testing.assert_array_equal(found, distance_watershed(volume, **parameters))


def test_components_in_several_groups_and_in_files(tmp_path, monkeypatch):
    volume = heatmap((20, 33, 37), 4, (0.8, 1.6, 1.6))
    expected = distance_watershed(volume, **EASY)
    monkeypatch.setattr(component_tables, "GROUP_VOXELS", 200)
    monkeypatch.setattr(exact_blocks, "_BLOCKS_AT_HAND", 1)
    found = labels_of(volume, tmp_path / "files", EASY, (5, 9, 10), memory=16)
    np.testing.assert_array_equal(found, expected)
    records = list((tmp_path / "files" / "work" / "segmentation" / "components" / "blocks").glob("*.json"))
    assert len(records) > 3


def test_one_component_through_all_blocks(tmp_path):
    """A percolating foreground with many seeds: all that is flooded is flooded in one job."""
    volume = heatmap((16, 24, 24), 2, 1.1)
    parameters = EASY | {"foreground": 0.1, "seed": 0.6, "sigma": 0}
    found = labels_of(volume, tmp_path, parameters, (4, 7, 9))
    np.testing.assert_array_equal(found, distance_watershed(volume, **parameters))
    assert found.max() > 5
    assert (found > 0).mean() > 0.9


def test_float_predictions_and_channels(tmp_path):
    volume = heatmap((12, 20, 22), 3)
    expected = distance_watershed(volume / np.float32(255), **EASY)
    stack = np.stack([255 - volume, volume]) / np.float32(255)
    found = labels_of(stack, tmp_path, EASY, (5, 20, 8), channel=1)
    np.testing.assert_array_equal(found, expected)


def test_what_is_there_at_the_end(tmp_path):
    source = save(tmp_path)
    done = run(source, tmp_path / "out")
    expected = whole(open_volume(source))
    found = open_volume(done.segmentation)
    np.testing.assert_array_equal(found[:], expected)
    assert (found.dtype, found.voxel_size) == (np.uint64, (30, 8, 8))
    assert (done.objects, done.blocks, done.waiting) == (expected.max(), 27, "")
    assert done.crossing > 10
    assert tuple(done.seconds) == done.stages
    assert sorted(path.name for path in done.out.iterdir()) == ["segmentation.precomputed", "segmentation.zarr", "work"]
