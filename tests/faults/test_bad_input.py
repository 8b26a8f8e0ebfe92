"""Bad input at every door: damaged and missing files, wrong values, wrong shapes, wrong names, wrong networks.

Each must be refused in one sentence that says what is wrong and where, and leave no output, whole or half.
"""

import h5py
import numpy as np
import pytest
import zarr
from faults.damage import DAMAGES
from faults.scene import CUBE, WINDOW, Pair, start
from faults.sentences import refused

from emlib.data import load_prepared, prepare_data
from emlib.evaluation import average_precision
from emlib.inference import predict_from_recipe, predict_volume
from emlib.postprocessing import segment
from emlib.training import load_model
from emlib.volume import open_volume, save_volume

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
