"""The ledger: what it calls done is done, whatever happened to the files, and it belongs to one piece of work."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from scaling.tasks import IDENTITY, flip_a_bit, tree

from emlib.scaling import BlockLedger, WrittenFiles, plan_blocks, run_blocks

PLAN = plan_blocks((6, 10), (3, 4), halo=1)


def full(folder):
    ledger = BlockLedger(folder, IDENTITY)
    for block in PLAN:
        ledger.store(block, {"count": np.int64(3), "name": "a", "ids": np.arange(5, dtype=np.uint64)})
    return ledger


def test_results_come_back_as_they_were(tmp_path):
    ledger = full(tmp_path)
    found = ledger.load(PLAN[3])
    assert (found["count"], found["name"]) == (3, "a")
    np.testing.assert_array_equal(found["ids"], np.arange(5, dtype=np.uint64))
    assert found["ids"].dtype == np.uint64
    assert BlockLedger(tmp_path, IDENTITY).survey(PLAN).done == PLAN
    record = json.loads(ledger.path_of(PLAN[3]).read_text())
    assert record["block"] == {"index": [1, 0], "start": [3, 0], "stop": [6, 4], "outer_start": [2, 0],
                               "outer_stop": [6, 5]}  # fmt: skip
    before = tree(tmp_path)
    full(tmp_path)
    assert tree(tmp_path) == before


@pytest.mark.parametrize("name", ["0.1.json", "0.1.ids.npy"])
@pytest.mark.parametrize("place", [0.0, 0.3, 0.6, 0.999])
def test_a_flipped_bit_is_found(tmp_path, name, place):
    ledger = full(tmp_path)
    flip_a_bit(tmp_path / "blocks" / name, place)
    survey = ledger.survey(PLAN)
    assert (survey.damaged, survey.missing) == ((PLAN[1],), ())
    with pytest.raises(OSError, match=r"0\.1.* is damaged.*Run the blocks again to repair it\."):
        ledger.load(PLAN[1])


@pytest.mark.parametrize("name", ["0.1.json", "0.1.ids.npy"])
@pytest.mark.parametrize("keep", [0, 30])
def test_truncation_is_found(tmp_path, name, keep):
    ledger = full(tmp_path)
    os.truncate(tmp_path / "blocks" / name, keep)
    assert ledger.survey(PLAN).damaged == (PLAN[1],)
    assert not ledger.is_done(PLAN[1], thorough=False)


def test_lost_files_are_found(tmp_path):
    ledger = full(tmp_path)
    (tmp_path / "blocks" / "0.1.ids.npy").unlink()
    (tmp_path / "blocks" / "0.2.json").unlink()
    survey = ledger.survey(PLAN)
    assert (survey.damaged, survey.missing, survey.todo) == ((PLAN[1],), (PLAN[2],), PLAN[1:3])
    with pytest.raises(KeyError, match=r"block \(0, 2\) at \[0:3, 8:10\] is not done"):
        ledger.load(PLAN[2])


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"weights": "0000"}, 'another weights ("4f1c" then, "0000" now);'),
        ({"weights": "0", "recipe": "1"}, 'another recipe ("5d41" then, "1" now) and another weights ('),
        ({"more": [1, 2]}, "another more (none then, [1, 2] now)"),
    ],
)
def test_another_identity_is_refused_with_what_changed(tmp_path, changes, words):
    full(tmp_path)
    before = tree(tmp_path)
    with pytest.raises(ValueError) as caught:
        BlockLedger(tmp_path, IDENTITY | changes)
    assert words in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match=r"another weights \(\"4f1c\" then, none now\)"):
        BlockLedger(tmp_path, {"recipe": "5d41"})
    assert tree(tmp_path) == before


def test_other_blocks_are_refused(tmp_path):
    ledger = full(tmp_path)
    for plan in (plan_blocks((6, 10), (3, 5)), plan_blocks((6, 10), (3, 4), halo=2)):
        with pytest.raises(ValueError, match="was begun with other blocks"):
            run_blocks(lambda block: None, plan, ledger=ledger, progress=False)


def test_a_damaged_or_exchanged_head_is_refused(tmp_path):
    full(tmp_path / "a")
    (tmp_path / "a" / "ledger.json").unlink()
    with pytest.raises(ValueError, match="belongs to other work"):
        BlockLedger(tmp_path / "a", {"recipe": "other"}).survey(PLAN)
    full(tmp_path / "b")
    flip_a_bit(tmp_path / "b" / "ledger.json")
    with pytest.raises(OSError, match=r"ledger\.json is damaged, so it is not known"):
        BlockLedger(tmp_path / "b", IDENTITY)


def test_a_later_format_is_refused(tmp_path):
    from emlib.scaling.block_record import canonical, hash_of

    BlockLedger(tmp_path, IDENTITY)
    head = {"format": 2, "identity": IDENTITY}
    (tmp_path / "ledger.json").write_text(json.dumps(head | {"sha256": hash_of(canonical(head))}))
    with pytest.raises(ValueError, match="has format 2"):
        BlockLedger(tmp_path, IDENTITY)


@pytest.mark.parametrize(
    "identity, kind", [({}, ValueError), ("abc", TypeError), ({"a": object()}, TypeError), ({"a": np.nan}, TypeError)]
)
def test_what_identifies_nothing_is_refused(tmp_path, identity, kind):
    with pytest.raises(kind, match="identity"):
        BlockLedger(tmp_path, identity)


@pytest.mark.parametrize("result", [[1], {"a b": 1}, {"a": object()}, {"a": float("inf")}])
def test_results_that_json_cannot_hold_are_refused(tmp_path, result):
    ledger = BlockLedger(tmp_path, IDENTITY)
    with pytest.raises(TypeError):
        ledger.store(PLAN[0], result)
    assert not ledger.is_done(PLAN[0])


def test_files_written_elsewhere_are_hashed_and_may_move(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    (first / "deep").mkdir(parents=True)
    (first / "deep" / "0").write_bytes(b"values")
    ledger = BlockLedger(tmp_path / "ledger", IDENTITY)
    ledger.store(PLAN[0], {"files": WrittenFiles((first, second), ("deep/0",))})
    assert ledger.is_done(PLAN[0])
    first.rename(second)
    assert ledger.is_done(PLAN[0])
    (second / "deep" / "0").write_bytes(b"valueS")
    assert ledger.is_done(PLAN[0], thorough=False)
    assert not ledger.is_done(PLAN[0])
    (second / "deep" / "0").write_bytes(b"values")
    tmp_path.joinpath("moved").mkdir()
    for folder in (second, ledger.folder):
        folder.rename(tmp_path / "moved" / folder.name)
    assert BlockLedger(tmp_path / "moved" / "ledger", IDENTITY).is_done(PLAN[0])


WRITER = """
import sys
from scaling.tasks import IDENTITY
from scaling.test_block_ledger import PLAN
from emlib.scaling import BlockLedger
ledger = BlockLedger(sys.argv[1], IDENTITY)
for block in PLAN * 5:
    ledger.store(block, {"index": block.index})
"""


def test_processes_that_write_the_same_blocks_do_not_disturb_each_other(tmp_path):
    tests = str(__file__).rpartition("/scaling/")[0]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([tests, os.path.dirname(tests)])}
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    writers = [subprocess.Popen(command, env=environment) for _ in range(2)]
    assert [writer.wait(timeout=100) for writer in writers] == [0, 0]
    ledger = BlockLedger(tmp_path, IDENTITY)
    assert ledger.survey(PLAN).done == PLAN
    assert ledger.load(PLAN[4])["index"] == [1, 1]
    assert not list(tmp_path.rglob(".partial*"))


def test_tidying_removes_what_killed_processes_left(tmp_path):
    ledger = full(tmp_path)
    before = tree(tmp_path)
    (tmp_path / "blocks" / ".partial-12345678-0.1.json").write_text("half")
    (tmp_path / ".partial-12345678-ledger.json").write_text("half")
    run_blocks(lambda block: None, PLAN, ledger=ledger, progress=False)
    assert tree(tmp_path) == before
