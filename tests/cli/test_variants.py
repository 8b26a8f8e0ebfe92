"""`emlib reproduce TRACK --variants ...`: what it asks for, what it prints, its exit status, and its refusals."""

import pytest
from cli.running import emlib, refused

from emlib.reproduction.driver import StageResult

TRACK = "3_neurons_affinities"


@pytest.mark.parametrize("verdict, status", [("no band", 0), ("failed", 1), ("output missing", 1)])
def test_names_are_read_and_one_failure_is_the_exit_status(tmp_path, monkeypatch, verdict, status):
    asked = {}

    def run(track, names, **settings):
        asked.update(settings, track=track, names=names)
        return {
            "unet": [StageResult(track, "1_data_prep", "no band"), StageResult(track, "2_training", verdict)],
            "fpn": [StageResult(track, "1_data_prep", "reproduced")],
        }

    monkeypatch.setattr("emlib.reproduction.variants.run_variants", run)
    names = ("--variants", "unet, fpn,", "--variants", "missing")
    answer = emlib("reproduce", TRACK, *names, "--profile", "tutorial", "-p", "seed=3", "--fresh", "--out", tmp_path)
    assert answer.status == status, answer.err
    assert asked == {
        "track": TRACK, "names": ["unet", "fpn", "missing"], "profile": "tutorial", "parameters": {"seed": 3},
        "out_dir": tmp_path, "fresh": True,
    }  # fmt: skip
    assert "0 of 8 runs measured." in answer.out
    assert f"written: {tmp_path}/{TRACK}/tutorial/variants.html" in answer.out


@pytest.mark.parametrize(
    "arguments, words",
    [
        ((TRACK, "--variants", "fpm"), ("has no variant 'fpm' (did you mean 'fpn'?)", "swin_unetr")),
        (("4_nuclei_maskrcnn", "--variants", "run_7"), ("did you mean 'run_07'?", "run_15")),
        ((TRACK, "--variants", ","), (f"No variant of {TRACK} was named",)),
        (("1_mitochondria_contours", "--variants", "all"), ("has no variants",)),
        (("3_neurons", "--variants", "all"), ("There is no track '3_neurons'",)),
        (("--variants", "all"), ("variants of one track, but none was named",)),
        ((TRACK, "5_cells_flows", "--variants", "all"), ("2 were named (3_neurons_affinities, 5_cells_flows)",)),
        ((TRACK, "--variants", "fpn", "--control"), ("--variants and --control cannot be given together",)),
        ((TRACK, "--variants", "fpn", "--update-notebooks"), ("--variants and --update-notebooks cannot",)),
        ((TRACK, "--variants", "fpn", "--variant", "unet"), ("--variants and --variant cannot",)),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(tmp_path, arguments, words):
    line = refused("reproduce", *arguments, "--out", tmp_path / "runs")
    for word in words:
        assert word in line
    assert not (tmp_path / "runs").exists()


def test_an_interruption_says_how_to_go_on(tmp_path, monkeypatch):
    def interrupt(*_arguments, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr("emlib.reproduction.variants.run_variants", interrupt)
    answer = emlib("reproduce", TRACK, "--variants", "all", "--out", tmp_path)
    assert (answer.status, answer.out) == (130, "")
    assert "interrupted" in answer.err
