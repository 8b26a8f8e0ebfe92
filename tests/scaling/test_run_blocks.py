"""The driver, in one process: only what is missing is done, failures are told, a full disk ends it."""

import errno
import itertools
import os
import re

import pytest
from faults.disk import Disk
from faults.sentences import as_sentence
from scaling.tasks import IDENTITY, Ramp, count_voxels, flip_a_bit, tree

from emlib import progress as progress_module
from emlib.scaling import BlockLedger, BlocksFailed, create_block_volume, plan_blocks, run_blocks, shard_of

PLAN = plan_blocks((5, 9, 13), (3, 4, 6))


def ledger_and_volume(folder):
    return BlockLedger(folder / "ledger", IDENTITY), create_block_volume(folder / "a.zarr", PLAN, "uint32")


def test_only_what_is_missing_is_done(tmp_path):
    ledger, asked = BlockLedger(tmp_path, IDENTITY), []

    def work(block):
        asked.append(block)
        return count_voxels(block)

    first = run_blocks(work, PLAN[:5], ledger=ledger, progress=False)
    assert (first.done, first.found) == (5, 0)
    flip_a_bit(ledger.path_of(PLAN[2]))
    second = run_blocks(work, PLAN, ledger=ledger, progress=False)
    assert (second.done, second.found, second.repaired) == (len(PLAN) - 4, 4, 1)
    assert asked == [*PLAN[:5], PLAN[2], *PLAN[5:]]
    assert sum(ledger.load(block)["voxels"] for block in PLAN) == 5 * 9 * 13


def test_shards_together_do_everything_once(tmp_path):
    ledger, asked = BlockLedger(tmp_path, IDENTITY), []
    for job in (2, 0, 1):
        done = run_blocks(asked.append, PLAN, ledger=ledger, shard=(job, 3), progress=False)
        assert done.done == len(shard_of(PLAN, job, 3))
    assert sorted(asked) == list(PLAN)
    assert not ledger.survey(PLAN).todo


def test_a_failing_block_is_tried_again_and_the_others_go_on(tmp_path, capsys):
    ledger, volume = ledger_and_volume(tmp_path)
    with pytest.raises(BlocksFailed) as caught:
        run_blocks(Ramp(volume, "anything", (1, 0, 1)), PLAN, ledger=ledger, retries=2)
    text = as_sentence(caught.value)
    assert f"1 of {len(PLAN)} blocks failed, the others are done: block (1, 0, 1) at [3:5, 0:4, 6:12]: " in text
    assert "ValueError: no luck with anything (tried 3 times)" in text
    (failure,) = caught.value.failures
    assert failure.attempts == 3
    assert "in __call__" in failure.traceback
    assert ledger.survey(PLAN).todo == (failure.block,)
    assert "block (1, 0, 1) at [3:5, 0:4, 6:12] failed: ValueError: no luck with anything" in capsys.readouterr().err
    done = run_blocks(Ramp(volume), PLAN, ledger=ledger, progress=False)
    assert (done.done, done.found) == (1, len(PLAN) - 1)


def test_a_block_that_fails_once_costs_nothing_but_time(tmp_path):
    ledger, volume = ledger_and_volume(tmp_path)
    work = Ramp(volume, "this", (0, 1, 1), mark=tmp_path / "mark")
    done = run_blocks(work, PLAN, ledger=ledger, retries=1, progress=False)
    assert (done.done, done.retries) == (len(PLAN), 1)
    plain, other = ledger_and_volume(tmp_path / "plain")
    run_blocks(Ramp(other), PLAN, ledger=plain, progress=False)
    assert tree(volume.place) == tree(other.place)
    assert tree(ledger.folder) == tree(plain.folder)


def test_every_failure_is_named_and_none_hides_another(tmp_path):
    def work(block):
        if block.index[2] == 1:
            raise RuntimeError

    with pytest.raises(BlocksFailed) as caught:
        run_blocks(work, PLAN, ledger=BlockLedger(tmp_path, IDENTITY), retries=0, progress=False)
    assert [one.block for one in caught.value.failures] == [block for block in PLAN if block.index[2] == 1]
    assert str(caught.value).count(": RuntimeError (tried once)") == 1
    assert str(caught.value).count("block (") == 6


def test_a_block_that_another_process_did_meanwhile_has_not_failed(tmp_path):
    ledger = BlockLedger(tmp_path, IDENTITY)

    def work(block):
        ledger.store(block, {"by": "other"})
        raise FileNotFoundError("tidied up under my hands")

    assert run_blocks(work, PLAN, ledger=ledger, progress=False).done == len(PLAN)
    assert ledger.load(PLAN[0]) == {"by": "other"}


def test_an_interruption_keeps_what_is_done(tmp_path):
    ledger = BlockLedger(tmp_path, IDENTITY)

    def work(block):
        if block == PLAN[4]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_blocks(work, PLAN, ledger=ledger, progress=False)
    assert ledger.survey(PLAN).done == PLAN[:4]


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"workers": 0}, "workers must be"),
        ({"workers": 1.5}, "workers must be"),
        ({"retries": -1}, "retries must be"),
        ({"workers": 2, "scheduler": "tcp://127.0.0.1:1"}, "not workers and scheduler"),
        ({"scheduler": "tcp://127.0.0.1:1", "cluster": object()}, "not scheduler and cluster"),
        ({"shard": (3, 3)}, "counted from 0"),
    ],
)
def test_contradictions_are_refused(tmp_path, arguments, words):
    with pytest.raises(ValueError, match=words):
        run_blocks(count_voxels, PLAN, ledger=BlockLedger(tmp_path, IDENTITY), progress=False, **arguments)


def test_the_display_says_how_far_how_fast_and_how_much_memory(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(progress_module, "SECONDS_BETWEEN_LINES", 0)
    monkeypatch.setenv("EMLIB_BATCH", "1")
    run_blocks(count_voxels, PLAN, ledger=BlockLedger(tmp_path, IDENTITY), label="counting")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(PLAN)
    assert re.fullmatch(r"counting: 3/18 block \(17 %\), [\d.]+ block/s, \d+ s left, \d+\.\d\d GiB", lines[2])
    assert run_blocks(count_voxels, PLAN, ledger=BlockLedger(tmp_path, IDENTITY), label="again").found == len(PLAN)
    assert "checking finished blocks: 18/18" in capsys.readouterr().out.splitlines()[-1]


def act(folder):
    ledger, volume = ledger_and_volume(folder)
    run_blocks(Ramp(volume), PLAN, ledger=ledger, progress=False)
    volume.finish()


def refusal(folder, step, code):
    """The error of a run whose disk fails at one step; None if there are not as many steps."""
    with pytest.MonkeyPatch.context() as patch:
        disk = Disk(patch, folder, fails_at=step, code=code)
        try:
            act(folder)
        except OSError as error:
            return error
    assert disk.steps < step, f"the failure of step {step} was overlooked"
    return None


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EDQUOT])
def test_a_full_disk_ends_the_run_at_any_step_and_it_goes_on(tmp_path, code):
    act(tmp_path / "plain")
    expected = tree(tmp_path / "plain")
    for step in itertools.count(1, 19):
        folder = tmp_path / f"{step:04d}"
        error = refusal(folder, step, code)
        if error is None:
            break
        assert "Could not write" in as_sentence(error)
        assert str(folder) in str(error)
        assert error.errno == code
        assert not (folder / "a.zarr").exists() or tree(folder) == expected
        act(folder)
        assert tree(folder) == expected
    assert step > 150


def test_the_disk_ends_the_run_instead_of_every_block(tmp_path):
    ledger, asked = BlockLedger(tmp_path, IDENTITY), []

    def work(block):
        asked.append(block)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/scratch/x")

    with pytest.raises(OSError, match=r"Could not write /scratch/x: the disk is full") as caught:
        run_blocks(work, PLAN, ledger=ledger, progress=False)
    assert (caught.value.errno, len(asked)) == (errno.ENOSPC, 1)
