"""Samples from two data sets (memory replay) and amplified sampling by a table of groups."""

import json
import signal

import numpy as np
import pytest
import torch
from training.image_scene import TinyData, TinyImages, tiny_recipe
from training.reading import identical, rows_of, weights_of

from emlib.augmentation.cells import exclude_boundaries
from emlib.data import prepare_image_data, save_groups
from emlib.recipe import load_recipe
from emlib.training import ImageTrainingSamples, train
from emlib.training.resume import check_same_training
from emlib.training.samples import make_loader

BATCH = {"training.batch_size": 4}
ALWAYS = {
    f"augmentation.{name}.probability": 1.0
    for name in ("zoom", "flip", "rotate", "cell_intensity", "noise", "gamma", "smooth", "histogram_shift", "sharpen")
}
STILL = dict.fromkeys(ALWAYS, 0.0)


class NamedImages(TinyImages):
    names = ("a/0", "a/1", "a/2")


@pytest.fixture(scope="module")
def earlier(tmp_path_factory):
    """A prepared folder of five small images, of which four train."""
    folder = tmp_path_factory.mktemp("earlier")
    changes = {"data.images": 5, "data.shapes": [[64, 80], [64, 80]], "data.modalities": {"fluorescence": 1.0}}
    changes["data.split"] = {"train": 0.8, "validation": 0.0, "test": 0.2}
    prepare_image_data(load_recipe("5_cells_flows", overrides=changes), folder)
    return folder


def replay(folder, **more):
    return {"training.replay": {"data": str(folder), **more}}


def samples_of(changes, images=None, **options):
    images = TinyData().images if images is None else images
    return ImageTrainingSamples(tiny_recipe(changes), images, **({"length": 24} | options))


def numbers_of(samples):
    """The number of each sample's image; those for replay come after three others."""
    return [int(samples[i]["position"][0]) for i in range(len(samples))]


def test_the_last_samples_of_every_batch_are_replayed(earlier):
    quiet = BATCH | STILL
    numbers = numbers_of(samples_of(quiet | replay(earlier, boundary_exclusion=False)))
    old = numbers[3::4]
    assert [number >= 3 for number in numbers] == [False, False, False, True] * 6
    assert sorted(old[:4]) == [3, 4, 5, 6]
    # What is new comes in the usual order, as if nothing stood between.
    usual = samples_of({})
    assert [number for number in numbers if number < 3] == [usual.order[i] for i in range(18)]
    half = numbers_of(samples_of(quiet | replay(earlier, samples=2, boundary_exclusion=False), length=16))
    assert [number >= 3 for number in half] == [False, False, True, True] * 4
    replayed = [number for number in half if number >= 3]
    assert replayed[:6] == old
    assert [sorted(replayed[i : i + 4]) for i in (0, 4)] == [[3, 4, 5, 6]] * 2
    assert replayed[:4] != replayed[4:]


@pytest.mark.parametrize("thin", [True, False])
def test_what_is_replayed_keeps_its_grey_values_and_its_size(earlier, thin):
    changes = BATCH | ALWAYS | {"augmentation.flip.probability": 0.0, "augmentation.rotate.probability": 0.0}
    changes |= {"augmentation.boundary_exclusion.small_area": 0} | replay(earlier, boundary_exclusion=thin)
    samples = samples_of(changes)
    for index in (3, 7):
        sample = samples[index]
        number, y, x = sample["position"].tolist()
        image, labels = samples.replay[number - 3]
        np.testing.assert_allclose(sample["image"].permute(1, 2, 0), image[y : y + 64, x : x + 64] / 255, atol=1e-6)
        cells = exclude_boundaries(np.array(labels), small_area=0) if thin else labels
        np.testing.assert_array_equal(sample["target"][2], cells[y : y + 64, x : x + 64] > 0)
        assert (labels > 0).sum() > (cells > 0).sum() or not thin
    usual = samples_of(changes | {"training.replay": None})
    assert torch.equal(samples[2]["image"], usual[2]["image"])


def test_what_is_replayed_is_flipped_and_turned_like_the_rest(earlier):
    plain, turned = (samples_of(BATCH | STILL | replay(earlier) | more) for more in ({}, {
        "augmentation.flip.probability": 1.0, "augmentation.rotate.probability": 1.0}))  # fmt: skip
    for index in (3, 7, 11):
        number, *start = turned[index]["position"].tolist()
        image = turned.replay[number - 3][0]
        seen = (turned[index]["image"].permute(1, 2, 0).numpy() * 255).round()
        cut = image[start[0] : start[0] + 64, start[1] : start[1] + 64]
        forms = [np.rot90(flipped, turns) for flipped in (cut[::-1], cut[:, ::-1]) for turns in (1, 2, 3)]
        assert any(np.array_equal(seen, form) for form in forms)
        assert not np.array_equal(seen, cut)
        assert int(plain[index]["position"][0]) == number


def test_a_sample_depends_on_seed_and_number_only(earlier):
    one, other = (samples_of(BATCH | replay(earlier)) for _ in range(2))
    [one[i] for i in (20, 3, 21)]
    for index in (7, 11, 12):
        assert all(torch.equal(torch.as_tensor(one[index][k]), torch.as_tensor(other[index][k])) for k in one[index])
    batches = list(make_loader(one, range(4, 12), batch_size=4, workers=2))
    assert torch.equal(batches[1]["image"][3], other[11]["image"])
    assert torch.equal(batches[1]["target"][3], other[11]["target"])
    reseeded = samples_of(BATCH | replay(earlier) | {"seed": 1})
    assert any(not torch.equal(one[i]["image"], reseeded[i]["image"]) for i in (3, 7))


def test_images_for_replay_can_be_given(earlier):
    mine = TinyData().images[:2]
    samples = samples_of(replay(earlier), replay=mine)
    assert set(numbers_of(samples)[1::2]) == {3, 4}
    with pytest.raises(ValueError, match=r"training\.replay is not set"):
        samples_of({}, replay=mine)


def test_an_interrupted_run_with_replay_ends_as_if_it_had_not_been(earlier, tmp_path):
    names = NamedImages(TinyData().images)
    data = TinyData()
    data.images = names
    table = save_groups(tmp_path / "groups.csv", names.names, [0, 1, 1])
    changes = replay(earlier) | {"training.evaluate_every": 1, "training.batch_size": 3}
    changes |= {"training.amplify": 2, "training.groups": str(table)}

    def run(name, interrupting, workers):
        def score(_network, iteration):
            if interrupting and iteration == 1:
                signal.raise_signal(signal.SIGINT)
            return {"score": float(iteration)}

        recipe = tiny_recipe(changes | {"training.workers": workers})
        train(recipe, tmp_path / name, data=data, evaluate=score, device="cpu", progress=False)
        return tmp_path / name

    whole = run("whole", False, 0)
    with pytest.raises(KeyboardInterrupt):
        run("parts", True, 2)
    parts = run("parts", False, 1)
    assert identical(weights_of(whole), weights_of(parts))
    assert rows_of(whole) == rows_of(parts)


def test_a_training_of_an_older_recipe_goes_on():
    recipe = tiny_recipe()
    stored = recipe.model_dump(mode="json")
    for key in ("groups", "replay"):
        assert stored["training"].pop(key) is None
    check_same_training(stored, recipe, "run")
    for changes in (replay("old"), {"training.amplify": 2, "training.groups": "groups.csv"}):
        with pytest.raises(ValueError, match=r"run holds a training with training\.(replay|amplify)"):
            check_same_training(stored, tiny_recipe(changes), "run")
    old, new = (tiny_recipe(BATCH | replay("old", samples=number)) for number in (1, 2))
    with pytest.raises(ValueError, match=r"training\.replay\.samples = 1, but this recipe has 2"):
        check_same_training(old.model_dump(mode="json"), new, "run")


def test_groups_take_the_place_of_modalities(tmp_path):
    images = NamedImages(TinyData().images)
    path = save_groups(tmp_path / "groups.csv", ["a/2", "a/1", "a/0", "b/of another split"], ["x", "y", "y", "z"])
    changes = {"training.amplify": 3, "training.groups": str(path)}
    assert sorted(samples_of(changes, images).order.items) == [0, 0, 1, 2, 2, 2]
    assert sorted(samples_of({"training.amplify": 3}, images).order.items) == [0, 0, 1, 1, 1, 2]


def test_groups_that_do_not_fit_are_refused(tmp_path):
    images = NamedImages(TinyData().images)
    changes = {"training.amplify": 2, "training.groups": str(tmp_path / "groups.csv")}
    with pytest.raises(FileNotFoundError, match="no table of groups"):
        samples_of(changes, images)
    save_groups(tmp_path / "groups.csv", ["a/0", "b/1"], [0, 1])
    with pytest.raises(ValueError, match=r"has no group for 2 of 3 training images, such as a/1"):
        samples_of(changes, images)
    with pytest.raises(ValueError, match="does not say how its images are called"):
        samples_of(changes, TinyData().images)


def test_replay_of_nothing_is_refused(earlier, tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no prepared data"):
        samples_of(replay(tmp_path))
    (tmp_path / "prepared.json").write_text(json.dumps({"kind": "volume"}))
    with pytest.raises(ValueError, match="holds a prepared volume"):
        samples_of(replay(tmp_path))
    content = json.loads((earlier / "prepared.json").read_text())
    content["images"] = [row | {"split": "test"} for row in content["images"]]
    (tmp_path / "prepared.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"the split 'train' of .* has no image to replay"):
        samples_of(replay(tmp_path))
    with pytest.raises(ValueError, match="what was given has no image to replay"):
        samples_of(replay(tmp_path), replay=[])
