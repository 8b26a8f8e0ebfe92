"""The commands on recipes of detected objects: train and predict."""

import imageio.v3 as imageio
import numpy as np
import pytest
import tifffile
from cli.running import emlib, refused, said

from emlib.data import make_cell_set, normalize_percentiles, read_image, save_cell_set
from emlib.inference import labels_from_instances, predict_instances_from_recipe
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
