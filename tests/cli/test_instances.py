"""The commands on recipes of detected objects: train and predict."""

import json
import zipfile

import imageio.v3 as imageio
import numpy as np
import pytest
import tifffile
from cli.running import emlib, refused, said

from emlib.data import (
    CellPhantom,
    make_cell_set,
    normalize_percentiles,
    read_answer,
    read_image,
    save_cell_set,
    save_nuclei_folders,
)
from emlib.inference import instances_as_coco, labels_from_instances, predict_instances_from_recipe
from emlib.training import load_model, load_recipe_of

TINY = (
    "data={source: files, sets: [{name: cells}], split: {train: 0.5, validation: 0.25, test: 0.25}}",
    "model.settings={roi_batch: 8, proposals_before_nms: 40, proposals_after_nms: 20}",
    "training={window: [64, 64], iterations: 1, batch_size: 1, validate_every: 0, evaluate_every: 0, image_every: 0}",
    "postprocessing={score_threshold: 0.3, min_size: 1, least_share: 0.0}",
)


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A folder with a set of images and a detector trained on them by the command itself."""
    folder = tmp_path_factory.mktemp("cli_instances")
    save_cell_set(make_cell_set(4, modalities=["stained"], shapes=((64, 64), (64, 80))), folder / "cells")
    changes = [part for text in TINY for part in ("--set", text)]
    options = ("--out", folder / "run", "--data-dir", folder, "--device", "cpu")
    answer = emlib("train", "4_nuclei_maskrcnn", *changes, *options)
    assert answer.status == 0, answer.err
    assert "the fullest image has" in answer.out
    return folder


def test_predict_writes_the_painted_objects_of_every_picture(work):
    text = said("predict", work / "run", work / "cells" / "images", work / "out", "--device", "cpu")
    assert text.splitlines()[-1] == str(work / "out")
    recipe, network = load_recipe_of(work / "run"), load_model(work / "run")
    counts = []
    for source in sorted((work / "cells" / "images").iterdir()):
        image = normalize_percentiles(read_image(source), **recipe.data.normalization.model_dump())
        found = predict_instances_from_recipe(network, image, recipe, normalize=None, progress=False)
        expected = labels_from_instances(found, **recipe.postprocessing.parameters())
        np.testing.assert_array_equal(tifffile.imread(work / "out" / f"{source.stem}_label.tiff"), expected)
        counts.append(expected.max())
        assert (work / "out" / f"{source.stem}.geojson").is_file()
        assert imageio.imread(work / "out" / f"{source.stem}_overlay.png").shape[:2] == expected.shape
    assert max(counts) > 0


def test_labels_of_one_image_go_to_one_file(work):
    source = sorted((work / "cells" / "images").iterdir())[0]
    said("predict", work / "run", source, work / "labels.tif", "--device", "cpu")
    said("predict", work / "run", source, work / "tiles.tif", "--device", "cpu", "-s", "inference.window=[48, 48]")
    whole, tiles = (tifffile.imread(work / name) for name in ("labels.tif", "tiles.tif"))
    assert whole.shape == tiles.shape == read_image(source).shape[:2]
    answer = refused("predict", work / "run", source, work / "two.tif", "--also", work / "run", "--device", "cpu")
    assert "detects objects, which cannot be averaged" in answer


def entries(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


@pytest.fixture
def pictures(work):
    return sorted((work / "cells" / "images").iterdir())


def test_an_answer_has_the_ids_of_the_list_and_the_objects_of_every_picture(work, pictures, tmp_path):
    sizes = [read_image(path).shape for path in pictures]
    images = [
        {"id": 40 - place, "file_name": path.name, "height": sizes[place][0], "width": sizes[place][1]}
        for place, path in enumerate(pictures[:2])
    ]
    ids = tmp_path / "test_img_ids.json"
    ids.write_text(json.dumps(images))
    command = ("predict", work / "run", work / "cells" / "images")
    text = said(*command, tmp_path / "answer.zip", "--test-ids", ids, "--device", "cpu")
    said(*command, tmp_path / "answer.json", "--test-ids", ids, "--device", "cpu")
    recipe, network = load_recipe_of(work / "run"), load_model(work / "run")
    expected = []
    for one, path in zip(images, pictures, strict=False):
        found = predict_instances_from_recipe(network, path, recipe, progress=False)
        expected += instances_as_coco(found, one["id"])
    assert expected
    assert read_answer(tmp_path / "answer.json", images=images) == expected
    assert zipfile.ZipFile(tmp_path / "answer.zip").read("answer.json") == (tmp_path / "answer.json").read_bytes()
    assert text.splitlines()[-1] == f"{tmp_path / 'answer.zip'}: {len(expected)} objects of 2 images"


def test_mistakes_with_answers_write_nothing(work, pictures, tmp_path):
    ids, folder = tmp_path / "ids.json", work / "cells" / "images"
    ids.write_text(json.dumps([{"id": 1, "file_name": pictures[0].name, "height": 3, "width": 4}]))
    before = entries(tmp_path)
    to_answer = ("predict", work / "run", folder, tmp_path / "new" / "answer.zip", "--device", "cpu")
    for arguments, words in (
        (to_answer, "give --test-ids test_img_ids.json"),
        ((*to_answer, "--test-ids", tmp_path / "no.json"), "There is no file"),
        ((*to_answer, "--test-ids", ids), "says that"),
        ((*to_answer, "--test-ids", ids, "--formats", "tif"), "answer.zip is one file"),
        (("predict", work / "run", pictures[0], tmp_path / "a.json", "--test-ids", ids), "is no folder, but that of"),
        (("predict", work / "run", folder, tmp_path / "out", "--test-ids", ids), "out is neither .json nor .zip"),
    ):
        assert words in refused(*arguments)
        assert entries(tmp_path) == before
    (tmp_path / "a.json").mkdir()
    assert "a.json is a folder" in refused("predict", work / "run", folder, tmp_path / "a.json", "--test-ids", ids)


def test_pictures_of_every_kind_give_the_same_objects(work, pictures, tmp_path):
    image = read_image(pictures[0])
    kinds = tmp_path / "kinds"
    kinds.mkdir()
    imageio.imwrite(kinds / "plain.png", image)
    imageio.imwrite(kinds / "opacity.png", np.dstack([image, np.full_like(image[..., :1], 9)]))
    tifffile.imwrite(kinds / "deep.tif", image.astype(np.uint16) * 257, photometric="rgb")
    imageio.imwrite(kinds / "grey.png", image[..., 0])
    tifffile.imwrite(kinds / "deep_grey.tif", image[..., 0].astype(np.uint16) * 257)
    out = tmp_path / "out.v2"
    said("predict", work / "run", kinds, out, "--formats", "tif,png", "--device", "cpu")
    labels = {path.stem: tifffile.imread(out / f"{path.stem}_label.tiff") for path in kinds.iterdir()}
    assert labels["plain"].any()
    for name, same in (("opacity", "plain"), ("deep", "plain"), ("deep_grey", "grey")):
        np.testing.assert_array_equal(labels[name], labels[same])
    # Outlines are drawn on the picture as the network sees it; elsewhere it is what it was.
    seen = normalize_percentiles(image, **load_recipe_of(work / "run").data.normalization.model_dump())
    changed = (imageio.imread(out / "plain_overlay.png")[..., :3] != seen).any(axis=2)
    assert changed.any()
    assert not changed[labels["plain"] == 0].any()


def test_mistakes_with_pictures_write_nothing(work, pictures, tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    (tmp_path / "empty").mkdir()
    (tmp_path / "other").mkdir()
    imageio.imwrite(folder / "a.png", read_image(pictures[0]))
    (folder / "b.png").write_bytes((folder / "a.png").read_bytes()[:300])
    imageio.imwrite(tmp_path / "stack.tif", np.zeros((5, 40, 40), np.uint8))
    tifffile.imwrite(tmp_path / "nan.tif", np.full((40, 40), np.nan, np.float32))
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "c.png").symlink_to(tmp_path / "nowhere.png")
    before = entries(tmp_path)
    run, out = work / "run", tmp_path / "new" / "out"
    for arguments, words in (
        ((run, folder, out), "b.png cannot be read, it is damaged or truncated (it breaks off after 300 bytes"),
        ((run, tmp_path / "linked", out), "There is no file"),
        ((run, tmp_path / "empty", out), "empty holds no picture"),
        ((run, tmp_path / "none.png", out), "There is no picture or folder"),
        ((run, tmp_path / "stack.tif", out), "stack.tif is a stack of 5 pages"),
        ((run, tmp_path / "nan.tif", out), "nan.tif: The image has 4800 values that are NaN or infinite"),
        ((run, folder / "a.png", folder / "b.png"), "b.png is a file, but a folder"),
        ((run, folder / "a.png", tmp_path / "a.png"), "a.png is named like a file, but a folder"),
        ((run, folder / "a.png", tmp_path / "a.h5"), "a.h5 is named like a file, but a folder"),
        ((run, folder, tmp_path / "all.tif"), "pictures is a folder, but a picture file was expected"),
        ((run, folder / "a.png", folder / "a.png" / "x"), "a part of the path is a file"),
        ((tmp_path / "none", folder, out), "There is no checkpoint"),
        ((tmp_path / "other", folder, out), "has no checkpoint.json"),
        ((run, folder / "a.png", out, "-s", "inference.overlap=2"), "'inference.overlap' is 2"),
    ):
        assert words in refused("predict", *arguments, "--device", "cpu"), words
        assert entries(tmp_path) == before, arguments


def test_help_names_what_can_be_written():
    answer = said("predict", "--help")
    for word in ("--test-ids", "--formats", "tif,png,rois,geojson,csv", "answer.zip", ".json or .zip"):
        assert word in answer


def test_no_hidden_limit_from_the_folders_of_masks_to_the_answer(tmp_path):
    """650 nuclei, more than the 600 detections that are published, through every command."""
    labels = np.zeros((104, 100), np.uint32)
    for number in range(650):
        labels[number // 25 * 4 :, number % 25 * 4 :][:2, :2] = number + 1
    image = np.repeat((labels == 0)[..., None].astype(np.uint8) * 200, 3, axis=2)
    few = np.where(labels <= 30, labels, 0)
    root = save_nuclei_folders([CellPhantom(image, one, "stained") for one in (labels, few, few)], tmp_path / "set")
    changes = (
        "data={source: files, sets: [{name: '%s', split: train}]}" % (root / "train"),
        "data.split={train: 1.0, validation: 0.0, test: 0.0}",
        "model.settings={roi_batch: 8, proposals_before_nms: null, proposals_after_nms: null}",
        TINY[2].replace("[64, 64]", "[104, 100]"),
    )
    settings = [part for text in changes for part in ("--set", text)]
    text = said("train", "4_nuclei_maskrcnn", *settings, "--out", tmp_path / "run", "--device", "cpu")
    assert "the fullest image has 650 objects; kept of an image are " in text
    pictures, ids = tmp_path / "pictures", tmp_path / "ids.json"
    pictures.mkdir()
    imageio.imwrite(pictures / "a.png", image)
    ids.write_text(json.dumps([{"id": 1, "file_name": "a.png", "height": 104, "width": 100}]))
    loose = ("-s", "inference.score_threshold=0.0", "-s", "inference.nms_threshold=0.999", "--device", "cpu")
    said("predict", tmp_path / "run", pictures, tmp_path / "answer.zip", "--test-ids", ids, *loose)
    assert 600 < len(read_answer(tmp_path / "answer.zip")) <= 1300
