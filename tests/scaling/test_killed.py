"""Processes killed at random moments: the run goes on, and ends with the bytes of one that was left alone."""

import os
import random
import signal
import subprocess
import sys
import time

import psutil
import pytest
from scaling.tasks import tree

TESTS = str(__file__).rpartition("/scaling/")[0]
RUN = """
import sys
from scaling.tasks import components, faces
from emlib.scaling import label_in_blocks, plan_blocks
import numpy as np, time

def slow_components(array, block):
    time.sleep(0.1)
    return components(array, block)

def slow_faces(near, far):
    time.sleep(0.04)
    return faces(near, far)

if __name__ == "__main__":
    image = np.random.default_rng(0).random((14, 18, 28)) < 0.45
    plan = plan_blocks(image.shape, (7, 9, 10))
    print("started", flush=True)
    label_in_blocks(image, sys.argv[1] + "/labels.zarr", plan, label_block=slow_components, link_faces=slow_faces,
                    identity={"input": "0"}, work=sys.argv[1] + "/work", workers=int(sys.argv[2]), progress=False)
"""


def start(folder, workers=1):
    script = folder / "run.py"
    script.write_text(RUN)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([TESTS, os.path.dirname(TESTS)])}
    return subprocess.Popen([sys.executable, str(script), str(folder), str(workers)], env=environment,
                            stdout=subprocess.PIPE, text=True)  # fmt: skip


def outcome(folder):
    return {name: digest for name, digest in tree(folder).items() if name != "run.py"}


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """What a run leaves that nobody disturbs."""
    folder = tmp_path_factory.mktemp("plain")
    finish(folder)
    return outcome(folder)


def finish(folder, **options):
    with start(folder, **options) as process:
        process.communicate(timeout=100)
    assert process.returncode == 0


def test_killed_at_random_moments_it_ends_with_the_same_bytes(tmp_path, plain):
    moments, killed = random.Random(0), 0
    for _ in range(5):
        with start(tmp_path) as process:
            assert process.stdout.readline() == "started\n"
            time.sleep(moments.uniform(0.05, 0.6))
            process.send_signal(signal.SIGKILL)
        killed += process.returncode == -signal.SIGKILL
    assert killed >= 3
    finish(tmp_path)
    assert outcome(tmp_path) == plain


def test_workers_end_with_a_process_that_is_killed_and_others_go_on(tmp_path, plain):
    with start(tmp_path, workers=2) as process:
        assert process.stdout.readline() == "started\n"
        blocks = tmp_path / "work" / "1_labels" / "blocks"
        while not list(blocks.glob("*.json")):
            assert process.poll() is None
            time.sleep(0.02)
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) >= 2
        process.send_signal(signal.SIGKILL)
    _, alive = psutil.wait_procs(children, timeout=30)
    assert not alive
    assert not (tmp_path / "labels.zarr").exists()
    finish(tmp_path)
    assert outcome(tmp_path) == plain


def test_two_runs_at_once_do_not_disturb_each_other(tmp_path, plain):
    with start(tmp_path) as one, start(tmp_path) as other:
        one.communicate(timeout=100)
        other.communicate(timeout=100)
    assert (one.returncode, other.returncode) == (0, 0)
    assert outcome(tmp_path) == plain
