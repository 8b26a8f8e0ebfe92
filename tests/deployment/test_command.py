"""`emlib deploy`, alone and from the scripts of `emlib slurm`."""

import os
import shlex
import subprocess
import sys

import numpy as np
import pytest
from cli.running import emlib, refused, said
from deployment.scene import EASY, save, whole
from scaling.tasks import tree

from emlib.postprocessing import distance_watershed
from emlib.volume import open_volume, save_volume

ROOT = str(__file__).rpartition("/tests/")[0]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return save(tmp_path_factory.mktemp("input"), (16, 24, 26))


def words(source, out):
    parameters = [word for name, value in EASY.items() for word in ("-s", f"{name}={value}")]
    return ["deploy", source, out, "--prediction", source, "--block", 10, 24, 14, *parameters, "--mips", 1]


def test_the_labels_of_one_call(tmp_path, source):
    out = said(*words(source, tmp_path / "out"))
    expected = whole(open_volume(source))
    np.testing.assert_array_equal(open_volume(tmp_path / "out" / "segmentation.zarr")[:], expected)
    assert out.splitlines() == [
        f"{tmp_path}/out/segmentation.zarr: {expected.max()} objects", f"{tmp_path}/out/segmentation.precomputed",
    ]  # fmt: skip


def test_slurm_jobs_leave_the_bytes_of_one_process(tmp_path, source):
    options = ["--method", "traced", "--no-pyramid"]
    said(*words(source, tmp_path / "one"), *options)
    command = [sys.executable, "-m", "emlib", *map(str, words(source, tmp_path / "jobs")), *options]
    said("slurm", tmp_path / "scripts", "--shards", 2, "--rounds", 3, "--array", "--", *command)
    script = (tmp_path / "scripts" / "array.sh").read_text()
    assert shlex.split(script.splitlines()[-1])[-4:] == ["--shard", "$shard", "--of", "2"]
    # A queue of one node: what submit.sh hands over is run, with the variables that Slurm sets.
    sbatch = tmp_path / "bin" / "sbatch"
    sbatch.parent.mkdir()
    sbatch.write_text(
        "#!/bin/bash\nexport SLURM_JOB_ID=7 SLURM_CPUS_PER_TASK=1\nfor shard in 1 0; do\n"
        f'SLURM_ARRAY_TASK_ID=$shard bash "${{@: -1}}" >> {tmp_path}/log || exit 1\ndone\necho 7\n'
    )  # fmt: skip
    sbatch.chmod(0o755)
    environment = os.environ | {"PATH": f"{sbatch.parent}:{os.environ['PATH']}", "PYTHONPATH": ROOT}
    done = subprocess.run(["bash", tmp_path / "scripts" / "submit.sh"], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    log = (tmp_path / "log").read_text()
    assert log.count("shard 1 of 2") == 3
    assert "segments: 2 of 4 blocks are left to other jobs" in log
    assert tree(tmp_path / "jobs") == tree(tmp_path / "one")


def test_mistakes_are_one_line(tmp_path, source):
    assert "Give either --checkpoint" in refused("deploy", source, tmp_path / "out")
    assert "--shard and --of belong together" in refused(*words(source, tmp_path / "out"), "--shard", 1)
    assert "of 2 jobs the last is 1" in refused(*words(source, tmp_path / "out"), "--shard", 2, "--of", 2)
    assert "stage must be one of segments, links" in refused(*words(source, tmp_path / "out"), "--stage", "no")
    assert "--recipe and --intensity-range are for a network" in refused(*words(source, "a"), "--recipe", "a=1")
    assert not (tmp_path / "out" / "segmentation.zarr").exists()


def test_failed_blocks_are_one_line_and_status_1(tmp_path, source):
    """A heatmap that is no probability map in one block only."""
    values = open_volume(source)[:].astype(np.float32) / 255
    values[-1, 0, 0] = 7
    path = save_volume(tmp_path / "wrong.zarr", values, voxel_size=(30, 8, 8))
    answer = emlib(*words(path, tmp_path / "out"))
    assert (answer.status, answer.out) == (1, "")
    (line,) = [line for line in answer.err.splitlines() if line.startswith("emlib: ")]
    assert line.startswith("emlib: 1 of 4 blocks failed, the others are done: block (1, 0, 0)")
    assert "must hold probabilities" in line


def test_a_trained_network(tmp_path):
    """From a checkpoint: the prediction is that of `emlib predict`, the watershed's parameters are the recipe's."""
    truth = open_volume(save(tmp_path, (12, 40, 48)))[:] > 160
    save_volume(tmp_path / "image.h5", (80 + 100 * truth).astype(np.uint8), voxel_size=(30, 8, 8))
    save_volume(tmp_path / "labels.h5", truth.astype(np.uint32))
    changes = [
        "data={source: files, image: image.h5, labels: labels.h5, voxel_size: [30.0, 8.0, 8.0]}",
        "data.split={train: [0, 6], validation: [6, 8], test: [8, 12]}",
        "training.window=[4, 16, 16]", "training.iterations=2", "training.validate_every=0", "training.image_every=0",
        "training.evaluate_every=0", "training.batch_size=1", "training.rejection.probability=0",
        "inference={window: [4, 16, 16], batch_size: 1, augment: null}",
        "postprocessing={foreground: 0.02, seed: 0.04, min_size: 9, min_seed_size: 1}",
    ]  # fmt: skip
    said("train", "2_mitochondria_pipeline", *(word for change in changes for word in ("--set", change)),
         "--out", tmp_path / "run", "--data-dir", tmp_path, "--device", "cpu")  # fmt: skip
    said("predict", tmp_path / "run", tmp_path / "image.h5", tmp_path / "whole.zarr", "--device", "cpu")
    words = ["deploy", tmp_path / "image.h5", tmp_path / "out", "--checkpoint", tmp_path / "run", "--device", "cpu"]
    words += ["--block", 5, 40, 20, "--prediction-block", 4, 40, 48]
    assert len(said(*words).splitlines()) == 3
    expected = open_volume(tmp_path / "whole.zarr")[:]
    np.testing.assert_array_equal(open_volume(tmp_path / "out" / "prediction.zarr")[:], expected)
    labels = distance_watershed(expected[0], foreground=0.02, seed=0.04, min_size=9, min_seed_size=1)
    np.testing.assert_array_equal(open_volume(tmp_path / "out" / "segmentation.zarr")[:], labels)
    assert labels.max() > 0
    assert "another min_size (9 then, 8 now)" in refused(*words, "-s", "min_size=8")
    assert "another overlap" in refused(*words, "--recipe", "inference.overlap=0.25")
