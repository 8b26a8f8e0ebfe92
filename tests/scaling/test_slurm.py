"""Slurm without a Slurm: the scripts are read by bash, and run with the variables that Slurm sets."""

import os
import re
import subprocess
import sys

import pytest
from scaling.tasks import IDENTITY, Ramp, count_voxels, tree

from emlib.scaling import (
    BlockLedger,
    SlurmRequest,
    create_block_volume,
    plan_blocks,
    run_blocks,
    shard_of,
    slurm_cluster,
    write_slurm_scripts,
)

TESTS = str(__file__).rpartition("/scaling/")[0]
SEED = SlurmRequest(partition="cox", gpus=2, cores=2, memory="50000", time="3-00:00:00")
WORK = """
import sys
from scaling.tasks import IDENTITY, Ramp
from emlib.scaling import BlockLedger, create_block_volume, plan_blocks, run_blocks

folder = sys.argv[1]
shard = tuple(int(sys.argv[sys.argv.index(name) + 1]) for name in ("--shard", "--of"))
plan = plan_blocks((5, 9, 13), (3, 4, 6))
volume = create_block_volume(folder + "/a.zarr", plan, "uint32")
run_blocks(Ramp(volume), plan, ledger=BlockLedger(folder + "/ledger", IDENTITY), shard=shard, progress=False)
"""
# Stands in for Slurm: runs each script at once, with its variables, and answers with the number of the job.
SBATCH = """#!/bin/bash
set -eu
printf '%s\\n' "$*" >> "$FAKE/calls"
script="${@: -1}"
number=$(( $(cat "$FAKE/number") + 1 ))
echo "$number" > "$FAKE/number"
export SLURM_JOB_ID=$number SLURM_CPUS_PER_TASK=2 SLURMD_NODENAME="node 7" SLURM_ARRAY_JOB_ID=$number
range="$(sed -n 's/^#SBATCH --array=0-//p' "$script")"
for task in $(seq 0 "${range:-0}"); do
    SLURM_ARRAY_TASK_ID=$task bash "$script" >> "$FAKE/log"
done
echo "$number;cluster"
"""


def environment(folder, **more):
    paths = {"PYTHONPATH": os.pathsep.join([TESTS, os.path.dirname(TESTS)])}
    return {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "HOME": str(folder), **paths, **more}


def bash(*arguments, **options):
    return subprocess.run(["bash", *map(str, arguments)], capture_output=True, text=True, **options)


@pytest.fixture
def place(tmp_path):
    """A folder with a blank in its name, a command to run there, and a Python environment to activate."""
    folder = tmp_path / "my data"
    (folder / "the venv" / "bin").mkdir(parents=True)
    (folder / "work.py").write_text(WORK)
    # As the scripts of real environments, it reads a variable that is not set.
    (folder / "the venv" / "bin" / "activate").write_text('export ACTIVATED="yes$NOT_SET"\n')
    (folder / "bin").mkdir()
    (folder / "bin" / "sbatch").write_text(SBATCH)
    (folder / "bin" / "sbatch").chmod(0o755)
    (folder / "number").write_text("100")
    return folder


@pytest.mark.parametrize("array", [False, True])
def test_every_script_is_bash_and_says_what_it_asks_for(place, array):
    request = SlurmRequest(
        partition="cox", gpus=2, cores=2, memory="50000", time="3-00:00:00", account="lab", options=["--qos=long"],
        virtual_environment=place / "the venv", setup=["module() { :; }", "module load 'cuda 12'"],
    )  # fmt: skip
    paths = write_slurm_scripts(place / "jobs 5%", ["emlib", "x", "a b", "$HOME", "it's"], request, shards=5,
                                rounds=3, array=array, working_folder=place)  # fmt: skip
    assert len(paths) == (2 if array else 6)
    for path in paths:
        assert bash("-n", path).returncode == 0
        assert os.access(path, os.X_OK)
        lines = path.read_text().splitlines()
        assert lines[0] == "#!/bin/bash"
        assert "set -euo pipefail" in lines
    lines = paths[0].read_text().splitlines()
    options = [line.removeprefix("#SBATCH ") for line in lines if line.startswith("#SBATCH ")]
    assert lines.index("set -euo pipefail") == len(options) + 1
    for option in ("--nodes=1", "--ntasks=1", "--cpus-per-task=2", "--mem=50000", "--time=3-00:00:00", "--requeue",
                   "--partition=cox", "--gres=gpu:2", "--account=lab", "--qos=long"):  # fmt: skip
        assert option in options
    (output,) = [option for option in options if option.startswith("--output=")]
    assert output == f'--output="{place}/jobs 5%%/logs/{"%A_%a" if array else "00-%j"}.log"'
    assert (place / "jobs 5%" / "logs").is_dir()
    assert lines[-1].startswith("""exec emlib x 'a b' '$HOME' 'it'"'"'s' --shard """)


@pytest.mark.parametrize("array", [False, True])
def test_all_is_submitted_and_each_round_waits_for_the_one_before(place, array):
    request = SlurmRequest(virtual_environment=place / "the venv")
    paths = write_slurm_scripts(place / "jobs", ["echo", "work"], request, shards=2, rounds=3, array=array)
    done = bash(paths[-1], env=environment(place, FAKE=str(place)), cwd="/")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == f"round 1 of 3: jobs {'101' if array else '101 102'}"
    calls = (place / "calls").read_text().splitlines()
    assert len(calls) == (3 if array else 6)
    assert calls[0] == f"--parsable {paths[0]}"
    before = "101" if array else "101:102"
    assert calls[len(calls) // 3] == f"--parsable --dependency=afterok:{before} --kill-on-invalid-dep=yes {paths[0]}"
    log = (place / "log").read_text()
    assert re.findall(r"job \d+ on node 7: shard (\d) of 2", log) == ["0", "1"] * 3
    assert re.findall(r"^work --shard (\d) --of 2$", log, re.MULTILINE) == ["0", "1"] * 3


def test_the_jobs_together_do_all_blocks(place):
    plan = plan_blocks((5, 9, 13), (3, 4, 6))
    command = [sys.executable, "work.py", str(place / "out put")]
    paths = write_slurm_scripts(place / "jobs", command, SlurmRequest(), shards=2, working_folder=place)
    ledger = BlockLedger(place / "out put" / "ledger", IDENTITY)
    for number, path in reversed(list(enumerate(paths[:2]))):
        done = bash(path, env=environment(place, SLURM_JOB_ID="5", SLURM_CPUS_PER_TASK="1"), cwd="/")
        assert done.returncode == 0, done.stderr
        assert ledger.survey(plan).todo == (shard_of(plan, 0, 2) if number else ())
    volume = create_block_volume(place / "plain" / "a.zarr", plan, "uint32")
    run_blocks(Ramp(volume), plan, ledger=BlockLedger(place / "plain" / "ledger", IDENTITY), progress=False)
    assert tree(place / "out put") == tree(place / "plain")


def test_a_script_runs_without_slurm_too(place):
    request = SlurmRequest(cores=3, virtual_environment=place / "the venv")
    show = 'import os, sys; print(sys.argv[1:], os.environ["OMP_NUM_THREADS"], os.environ["ACTIVATED"], os.getcwd())'
    script = write_slurm_scripts(place, [sys.executable, "-c", show, "a  b*", '"'], request, shards=12,
                                 working_folder=place)[7]  # fmt: skip
    assert script.name == "07.sh"
    done = bash(script, env=environment(place), cwd="/")
    assert done.stdout.splitlines()[1] == f"""['a  b*', '"', '--shard', '7', '--of', '12'] 3 yes {place}"""
    array = write_slurm_scripts(place, ["true"], request, shards=2, array=True)[0]
    assert "to run one by hand" in bash(array, env=environment(place)).stderr
    failing = write_slurm_scripts(place, ["false"], SlurmRequest(setup=["false", "true"]), shards=1)[0]
    assert bash(failing, env=environment(place)).stdout == ""


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"gpus": -1}, "gpus must be"),
        ({"cores": 0}, "cores must be"),
        ({"memory": "50 GB"}, "memory must be megabytes"),
        ({"memory": "0G"}, "memory must be megabytes"),
        ({"time": "3 days"}, "time must be like"),
        ({"partition": "a b"}, "partition must be a name"),
        ({"account": "x\n#SBATCH --uid=0"}, "account must be a name"),
        ({"setup": "module load cuda"}, "setup must be a list"),
        ({"options": ["--qos=a\nrm"]}, "options must be a list of single lines"),
        ({"options": ["qos=a"]}, "options must begin with -"),
    ],
)
def test_what_slurm_would_not_take_is_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        SlurmRequest(**arguments)


@pytest.mark.parametrize(
    "arguments, kind, words",
    [
        ({"command": "emlib predict"}, TypeError, "command must be a list"),
        ({"command": []}, ValueError, "command is empty"),
        ({"shards": 0}, ValueError, "shards must be"),
        ({"rounds": 0}, ValueError, "rounds must be"),
        ({"name": "a b"}, ValueError, "name must be of letters"),
        ({"folder": 'a"b'}, ValueError, "quotation mark"),
    ],
)
def test_wrong_scripts_are_refused_and_nothing_is_written(tmp_path, arguments, kind, words):
    options = {"command": ["true"], "shards": 2} | arguments
    folder = tmp_path / options.pop("folder", "jobs")
    with pytest.raises(kind, match=words):
        write_slurm_scripts(folder, options.pop("command"), SEED, **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("memory", "megabytes"), [("50000", 50000), ("32G", 32768), ("1T", 2**20), ("512K", 1)])
def test_memory_is_counted_as_slurm_does(memory, megabytes):
    assert SlurmRequest(memory=memory).megabytes == megabytes


def test_the_job_script_of_dask_workers(tmp_path, capsys):
    pytest.importorskip("dask_jobqueue", reason="dask-jobqueue is not installed")
    request = SlurmRequest(
        partition="cox", gpus=2, cores=2, memory="50000", time="3-00:00:00", options=["--qos=long"],
        virtual_environment=tmp_path / "the venv", setup=["module load cuda"],
    )  # fmt: skip
    with slurm_cluster(request, jobs=0, folder=tmp_path, interface="lo", python="/my python/bin/python") as cluster:
        script = cluster.job_script()
        assert cluster.scheduler_address.startswith("tls://127.0.0.1:")
        assert cluster.scheduler_info["services"]["dashboard"] > 0
    print(script)
    (tmp_path / "job.sh").write_text(script)
    assert bash("-n", tmp_path / "job.sh").returncode == 0
    lines = script.splitlines()
    options = [line.removeprefix("#SBATCH ") for line in lines if line.startswith("#SBATCH ")]
    for option in ("--partition=cox", "-n 1", "--cpus-per-task=2", "--mem=50000", "-t 3-00:00:00", "--gres=gpu:2",
                   "--qos=long", f'--output="{tmp_path}/logs/%j.log"'):  # fmt: skip
        assert option in options, option
    shell = [line for line in lines[1:] if line and not line.startswith("#")]
    assert shell[:6] == [
        "set -euo pipefail", "set +u", "module load cuda", f"source '{tmp_path}/the venv/bin/activate'", "set -u",
        "export OMP_NUM_THREADS=2 NUMBA_NUM_THREADS=2",
    ]  # fmt: skip
    worker = shell[6]
    assert worker.startswith("'/my python/bin/python' -m distributed.cli.dask_worker tls://127.0.0.1:")
    for part in ("--nthreads 1", "--memory-limit 48.83GiB", "--protocol tls://", "--tls-key", "--death-timeout 120",
                 "--no-dashboard"):  # fmt: skip
        assert part in worker
    assert oct((tmp_path / "keys").stat().st_mode)[-3:] == "700"
    assert "#SBATCH --gres=gpu:2" in capsys.readouterr().out


def test_workers_of_the_job_script_do_blocks(tmp_path):
    """The line that a job runs is run here: the worker finds the scheduler, with its keys, and works."""
    pytest.importorskip("dask_jobqueue", reason="dask-jobqueue is not installed")
    plan, ledger = plan_blocks((6, 6), 2), BlockLedger(tmp_path / "ledger", IDENTITY)
    with slurm_cluster(SlurmRequest(memory="1G"), jobs=0, folder=tmp_path, interface="lo") as cluster:
        (tmp_path / "job.sh").write_text(cluster.job_script())
        with open(tmp_path / "log", "w") as log:
            job = subprocess.Popen(
                ["bash", str(tmp_path / "job.sh")], env=environment(tmp_path), stdout=log, stderr=log
            )
        done = run_blocks(count_voxels, plan, ledger=ledger, cluster=cluster, progress=False)
    assert done.done == len(plan)
    assert job.wait(timeout=60) is not None


def test_blanks_and_a_missing_package_are_explained(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="cannot handle blanks"), slurm_cluster(SEED, jobs=0, folder=tmp_path / "a b"):
        pass
    with pytest.raises(ValueError, match="jobs must be"), slurm_cluster(SEED, jobs=-1, folder=tmp_path):
        pass
    monkeypatch.setitem(sys.modules, "dask_jobqueue", None)
    with (
        pytest.raises(ModuleNotFoundError, match=r'install it with pip install "emlib\[scale\]"'),
        slurm_cluster(SEED, jobs=0, folder=tmp_path),
    ):
        pass
    assert not list(tmp_path.iterdir())
