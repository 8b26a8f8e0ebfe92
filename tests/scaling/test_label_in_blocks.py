"""Labels made block by block are those of the whole volume, to the voxel."""

import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given, settings
from hypothesis import strategies as st
from scaling.tasks import all_components, components, faces, faces_and_corners, flip_a_bit, tree

from emlib.scaling import BlocksFailed, label_in_blocks, plan_blocks
from emlib.volume import open_volume, save_volume

IDENTITY = {"input": "0a1b"}
IMAGE = np.random.default_rng(0).random((9, 16, 20)) < 0.4
PLAN = plan_blocks(IMAGE.shape, (4, 7, 8))


def label(image, folder, plan=PLAN, **options):
    settings_ = {"label_block": components, "link_faces": faces, "identity": IDENTITY, "progress": False}
    return label_in_blocks(image, folder / "labels.zarr", plan, **(settings_ | options))


@st.composite
def scenes(draw):
    ndim = draw(st.integers(2, 3))
    shape = draw(st.lists(st.integers(1, 9), min_size=ndim, max_size=ndim))
    size = draw(st.lists(st.integers(1, 10), min_size=ndim, max_size=ndim))
    random = np.random.default_rng(draw(st.integers(0, 99)))
    return random.random(shape) < draw(st.sampled_from([0.0, 0.2, 0.4, 0.6, 1.0])), size, draw(st.integers(0, 2))


@settings(max_examples=20)
@given(scenes(), st.booleans())
def test_components_equal_those_of_the_whole_volume(tmp_path_factory, scene, corners):
    image, size, halo = scene
    plan = plan_blocks(image.shape, [max(one, -(-n // 3)) for one, n in zip(size, image.shape, strict=True)], halo)
    structure = np.ones((3,) * image.ndim) if corners else None
    rule = {"label_block": all_components, "link_faces": faces_and_corners, "reach": 1} if corners else {}
    path = label(image, tmp_path_factory.mktemp("blocks"), plan, **rule)
    np.testing.assert_array_equal(open_volume(path)[:], scipy.ndimage.label(image, structure)[0])


def test_the_volume_is_described_and_nothing_else_is_left(tmp_path):
    source = save_volume(tmp_path / "image.zarr", IMAGE, voxel_size=(30, 8, 8))
    path = label(source, tmp_path, dtype="uint16", chunks=(2, 7, 4), attributes={"track": "2"})
    found = open_volume(path)
    assert (found.dtype, found.chunks, found.voxel_size) == (np.uint16, (2, 7, 4), (30, 8, 8))
    assert found.attributes["track"] == "2"
    assert sorted(one.name for one in tmp_path.iterdir()) == ["image.zarr", "labels.zarr"]
    before = tree(tmp_path)
    assert label(source, tmp_path, dtype="uint16", chunks=(2, 7, 4)) == path
    assert tree(tmp_path) == before
    with pytest.raises(FileExistsError, match=r"labels\.zarr exists already"):
        label(source, tmp_path, identity={"input": "other"})
    label(source, tmp_path, identity={"input": "other"}, overwrite=True)
    np.testing.assert_array_equal(open_volume(path)[:], scipy.ndimage.label(IMAGE)[0])


def test_jobs_that_share_the_blocks_need_three_rounds(tmp_path, capsys):
    label(IMAGE, tmp_path / "whole", work=tmp_path / "whole" / "work")
    answers = []
    for _ in range(3):
        for job in (1, 0, 2):
            answers.append(label(IMAGE, tmp_path / "jobs", work=tmp_path / "jobs" / "work", shard=(job, 3)))
    assert answers[:6] == [None] * 6
    assert answers[-1] == tmp_path / "jobs" / "labels.zarr"
    assert tree(tmp_path / "jobs") == tree(tmp_path / "whole")


def test_the_labels_do_not_depend_on_the_blocks(tmp_path):
    found = [
        open_volume(label(IMAGE, tmp_path / str(number), plan_blocks(IMAGE.shape, size, halo)))[:]
        for number, (size, halo) in enumerate([((4, 7, 8), 0), ((9, 16, 20), 0), ((2, 16, 5), 3)])
    ]
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])


def test_damage_in_any_file_is_repaired(tmp_path):
    path = label(IMAGE, tmp_path, work=tmp_path / "work")
    before = tree(tmp_path)
    harmed = [name for name in before if "zarr.json" not in name and not name.endswith("ledger.json")]
    assert len(harmed) > 60
    for name in harmed[::7] + [name for name in harmed if name.endswith(("table.npy", "offsets.npy"))]:
        flip_a_bit(tmp_path / name, 0.7)
    assert label(IMAGE, tmp_path, work=tmp_path / "work") == path
    assert tree(tmp_path) == before


def test_channels_reach_the_function_and_the_halo_is_seen(tmp_path):
    image = np.stack([IMAGE * 200, IMAGE * 90]).astype(np.uint8)
    seen = []

    def threshold(array, block):
        seen.append((array.shape, block.outer_shape))
        return scipy.ndimage.label(array[0] > 100)[0]

    path = label(image, tmp_path, plan_blocks(IMAGE.shape, (4, 7, 8), halo=2), label_block=threshold)
    np.testing.assert_array_equal(open_volume(path)[:], scipy.ndimage.label(IMAGE)[0])
    assert all(shape == (2, *outer) for shape, outer in seen)
    assert max(shape[1] for shape, _ in seen) == 7


def test_large_and_sparse_ids_are_welcome(tmp_path):
    def sparse(array, block):
        labels = scipy.ndimage.label(array)[0].astype(np.uint64)
        return np.where(labels > 0, labels * np.uint64(2**40) + np.uint64(7), 0).astype(np.uint64)

    path = label(IMAGE, tmp_path, label_block=sparse)
    np.testing.assert_array_equal(open_volume(path)[:], scipy.ndimage.label(IMAGE)[0])


def strangers(near, far):
    return np.array([[near.max(), 10**6]], np.uint64)


def background(near, far):
    return np.array([[0, far.max()]], np.uint64)


WRONG = {
    "shape": ({"label_block": lambda array, block: array[1:].astype(int)}, "must return labels of the array's shape"),
    "negative": ({"label_block": lambda array, block: array.astype(int) - 1}, "whole numbers of at least 0"),
    "float": ({"label_block": lambda array, block: array.astype(float)}, "it returned float64"),
    "pairs": ({"link_faces": lambda near, far: np.ones((4, 3), int)}, r"must return whole numbers \(n, 2\)"),
    "strangers": (
        {"link_faces": strangers},
        "1000000, which is no label",
    ),
    "background": (
        {"link_faces": background},
        "0, which is no label of its face",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_functions_are_told_with_the_block(tmp_path, name):
    options, words = WRONG[name]
    with pytest.raises(BlocksFailed, match=words) as caught:
        label(IMAGE, tmp_path, retries=0, **options)
    assert "block (0, 0, 0) at [0:4, 0:7, 0:8]" in str(caught.value)
    assert not (tmp_path / "labels.zarr").exists()


def test_wrong_arguments_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"plan is for a volume of \(4, 4, 4\)"):
        label(IMAGE, tmp_path, plan_blocks((4, 4, 4), 2))
    with pytest.raises(ValueError, match="all the blocks of plan_blocks"):
        label(IMAGE, tmp_path, PLAN[::-1])
    with pytest.raises(ValueError, match="reach must be"):
        label(IMAGE, tmp_path, reach=-1)
    with pytest.raises(ValueError, match="need work="):
        label(IMAGE, tmp_path, shard=(0, 2))
    with pytest.raises(TypeError, match="dtype is int32"):
        label(IMAGE, tmp_path, dtype="int32")
    dots = np.zeros((3, 33, 33), bool)
    dots[::2, ::2, ::2] = True
    with pytest.raises(ValueError, match="578 objects, more than uint8 can number"):
        label(dots, tmp_path, plan_blocks(dots.shape, (3, 33, 11)), dtype="uint8")
    with pytest.raises(ValueError, match=r"another input \(\"0a1b\" then, \"x\" now\)"):
        label(dots, tmp_path, plan_blocks(dots.shape, (3, 33, 11)), dtype="uint8", identity={"input": "x"})
