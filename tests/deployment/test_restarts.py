"""Whatever happens to a deployment: a later call goes on, and ends with the bytes of one that was left alone."""

import errno
import os
import random
import signal
import subprocess
import sys

import psutil
import pytest
from deployment.scene import Copying, run, save
from faults.sentences import as_sentence
from scaling.tasks import flip_a_bit, tree

from emlib.deployment import deploy
from emlib.scaling import BlocksFailed, local_cluster
from emlib.volume import open_volume

TESTS = str(__file__).rpartition("/deployment/")[0]
RUN = """
import sys
import emlib.deployment.deployment, emlib.postprocessing.run_flooding
from deployment.scene import Copying
from emlib.deployment import deploy
from deployment.scene import EASY

if __name__ == "__main__":
    print("started", flush=True)
    deploy(sys.argv[1], sys.argv[2], predict=Copying(seconds=0.02), block=(12, 20, 22), parameters=EASY, chunk=8,
           mips=2, progress=False)
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return save(tmp_path_factory.mktemp("input"))


def predicted(source, out, **options):
    """The same as the script."""
    from deployment.scene import EASY

    predict = options.pop("predict", Copying(seconds=0.0))
    settings = {"block": (12, 20, 22), "parameters": EASY, "chunk": 8, "mips": 2, "progress": False}
    return deploy(source, out, predict=predict, **(settings | options))


@pytest.fixture(scope="module")
def plain(source, tmp_path_factory):
    """What a call leaves that nobody disturbs."""
    out = tmp_path_factory.mktemp("plain") / "out"
    predicted(source, out)
    return tree(out)


def test_ten_kills_at_random_moments(tmp_path, source, plain):
    script = tmp_path / "run.py"
    script.write_text(RUN)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([TESTS, os.path.dirname(TESTS)])}
    moments, killed, runs, finished = random.Random(3), 0, 0, False
    while killed < 10 or not finished:
        out = tmp_path / f"out {runs}"
        with subprocess.Popen([sys.executable, str(script), str(source), str(out)], env=environment,
                              stdout=subprocess.PIPE, text=True) as process:  # fmt: skip
            assert process.stdout.readline() == "started\n"
            try:
                process.wait(moments.uniform(0.02, 0.25) if killed < 10 else 200)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                killed += 1
        assert process.returncode in (0, -signal.SIGKILL)
        finished = process.returncode == 0
        if finished:
            assert tree(out) == plain
            runs += 1  # A fast machine ends before ten kills: the rest of them come in another run.


def test_two_workers_one_of_which_is_killed(tmp_path, source, plain):
    with local_cluster(2) as client:
        predict = Copying(kill_at=(1, 0, 1), mark=tmp_path / "mark")
        done = predicted(source, tmp_path / "out", predict=predict, cluster=client)
    assert (tmp_path / "mark").exists()
    assert done.waiting == ""
    assert tree(tmp_path / "out") == plain


def test_jobs_that_share_the_blocks(tmp_path, source, plain):
    answers = []
    for _ in range(7):
        for job in (1, 0, 2):
            answers.append(predicted(source, tmp_path / "out", shard=(job, 3)))
    assert answers[0].waiting == "prediction: 5 of 8 blocks are left to other jobs"
    assert answers[0].segmentation is None
    assert len(answers[0].stages) <= 7
    assert answers[-1].precomputed == tmp_path / "out" / "segmentation.precomputed"
    assert tree(tmp_path / "out") == plain


def test_one_stage_after_the_other(tmp_path, source, plain):
    with pytest.raises(ValueError, match=r"^The stage links needs prediction to be done before, of which 8 of 8") as e:
        predicted(source, tmp_path / "out", stage="links")
    as_sentence(e.value)
    stages = ()
    for stage in ("prediction", "segments", "links", "components", "labels", "pyramid_0"):
        done = predicted(source, tmp_path / "out", stage=stage)
        stages = done.stages
    assert stages == ("prediction", "segments", "links", "components", "labels", "pyramid_0")
    assert done.waiting == ""
    assert tree(tmp_path / "out") == plain
    with pytest.raises(ValueError, match=r"^stage must be one of prediction, .*, got 'trace'\.$"):
        predicted(source, tmp_path / "out", stage="trace")


def test_damage_is_repaired(tmp_path, source, plain):
    predicted(source, tmp_path / "out")
    names = [name for name in plain if "ledger.json" not in name and "zarr.json" not in name and "/info" not in name]
    assert len(names) > 80
    for name in names[::9]:
        flip_a_bit(tmp_path / "out" / name, 0.6)
    (tmp_path / "out" / "work" / "segmentation" / "tables" / "offsets.npy").unlink()
    predicted(source, tmp_path / "out")
    assert tree(tmp_path / "out") == plain


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"parameters": {"min_size": 99}}, r"another min_size \(12 then, 99 now\)"),
        ({"block": (12, 20, 44)}, r"another prediction_block \(\[12, 20, 22\] then, \[12, 20, 44\] now\)"),
        ({"block": (12, 20, 44), "prediction_block": (12, 20, 22)}, r"another block \(\[12, 20, 22\] then"),
        ({"predict": Copying({"weights": "77aa"})}, r'another weights \("4f1c" then, "77aa" now\)'),
        ({"mips": 1}, r"another mips \(2 then, 1 now\)"),
        ({"method": "traced"}, r"another method \(\"exact\" then, \"traced\" now\)"),
        ({"voxel_size": (40, 8, 8)}, r"another voxel_size"),
    ],
)
def test_other_settings_are_refused_and_change_nothing(tmp_path, source, options, text):
    predicted(source, tmp_path / "out")
    before = tree(tmp_path / "out")
    with pytest.raises(ValueError, match=text) as caught:
        predicted(source, tmp_path / "out", **options)
    as_sentence(caught.value)
    assert tree(tmp_path / "out") == before


def test_another_volume_is_refused(tmp_path, source):
    run(source, tmp_path / "out")
    other = save(tmp_path / "other", seed=8)
    with pytest.raises(ValueError, match=r"another prediction \("):
        run(other, tmp_path / "out")


def test_other_results_are_not_replaced_unasked(tmp_path, source):
    run(source, tmp_path / "out")
    work = tmp_path / "out" / "work"
    work.rename(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError, match=r"segmentation\.zarr exists already"):
        run(source, tmp_path / "out", parameters={"min_size": 5})
    done = run(source, tmp_path / "out", parameters={"min_size": 5}, overwrite=True)
    assert done.objects == open_volume(done.segmentation)[:].max()


def test_a_failing_block_is_told_and_the_rest_goes_on_later(tmp_path, source, plain):
    with pytest.raises(BlocksFailed, match=r"1 of 8 blocks failed.*no luck with this one \(tried twice\)"):
        predicted(source, tmp_path / "out", predict=Copying(full_at=(0, 1, 0)), retries=1)
    predicted(source, tmp_path / "out")
    assert tree(tmp_path / "out") == plain


@pytest.mark.parametrize("share", [0.05, 0.3, 0.5, 0.7, 0.9])
def test_a_full_disk_is_one_sentence_and_nothing_is_lost(tmp_path, source, plain, monkeypatch, share):
    """Renames stand for writes: every file of a deployment gets its name by one."""
    counted, real = {"renames": 0, "limit": 10**9}, os.replace

    def replace(one, two):
        counted["renames"] += 1
        if counted["renames"] > counted["limit"]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(two))
        real(one, two)

    monkeypatch.setattr(os, "replace", replace)
    predicted(source, tmp_path / "first")
    counted |= {"limit": int(share * counted["renames"]), "renames": 0}
    with pytest.raises(OSError, match="the disk is full") as caught:
        predicted(source, tmp_path / "out")
    as_sentence(caught.value)
    counted["limit"] = 10**9
    predicted(source, tmp_path / "out")
    assert tree(tmp_path / "out") == plain


def test_no_processes_are_left(plain):
    assert not [one for one in psutil.Process().children(recursive=True) if "run.py" in " ".join(one.cmdline())]


def test_what_killed_processes_left_is_removed(tmp_path, source, plain):
    """Names of files and folders that were being made when a process ended, wherever it can leave them."""
    out = tmp_path / "out"
    predicted(source, out, stage="prediction")
    predicted(source, out, stage="segments")
    work = out / "work"
    left = [
        *(work / name / ".partial-0123abcd-ledger.json" for name in ("prediction", "segmentation", "pyramid")),
        work / "segmentation" / "links" / ".partial-0123abcd-ledger.json",
        work / "segmentation" / "segments" / "blocks" / ".partial-0123abcd-0.0.0.json",
        work / "segmentation" / "pieces" / ".partial-0123abcd-0.0.0.npz",
        work / "segmentation" / "tables" / ".partial-0123abcd-offsets.npy",
    ]
    for file in left:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("half")
    for folder, name in ((out, "segmentation"), (out, "prediction"), (work / "segmentation", "local")):
        (folder / f".partial-0123abcd-.{name}.zarr.unfinished.zarr").mkdir()
        (folder / f".partial-0123abcd-.{name}.zarr.unfinished.zarr" / "zarr.json").write_text("half")
    predicted(source, out)
    assert tree(out) == plain
