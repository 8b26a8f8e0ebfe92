"""`emlib slurm`: the scripts of the library, from the command line."""

import subprocess

from cli.running import refused, said

from emlib.scaling import SlurmRequest, write_slurm_scripts


def test_the_command_writes_what_the_function_writes(tmp_path):
    out = said(
        "slurm", tmp_path / "jobs", "--shards", 3, "--rounds", 2, "--partition", "cox", "--gpus", 2, "--cores", 2,
        "--memory", 50000, "--time", "3-00:00:00", "--account", "lab", "--sbatch", "--qos=long",
        "--sbatch", "--exclusive", "--setup", "module load cuda", "--venv", tmp_path / "venv", "--name", "mito",
        "--chdir", tmp_path,
        "--", "emlib", "predict", "a b", "--device", "cuda",
    )  # fmt: skip
    assert out == f"3 scripts in {tmp_path}/jobs; submit with: bash {tmp_path}/jobs/submit.sh\n"
    found = {path.name: path.read_text() for path in (tmp_path / "jobs").glob("*.sh")}
    request = SlurmRequest(
        partition="cox", gpus=2, cores=2, memory="50000", time="3-00:00:00", account="lab",
        options=["--qos=long", "--exclusive"], setup=["module load cuda"], virtual_environment=tmp_path / "venv",
    )  # fmt: skip
    write_slurm_scripts(
        tmp_path / "jobs", ["emlib", "predict", "a b", "--device", "cuda"], request, shards=3, rounds=2, name="mito",
        working_folder=tmp_path,
    )  # fmt: skip
    assert found == {path.name: path.read_text() for path in (tmp_path / "jobs").glob("*.sh")}
    assert found["02.sh"].splitlines()[-1] == "exec emlib predict 'a b' --device cuda --shard 2 --of 3"


def test_an_array_is_one_script(tmp_path):
    out = said("slurm", tmp_path, "--shards", 4, "--array", "--", "true")
    assert out.startswith("1 script in ")
    assert subprocess.run(["bash", "-n", tmp_path / "array.sh"]).returncode == 0
    assert "#SBATCH --array=0-3" in (tmp_path / "array.sh").read_text()


def test_mistakes_are_one_line(tmp_path):
    assert "Missing argument" in refused("slurm", tmp_path / "a")
    assert "memory must be megabytes" in refused("slurm", tmp_path / "a", "--memory", "much", "--", "true")
    assert "shards must be" in refused("slurm", tmp_path / "a", "--shards", 0, "--", "true")
    assert not list(tmp_path.iterdir())
