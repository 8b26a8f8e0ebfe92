"""kill -9 at any moment, again and again: the run still ends with the same bits."""

import multiprocessing
import random
import time

import pytest
from training.reading import identical, rows_of, weights_of

from emlib.training import train
from emlib.training.checkpoint import list_checkpoints


def run_quietly(recipe, folder, data):
    train(recipe, folder, data=data, device="cpu", progress=False)


def iterations_done(folder):
    return max((int(path.name.removeprefix("checkpoint_")) for path in list_checkpoints(folder)), default=0)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_run_killed_at_random_moments_ends_like_an_undisturbed_one(tiny_recipe, tiny_data, tmp_path, seed):
    recipe = tiny_recipe({"training.save_every": 1, "training.validate_every": 3})
    whole, folder, dice, kills = tmp_path / "whole", tmp_path / "killed", random.Random(seed), 0
    run_quietly(recipe, whole, tiny_data)
    # A forked child starts with torch imported, so that the moments fall into the run and not into its imports.
    context = multiprocessing.get_context("fork")
    while iterations_done(folder) < 12:
        child = context.Process(target=run_quietly, args=(recipe, folder, tiny_data))
        goal = iterations_done(folder) + dice.randint(1, 3)
        child.start()
        while child.is_alive() and iterations_done(folder) < goal:
            time.sleep(0.001)
        # The last update before the kill, its rows and its checkpoint take some 50 ms; the kill falls anywhere in it.
        time.sleep(dice.uniform(0, 0.06))
        kills += child.is_alive()
        child.kill()
        child.join()
    assert kills >= 1
    run_quietly(recipe, folder, tiny_data)
    assert identical(weights_of(whole), weights_of(folder))
    assert rows_of(whole) == rows_of(folder)
    assert sorted(path.name for path in whole.iterdir()) == sorted(path.name for path in folder.iterdir())
    assert (whole / "best.json").read_text() == (folder / "best.json").read_text()
