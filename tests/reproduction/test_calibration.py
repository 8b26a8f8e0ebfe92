"""Measuring bands: one run per seed, judged metrics only, refused when a run failed."""

import pytest

from emlib.reproduction import calibration
from emlib.reproduction.bands import find_band, load_bands
from emlib.reproduction.driver import StageResult


def fake_runs(monkeypatch, verdicts=None):
    seen = []

    def run(tracks, *, profile, parameters, out_dir, notebooks):
        seed = parameters["seed"]
        seen.append((seed, profile, str(out_dir)))
        verdict = (verdicts or {}).get(seed, "no band")
        metrics = {"ap50": 0.9 + 0.02 * seed, "objects": 40.0 + seed, "seconds": 3.0} if verdict == "no band" else {}
        return [StageResult("some_track", "5_evaluation", verdict, metrics=metrics, judged=("ap50", "objects"))]

    monkeypatch.setattr(calibration, "reproduce", run)
    return seen


def test_bands_hold_the_judged_metrics_of_all_seeds(tmp_path, monkeypatch):
    seen = fake_runs(monkeypatch)
    (path,) = calibration.measure_bands(out_dir=tmp_path / "runs", parameters={"device": "cpu"}, folder=tmp_path)
    assert path == tmp_path / "some_track.yaml"
    assert [seed for seed, _, _ in seen] == [0, 1, 2, 3, 4]
    assert len({folder for _, _, folder in seen}) == 5
    assert set(load_bands("some_track", folder=tmp_path)["smoke"]["cpu"]["5_evaluation"]) == {"ap50", "objects"}
    score = find_band("some_track", "smoke", "cpu", "5_evaluation", "ap50", folder=tmp_path)
    objects = find_band("some_track", "smoke", "cpu", "5_evaluation", "objects", folder=tmp_path)
    assert score.high == 1.0  # a fraction ends at 1
    assert objects.holds(42)
    assert objects.high > 45


def test_too_few_seeds_and_failed_runs_are_refused(tmp_path, monkeypatch):
    fake_runs(monkeypatch, {3: "failed"})
    options = {"out_dir": tmp_path / "runs", "parameters": {"device": "cpu"}, "folder": tmp_path}
    with pytest.raises(ValueError, match="at least 5 different seeds, but 4 were given"):
        calibration.measure_bands(seeds=[0, 1, 2, 3, 3], **options)
    with pytest.raises(ValueError, match="Seed 3: some_track / 5_evaluation failed"):
        calibration.measure_bands(seeds=range(5), **options)
    assert not list(tmp_path.glob("*.yaml"))
