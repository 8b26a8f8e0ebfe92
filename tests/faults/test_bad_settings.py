"""Names that do not exist, networks and checkpoints that do not fit, outputs that would cost the user something."""

import shutil

import numpy as np
import pytest
from faults.damage import cut, flip_a_bit
from faults.scene import CUBE, TINY, TRACK, WINDOW, Pair, start
from faults.sentences import listing, refused

from emlib.evaluation import average_precision
from emlib.inference import predict_from_recipe, predict_volume
from emlib.models import build_model
from emlib.postprocessing import segment
from emlib.recipe import load_recipe
from emlib.reproduction import open_stage
from emlib.training import load_model, load_recipe_of, load_weights, train
from emlib.volume import open_volume, save_volume

# --- Names that do not exist.


@pytest.mark.parametrize(
    "override, words",
    [
        ("training.itertions=3", ("'training.itertions'", "did you mean 'training.iterations'?")),
        ("trainig.iterations=3", ("'trainig'", "did you mean 'training'?")),
        ("iterations=3", ("'iterations'", "did you mean 'training.iterations'?")),
        ("training.iterations=many", ("'training.iterations'", '"many"', "integer")),
        ("training.iterations=-3", ("'training.iterations'", "-3", "greater than 0")),
        ("training.iterations", ("'training.iterations'", "key=value")),
        ("training.window=[8, 64]", ("'training.window.2' is missing",)),
        ("training.optimizer.name=adan", ("'training.optimizer.name'", '"adan"', "'adam'")),
        ("data.split.train=[0, 99]", ("split.train (0, 99) overlaps split.validation",)),
        ("data.image=[", ("'data.image=['", "not valid YAML")),
    ],
)
def test_recipe_keys_and_values(trained, override, words):
    with refused(ValueError, *words):
        load_recipe(TRACK, overrides=[override])
    with refused(ValueError, *words):
        load_recipe(TRACK, overrides=TINY | {"data.image": "i", "data.labels": "l"}).with_overrides([override])
    with refused(ValueError, *words):
        load_recipe_of(trained, overrides=[override])


def test_tracks_profiles_and_settings(out, recipe):
    with refused(FileNotFoundError, "'1_mitochondria'", f"did you mean '{TRACK}'?"):
        load_recipe("1_mitochondria")
    with refused(ValueError, "'smok'", "did you mean 'smoke'?"):
        load_recipe(TRACK, profile="smok")
    # All of these are found before any data is prepared.
    outputs = [{"name": "mask", "option": "0", "losses": [{"name": "WeightedBC"}]}]
    for changes, words in (
        ({"model.name": "rsunett"}, ("'rsunett'", "did you mean 'rsunet'?")),
        ({"training.window": [4, 15, 16]}, ("(4, 15, 16)", "14 or 16 along y")),
        ({"training.evaluate_every": 2, "inference.window": [4, 16, 17]}, ("(4, 16, 17)", "16 or 18 along x")),
        ({"target.outputs": outputs}, ("'WeightedBC'", "did you mean 'WeightedBCE'?")),
        ({"target.outputs": [outputs[0] | {"option": "77"}]}, ("'77'",)),
    ):
        with refused(ValueError, *words, folder=out):
            start(recipe(**changes), out / "run")
    with refused(ValueError, "device is 'gpu'", folder=out):
        train(recipe(), out / "run", device="gpu")


def test_methods_and_their_parameters():
    prediction = np.zeros((2, 4, 8, 8), np.uint8)
    for arguments, options, words in (
        (("contour_watrshed",), {}, ("did you mean 'contour_watershed'?",)),
        ((), {"sead_mask": 0.5}, ("no parameter 'sead_mask'", "did you mean 'seed_mask'?")),
        ((), {"seed_mask": 3}, ("seed_mask must lie between 0 and 1", "3")),
        ((), {"channels": ["mask", "contur"]}, ("'contour' is not among mask, contur", "did you mean 'contur'?")),
        ((), {"channels": ["mask"]}, ("2 channels but 1 names",)),
    ):
        with refused((ValueError, TypeError), *words):
            segment(prediction, *arguments, **options)
    with refused(ValueError, "rules must be 'challenge' or 'one-to-one'", "'chalenge'"):
        average_precision(CUBE, CUBE, rules="chalenge")


# --- Checkpoints.


@pytest.mark.parametrize("file", ["checkpoint.json", "state.pt", "weights.safetensors"])
@pytest.mark.parametrize(
    "harm", [lambda path: cut(path, 0.5), lambda path: flip_a_bit(path, 0.5), lambda path: path.unlink()],
    ids=["truncated", "flipped bit", "missing"],
)  # fmt: skip
def test_damaged_checkpoints(tmp_path, trained, scene, file, harm):
    run = shutil.copytree(trained, tmp_path / "run")
    newest = run / "checkpoint_000002"
    harm(newest / file)
    for read in (load_model, load_recipe_of):
        for path in (newest, run):
            with refused((ValueError, FileNotFoundError), str(newest), file, folder=run):
                read(path)
    # A training goes on from the checkpoint before.
    again = train(load_recipe_of(newest.with_name("checkpoint_000001")), run, data=Pair(*scene), device="cpu")
    assert again == newest
    np.testing.assert_array_equal(
        *(load_model(folder).state_dict()["bridge.flat.weight"].numpy() for folder in (run, trained))
    )


def test_checkpoints_that_are_not_there_or_of_another_network(tmp_path, out, trained, recipe, scene):
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    for name in ("nothing", "file", "empty"):
        with refused(FileNotFoundError, str(tmp_path / name), folder=tmp_path):
            load_model(tmp_path / name)
    best = trained / "checkpoint_000002"
    for other, layer in (
        (build_model("rsunet", widths=(4, 8)), "bridge.flat.weight"),
        (build_model("unet_residual_3d", widths=(4, 6)), "encoder.0.0.weight"),
    ):
        with refused(ValueError, str(best), "'rsunet' {'widths': [4, 6]}", type(other).__name__, layer):
            load_weights(other, trained)
    for wrong, kind, word in ((best, ValueError, "does not fit"), (out / "none", FileNotFoundError, "no checkpoint")):
        with refused(kind, str(wrong), word, folder=out):
            start(recipe(**{"model.pretrained": str(wrong), "model.widths": [4, 8]}), out / "run", Pair(*scene))
    with refused(ValueError, "training.window = [4, 16, 16]", "[4, 32, 32]", folder=trained):
        start(load_recipe_of(trained, overrides={"training.window": [4, 32, 32]}), trained, Pair(*scene))
    three = build_model("rsunet", widths=(4, 6), out_channels=3)
    with refused(ValueError, "The model must return", "2, 4, 16, 16", "3, 4, 16, 16", folder=out):
        predict_from_recipe(three, scene[0], recipe(), out=out / "p.zarr", progress=False)


# --- Output names that would cost the user something.


def test_predictions_replace_nothing_but_predictions(out, network):
    def predict(name, volume=CUBE, **options):
        return predict_volume(network, volume, window=WINDOW, out=out / name, progress=False, **options)

    for name in ("thesis.zarr", "thesis.h5"):
        (out / name).mkdir()
        (out / name / "chapter.txt").write_text("years of work")
        with refused(ValueError, name, "is a folder", "choose another name", folder=out):
            predict(name)
        with refused(ValueError, name, "is a folder", folder=out):
            save_volume(out / name, CUBE)
    (out / "file.zarr").write_text("")
    with refused(ValueError, "file.zarr is a file", folder=out):
        predict("file.zarr")
    for name in ("raw.zarr", "raw.h5"):
        save_volume(out / name, CUBE, key="raw")
        for key in ("prediction", None):
            with refused(ValueError, name, "holds the array raw, which would be lost", folder=out):
                predict(name, key=key)
    save_volume(out / "image.zarr", CUBE)
    with refused(ValueError, "image.zarr is the volume that is predicted", folder=out):
        predict("image.zarr", out / "image.zarr")
    with refused(ValueError, "image.zarr holds one array, which would be lost", folder=out):
        predict("image.zarr", key="prediction")
    with refused(ValueError, ".zarr, .h5, .hdf5", "p.tif", folder=out):
        predict("p.tif")
    # An earlier prediction of the same name is replaced.
    for name, key in (("p.zarr", None), ("p.h5", None), ("q.zarr", "a/b"), ("q.h5", "a/b")):
        for volume in (CUBE, 255 - CUBE):
            written = predict(name, volume, key=key)[:]
        np.testing.assert_array_equal(open_volume(out / name, key)[:], written)
        np.testing.assert_array_equal(written, predict_volume(network, 255 - CUBE, window=WINDOW, progress=False))
    assert not [name for name in listing(out) if ".partial" in name]


# --- Stages.


def test_stages_that_cannot_finish(tmp_path):
    stage = open_stage(TRACK, "1_data_prep", out_dir=tmp_path, device="cpu")
    (tmp_path / "elsewhere.txt").write_text("")
    for outputs, metrics, kind, words in (
        ({"image": stage.folder / "image.zarr"}, {}, FileNotFoundError, ("'image'", "1_data_prep", "not written")),
        ({"image": tmp_path / "elsewhere.txt"}, {}, ValueError, ("'image'", "outside the stage's folder")),
        ({}, {"objects": float("nan")}, ValueError, ("'objects'", "nan, not a finite number")),
        ({}, {"objects": "many"}, ValueError, ("'objects'", "'many', not a finite number")),
        ({}, {"objects": None}, ValueError, ("'objects'", "None, not a finite number")),
    ):
        with refused(kind, *words, folder=tmp_path):
            stage.finish(outputs=outputs, metrics=metrics)
    with refused(FileNotFoundError, "run notebook 1_data_prep first", folder=tmp_path):
        open_stage(TRACK, "2_training", out_dir=tmp_path, device="cpu")
    stage.finish(outputs={}, metrics={"objects": np.float32(3)})
    manifest = stage.folder / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"objects": 3.0', '"objects": '))
    with refused(ValueError, "1_data_prep/manifest.json is damaged", "run notebook 1_data_prep again", folder=tmp_path):
        open_stage(TRACK, "2_training", out_dir=tmp_path, device="cpu")
