"""Bad input at every door: damaged and missing files, wrong values, wrong shapes, wrong names, wrong networks.

Each must be refused in one sentence that says what is wrong and where, and leave no output, whole or half.
"""

import shutil

import h5py
import numpy as np
import pytest
import zarr
from faults.conftest import TINY, TRACK, Pair
from faults.damage import DAMAGES, cut, flip_a_bit
from faults.sentences import listing, refused

from emlib.data import load_prepared, prepare_data
from emlib.evaluation import average_precision
from emlib.inference import predict_from_recipe, predict_volume
from emlib.models import build_model
from emlib.postprocessing import segment
from emlib.recipe import load_recipe
from emlib.reproduction import open_stage
from emlib.training import load_model, load_recipe_of, load_weights, train
from emlib.volume import open_volume, save_volume

BAD = (ValueError, TypeError, OSError)
CUBE = np.random.default_rng(0).integers(0, 255, (8, 32, 32), dtype=np.uint8)
WINDOW = (4, 16, 16)


@pytest.fixture
def network():
    return build_model("rsunet", widths=(4, 6))


@pytest.fixture
def out(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def start(recipe, folder, data=None):
    return train(recipe, folder, data=data, device="cpu", progress=False)


# --- Files that are missing or damaged, at every call that reads a volume.


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damaged_volumes(tmp_path, out, network, recipe, damage):
    path = damage.apply(tmp_path, CUBE)
    split = {"data.split": {"train": [0, 4], "validation": [4, 6], "test": [6, 8]}}
    with refused(OSError, *damage.words, folder=out):
        open_volume(path)[:]
    with refused(OSError, *damage.words, folder=out):
        save_volume(out / "copy.zarr", open_volume(path))
    with refused(OSError, *damage.words, folder=out):
        predict_volume(network, path, window=WINDOW, out=out / "prediction.zarr", progress=False)
    with refused(OSError, *damage.words, folder=out):
        average_precision(open_volume(path), CUBE)
    with refused(OSError, path.name, folder=out):
        prepare_data(recipe(CUBE, CUBE, **split, **{"data.image": str(path)}), out / "prepared")
    # The image was read to its end and is whole, but without prepared.json nothing takes the folder for prepared data.
    with refused(OSError, path.name, folder=out, may_stay=("prepared/image.zarr/",)):
        prepare_data(recipe(CUBE, CUBE, **split, **{"data.labels": str(path)}), out / "prepared")
    with refused(FileNotFoundError, "no prepared.json", folder=out):
        load_prepared(out / "prepared")


@pytest.mark.parametrize("name", [name for name in DAMAGES if not name.startswith("tif")])
def test_damaged_predictions(tmp_path, out, name):
    path = DAMAGES[name].apply(tmp_path, np.stack([CUBE, CUBE]))
    with refused(OSError, path.name, folder=out):
        segment(open_volume(path), channels=["mask", "contour"])


@pytest.mark.parametrize("name", ["a.h5", "a.zarr", "a.tif", "a.npy", "a.png", "a", "a.json", "*.png", "no/such/a.h5"])
def test_missing_files(tmp_path, network, name):
    with refused(FileNotFoundError, name, folder=tmp_path):
        open_volume(tmp_path / name)
    with refused(FileNotFoundError, name, folder=tmp_path):
        predict_volume(network, tmp_path / name, window=WINDOW, out=tmp_path / "p.zarr", progress=False)


@pytest.mark.parametrize("name", ["a.h5", "a.zarr", "a.tif", "a.npy"])
def test_wrong_key(tmp_path, name):
    save_volume(tmp_path / name, CUBE)
    with refused(ValueError, name, "'raw'"):
        open_volume(tmp_path / name, "raw")
    if name in ("a.h5", "a.zarr"):
        save_volume(tmp_path / f"group_{name}", CUBE, key="volumes/raw")
        with refused(ValueError, name, "'volumes/row'", "did you mean 'volumes/raw'?"):
            open_volume(tmp_path / f"group_{name}", "volumes/row")


def test_missing_and_misnamed_sources_of_a_recipe(tmp_path, out, recipe, monkeypatch):
    monkeypatch.setenv("EMLIB_DATA", str(tmp_path))
    wrong = recipe(**{"data.image": "rat.h5"})
    with refused(FileNotFoundError, "data.image names rat.h5", f"EMLIB_DATA {tmp_path}", "elsewhere", folder=out):
        prepare_data(wrong, out / "prepared", data_dir=tmp_path / "elsewhere")
    with refused(ValueError, "image.h5 has no array 'row', it holds 'main'", folder=out):
        prepare_data(recipe(**{"data.image_key": "row"}), out / "prepared")
    with refused(FileNotFoundError, "holds no prepared data", str(out / "nothing"), folder=out):
        start(recipe(), out / "run", data=out / "nothing")
    (out / "prepared.json").write_text('{"split": {"train": [0,')
    with refused(ValueError, "prepared.json is damaged", "run 1_data_prep again"):
        load_prepared(out)


# --- Values that cannot be.


def test_images_with_nan(out, network, recipe, scene):
    image = scene[0].astype(np.float32) / 255
    image[9, 4, 5] = np.nan
    place = "(z, y, x) = (9, 4, 5)"
    with refused(ValueError, "image is not finite", place, folder=out):
        prepare_data(recipe(image), out)
    with refused(ValueError, "image holds no finite number", folder=out):
        prepare_data(recipe(np.full_like(image, np.nan)), out)
    for volume in (image, save_volume(out.parent / "nan.zarr", image)):
        with refused(ValueError, place, "nan, not a finite number", folder=out):
            predict_volume(network, volume, window=WINDOW, out=out / "p.zarr", memory="1MiB", progress=False)
    with refused(ValueError, "mask must hold probabilities", "nan", folder=out):
        segment(np.stack([image, image]))


def test_images_of_unknown_brightness(out, network, recipe, scene):
    for image, words in (
        (scene[0].astype(np.uint16), ("How bright is a uint16 value?", "intensity_range")),
        (scene[0].astype(np.float32), ("must lie within 0-1", "intensity_range")),
    ):
        with refused(ValueError, *words, folder=out):
            predict_from_recipe(network, image, recipe(), out=out / "p.zarr", progress=False)
        given = predict_from_recipe(network, image, recipe(), intensity_range=(0, 255), progress=False)
        np.testing.assert_array_equal(given, predict_from_recipe(network, scene[0], recipe(), progress=False))
    with refused(TypeError, "image is float32, but uint8", folder=out):
        start(recipe(), out / "run", data=Pair(scene[0].astype(np.float32), scene[1]))


def test_labels_that_are_no_ids(out, recipe, scene):
    image, labels = scene
    for wrong, word in ((labels.astype(np.float32), "float32"), (labels.astype(np.int32) - 1, "negative id")):
        with refused(ValueError, "labels", word, folder=out, may_stay=("image.zarr/",)):
            prepare_data(recipe(image, wrong), out)
        with refused((TypeError, ValueError), "segmentation", word.split()[0]):
            average_precision(wrong, labels)
        with refused((TypeError, ValueError), "truth", word.split()[0]):
            average_precision(labels, wrong)
    with refused(ValueError, "labels hold the negative id -1", folder=out, may_stay=("image.zarr/",)):
        prepare_data(recipe(image, labels.astype(np.int32) - 1, **{"data.instances": "components"}), out)
    with refused(TypeError, "labels are float32", folder=out):
        start(recipe(), out / "run", data=Pair(image, labels.astype(np.float32)))
    with refused(TypeError, "segmentation is a path", "open_volume"):
        average_precision(str(out / "labels.zarr"), labels)


def test_shapes_that_differ(out, network, recipe, scene):
    image, labels = scene
    with refused(ValueError, "(12, 40, 48)", "(12, 39, 48)", folder=out):
        prepare_data(recipe(image, labels[:, 1:]), out)
    with refused(ValueError, "(12, 40, 48)", "(11, 40, 48)", folder=out):
        start(recipe(), out / "run", data=Pair(image, labels[1:]))
    with refused(ValueError, "(12, 40, 48)", "(12, 40, 47)"):
        average_precision(labels, labels[..., 1:])
    with refused(ValueError, "(c, z, y, x) or (c, y, x)", "(8, 32)"):
        segment(CUBE[0, :8])
    with refused(ValueError, "three axes", "(1, 8, 32, 32)", folder=out):
        predict_volume(network, CUBE[None], window=WINDOW, out=out / "p.h5")
    with refused(ValueError, "data.split.test is (8, 13)", "12 sections", folder=out):
        prepare_data(recipe(**{"data.split": {"train": [0, 6], "validation": [6, 8], "test": [8, 13]}}), out)


def test_volumes_without_voxels(tmp_path, out, network, recipe, scene):
    nothing = np.zeros((0, 4, 4), np.uint8)
    np.save(tmp_path / "a.npy", nothing)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["main"] = nothing
    zarr.create_array(str(tmp_path / "a.zarr"), shape=nothing.shape, chunks=(1, 4, 4), dtype="u1")
    for name in ("a.npy", "a.h5", "a.zarr"):
        with refused(ValueError, name, "no voxels", "(0, 4, 4)", folder=out):
            predict_volume(network, tmp_path / name, window=WINDOW, out=out / "p.zarr")
        with refused(ValueError, name, "no voxels", folder=out):
            prepare_data(recipe(**{"data.image": str(tmp_path / name)}), out)
        with refused(ValueError, "no voxels", folder=out):
            save_volume(out / name, nothing)
    with refused(ValueError, "no voxels", folder=out):
        start(recipe(), out / "run", data=Pair(nothing, nothing))
    with refused(ValueError, "mask is empty"):
        segment(np.zeros((2, 0, 4, 4), np.uint8))
    with refused(ValueError, "segmentation is empty"):
        average_precision(nothing, nothing)


def test_volumes_smaller_than_the_window_are_reflected(out, network, recipe, scene):
    """Not an error: a volume below the window is mirrored until the window fits, in training and in prediction."""
    image = scene[0][:3, :12, :14]
    prediction = predict_volume(network, image, window=WINDOW, progress=False)
    padded = np.pad(image, ((0, 1), (2, 2), (1, 1)), mode="reflect")
    whole = predict_volume(network, padded, window=WINDOW, progress=False)
    np.testing.assert_array_equal(prediction, whole[:, :3, 2:-2, 1:-1])
    assert predict_volume(network, image[:1, :1, :1], window=WINDOW, progress=False).shape == (2, 1, 1, 1)
    split = {"data.split": {"train": [0, 1], "validation": [1, 2], "test": [2, 3]}}
    best = start(recipe(image, scene[1][:3, :12, :14], **split, **{"training.validate_every": 2}), out / "run")
    assert load_model(best)(next(network.parameters()).new_zeros(1, 1, *WINDOW)).shape == (1, 2, *WINDOW)


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
