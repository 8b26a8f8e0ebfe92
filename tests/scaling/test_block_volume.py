"""Volumes that many processes write: no chunk belongs to two, and nothing is seen before all is there."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scaling.tasks import IDENTITY, Ramp, flip_a_bit, tree

from emlib.scaling import BlockLedger, BlockVolume, block_chunks, create_block_volume, plan_blocks, run_blocks
from emlib.volume import open_volume, save_volume

PLAN = plan_blocks((5, 9, 13), (3, 4, 6))


@given(st.lists(st.tuples(st.integers(1, 2000), st.integers(1, 700)), min_size=2, max_size=3))
def test_the_chosen_chunks_fit_every_plan(axes):
    shape, size = zip(*axes, strict=True)
    size = tuple(max(one, length // 6) for one, length in zip(size, shape, strict=True))
    plan = plan_blocks(shape, size)
    for axis, chunk in enumerate(block_chunks(plan)):
        assert 1 <= chunk <= shape[axis]
        assert all(block.start[axis] % chunk == 0 for block in plan)
        assert all(block.stop[axis] % chunk == 0 or block.stop[axis] == shape[axis] for block in plan)
        assert chunk <= 128 or chunk == size[axis]


@pytest.mark.parametrize("chunks", [(3, 4, 4), (2, 4, 6), (3, 8, 6), (5, 4, 6)])
def test_chunks_of_two_blocks_are_refused(tmp_path, chunks):
    with pytest.raises(ValueError, match=r"cross the border between two blocks along axis \d, at voxel \d"):
        create_block_volume(tmp_path / "a.zarr", PLAN, "uint32", chunks=chunks)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "chunks, kind", [((3, 4), ValueError), ((3, 4, 0), ValueError), ((3, 4, 1.5), TypeError), ("abc", TypeError)]
)
def test_chunks_that_are_none_are_refused(tmp_path, chunks, kind):
    with pytest.raises(kind, match="chunks must be"):
        create_block_volume(tmp_path / "a.zarr", PLAN, "uint32", chunks=chunks)


@pytest.mark.parametrize("chunks", [None, (3, 4, 6), (1, 2, 3)])
@pytest.mark.parametrize("channels", [None, 2])
def test_it_appears_whole_or_not_at_all(tmp_path, chunks, channels):
    volume = create_block_volume(
        tmp_path / "a.zarr", PLAN, "uint16", channels=channels, chunks=chunks, voxel_size=(30, 8, 8),
        attributes={"channels": ["a", "b"]},
    )  # fmt: skip
    shape = (5, 9, 13) if channels is None else (2, 5, 9, 13)
    expected = np.random.default_rng(0).integers(0, 60000, shape).astype(np.uint16)
    for block in PLAN[:-1]:
        pickle.loads(pickle.dumps(volume)).write(block, expected[(..., *block.inner)])
    assert not volume.path.exists()
    with pytest.raises(OSError, match="is incomplete"):
        volume.finish()
    assert not volume.path.exists()
    written = volume.write(PLAN[-1], expected[(..., *PLAN[-1].inner)])
    assert all((volume.place / name).is_file() for name in written.names)
    (volume.hidden / "c" / "0.abc.partial").write_text("half")
    assert volume.finish() == tmp_path / "a.zarr" == volume.finish()
    found = open_volume(tmp_path / "a.zarr")
    np.testing.assert_array_equal(found[:], expected)
    np.testing.assert_array_equal(volume[..., 1:3], expected[..., 1:3])
    assert (found.voxel_size, found.attributes["channels"]) == ((30, 8, 8), ["a", "b"])
    assert [path.name for path in tmp_path.iterdir()] == ["a.zarr"]
    assert not list(tmp_path.rglob("*.partial"))


def test_each_block_names_its_own_files_and_all_of_them(tmp_path):
    volume = create_block_volume(tmp_path / "a.zarr", PLAN, "uint8", channels=2, chunks=(1, 2, 3))
    names = [name for block in PLAN for name in volume.write(block, np.ones((2, *block.shape), np.uint8)).names]
    assert len(names) == len(set(names))
    assert set(names) == {name for name in tree(volume.hidden) if name.startswith("c/")}


def test_several_jobs_make_one_volume_and_other_work_is_refused(tmp_path):
    path = tmp_path / "a.zarr"
    for _ in range(2):
        volume = create_block_volume(path, PLAN, "uint32", made_from="x")
    for changes in ({"made_from": "y"}, {"dtype": "uint16"}, {"chunks": (1, 2, 3)}):
        arguments = {"dtype": "uint32", "made_from": "x"} | changes
        with pytest.raises(ValueError, match="unfinished volume of other work"):
            create_block_volume(path, PLAN, arguments.pop("dtype"), **arguments)
    for block in PLAN:
        volume.write(block, np.ones(block.shape, np.uint32))
    volume.finish()
    assert create_block_volume(path, PLAN, "uint32", made_from="x").finished
    with pytest.raises(FileExistsError, match=r"a\.zarr exists already"):
        create_block_volume(path, PLAN, "uint32", made_from="y")


def test_what_has_the_name_stays_until_all_is_there(tmp_path):
    save_volume(tmp_path / "a.zarr", np.zeros((2, 2, 2), np.uint8))
    with pytest.raises(FileExistsError):
        create_block_volume(tmp_path / "a.zarr", PLAN, "uint8")
    volume = create_block_volume(tmp_path / "a.zarr", PLAN, "uint8", overwrite=True)
    for block in PLAN:
        volume.write(block, np.ones(block.shape, np.uint8))
    assert open_volume(tmp_path / "a.zarr").shape == (2, 2, 2)
    with pytest.raises(FileExistsError):
        volume.finish()
    volume.finish(overwrite=True)
    assert open_volume(tmp_path / "a.zarr")[:].all()


def test_wrong_values_are_refused(tmp_path):
    volume = create_block_volume(tmp_path / "a.zarr", PLAN, "uint8")
    with pytest.raises(ValueError, match=r"block \(0, 0, 0\) .* needs values of shape \(3, 4, 6\), got \(3, 4, 5\)"):
        volume.write(PLAN[0], np.zeros((3, 4, 5), np.uint8))
    with pytest.raises(TypeError, match="would be changed"):
        volume.write(PLAN[0], np.full((3, 4, 6), 300, np.uint16))
    with pytest.raises(ValueError, match=r"written to \.zarr"):
        create_block_volume(tmp_path / "a.h5", PLAN, "uint8")


@pytest.mark.parametrize("finished", [False, True])
@pytest.mark.parametrize("harm", ["flip", "cut", "remove"])
def test_every_damaged_chunk_is_found_and_written_again(tmp_path, finished, harm):
    volume = create_block_volume(tmp_path / "a.zarr", PLAN, "uint32", chunks=(3, 4, 3))
    ledger = BlockLedger(tmp_path / "ledger", IDENTITY)
    run_blocks(Ramp(volume), PLAN, ledger=ledger, progress=False)
    if finished:
        volume.finish()
    before = tree(volume.place)
    chunks = [name for name in before if name.startswith("c/")]
    for name in chunks:
        file = volume.place / name
        if harm == "flip":
            flip_a_bit(file)
        elif harm == "cut":
            file.write_bytes(file.read_bytes()[:9])
        else:
            file.unlink()
    done = run_blocks(Ramp(BlockVolume(tmp_path / "a.zarr")), PLAN, ledger=ledger, progress=False)
    assert (done.done, done.repaired, done.retries) == (len(PLAN), len(PLAN), 0)
    assert tree(volume.place) == before


@pytest.mark.parametrize("moment", ["_open", "tidy"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_two_processes_that_finish_at_once_lose_nothing(tmp_path, monkeypatch, moment, overwrite):
    """One finishes while the other is in the middle of it: nothing of the hidden folder may come into being again."""
    slow, fast = (create_block_volume(tmp_path / "a.zarr", PLAN, "uint32") for _ in range(2))
    for block in PLAN:
        slow.write(block, np.full(block.shape, 7, np.uint32))
    real = getattr(BlockVolume, moment)

    def other_first(volume, *arguments):
        found = real(volume, *arguments)
        if volume is slow:
            fast.finish(overwrite=overwrite)
        return found

    monkeypatch.setattr(BlockVolume, moment, other_first)
    assert slow.finish(overwrite=overwrite) == tmp_path / "a.zarr"
    assert (open_volume(tmp_path / "a.zarr")[:] == 7).all()
    assert [path.name for path in tmp_path.iterdir()] == ["a.zarr"]


def test_one_that_stood_still_while_all_was_done_takes_what_is_there(tmp_path, monkeypatch):
    """It saw nothing, made an empty volume, and gives it its hidden name when the work is over."""
    from emlib.scaling import block_volume

    real, first = block_volume.flush_to_disk, []

    def others_work_now(path, **options):
        real(path, **options)
        if not first:
            first.append(path)
            other = create_block_volume(tmp_path / "a.zarr", PLAN, "uint32")
            for block in PLAN:
                other.write(block, np.full(block.shape, 7, np.uint32))
            # As another machine does, which does not see what is being made here.
            monkeypatch.setattr(BlockVolume, "tidy", lambda volume: None)
            other.finish()

    monkeypatch.setattr(block_volume, "flush_to_disk", others_work_now)
    late = create_block_volume(tmp_path / "a.zarr", PLAN, "uint32")
    assert late.finished
    assert (late[:] == 7).all()
    assert [path.name for path in tmp_path.iterdir()] == ["a.zarr"]


def test_what_is_written_after_another_run_has_finished_makes_no_second_volume(tmp_path):
    volume = create_block_volume(tmp_path / "a.zarr", PLAN, "uint32")
    for block in PLAN:
        volume.write(block, np.full(block.shape, 7, np.uint32))
    late = create_block_volume(tmp_path / "a.zarr", PLAN, "uint32")
    assert (late[:] == 7).all()
    late._opened = (late.hidden, "r+", open_volume(late.hidden, mode="r+"))
    volume.finish()
    late.write(PLAN[0], np.full(PLAN[0].shape, 7, np.uint32))
    assert [path.name for path in tmp_path.iterdir()] == ["a.zarr"]
    assert (late[:] == 7).all()
