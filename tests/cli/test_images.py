"""The commands on images: map, train, predict."""

import imageio.v3 as imageio
import numpy as np
import pytest
import tifffile
from cli.running import emlib, refused, said

from emlib.data import load_mapping, make_cell_set, normalize_percentiles, read_image, save_cell_set
from emlib.inference import predict_image_from_recipe
from emlib.training import load_model, load_recipe_of
from emlib.volume import open_volume, save_volume

TINY = (
    "data={source: files, sets: [{name: cells}], split: {train: 0.5, validation: 0.25, test: 0.25}}",
    "model.settings={encoder: mit_b0, decoder_channels: [12, 10, 8, 8, 8], attention_channels: 8}",
    "training.window=[64, 64]",
    "training.iterations=1",
    "training.batch_size=1",
    "training.amplify=0",
    "training.validate_every=0",
    "training.image_every=0",
    "inference={window: [64, 64], augment: null}",
    "postprocessing={flow_threshold: 0.0, min_size: 1, peak: 0}",
)


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A folder with a set of images and a network trained on them by the command itself."""
    folder = tmp_path_factory.mktemp("cli_images")
    phantoms = make_cell_set(4, modalities=["fluorescence"], shapes=((40, 50), (60, 60)))
    save_cell_set(phantoms, folder / "cells")
    changes = [part for text in TINY for part in ("--set", text)]
    options = ("--out", folder / "run", "--data-dir", folder, "--device", "cpu")
    answer = emlib("train", "5_cells_flows", *changes, *options)
    assert answer.status == 0, answer.err
    return folder


def test_map_lists_and_checks_the_pairs(work):
    text = said("data", "map", work / "cells")
    assert text.startswith(f"{work / 'cells' / 'mapping.json'}: 4 images (")
    assert " 4 with labels, " in text
    assert len(load_mapping(work / "cells" / "mapping.json")) == 4
    assert "exists already" in refused("data", "map", work / "cells")
    quick = said("data", "map", work / "cells", "--overwrite", "--quick", "--name", "public")
    assert quick.rstrip().endswith("4 with labels")
    assert len(load_mapping(work / "cells" / "mapping.json", key="public")) == 4
    assert "There is no folder" in refused("data", "map", work / "nowhere")


def test_predict_writes_the_results_of_every_picture(work):
    text = said("predict", work / "run", work / "cells" / "images", work / "out", "--device", "cpu")
    lines = text.splitlines()
    assert len(lines) == 5
    assert lines[-1] == str(work / "out")
    suffixes = ("_label.tiff", "_overlay.png", "_rois.zip", ".geojson", "_cells.csv")
    assert {path.name for path in (work / "out").iterdir()} == {
        f"cell_{number:05d}{suffix}" for number in range(4) for suffix in suffixes
    }
    recipe, image = load_recipe_of(work / "run"), read_image(work / "cells" / "images" / "cell_00002.png")
    expected = predict_image_from_recipe(load_model(work / "run"), image, recipe, progress=False)
    np.testing.assert_array_equal(tifffile.imread(work / "out" / "cell_00002_label.tiff"), expected)
    assert lines[2].startswith(f"cell_00002.png: {len(np.unique(expected)) - 1} cells in ")


def test_predict_takes_one_picture_an_ensemble_and_changes(work, tmp_path):
    picture = work / "cells" / "images" / "cell_00001.png"
    options = ("--also", work / "run", "--formats", "tif", "--set", "inference.overlap=0.25", "--device", "cpu")
    said("predict", work / "run", picture, tmp_path / "out", *options)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["cell_00001_label.tiff"]
    recipe = load_recipe_of(work / "run", overrides=["inference.overlap=0.25"])
    model, image = load_model(work / "run"), normalize_percentiles(read_image(picture))
    expected = predict_image_from_recipe([model, model], image, recipe, normalize=None, progress=False)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out" / "cell_00001_label.tiff"), expected)


def test_classes_are_predicted_but_not_averaged_with_flows(work, tmp_path):
    tiny = [text for text in TINY if text.startswith(("data", "training"))]
    tiny += ["inference.window=[64, 64]", "model.widths=[4, 8, 16]"]
    changes = [part for text in tiny for part in ("--set", text)]
    options = ("--variant", "baseline_unet", "--out", tmp_path / "run", "--data-dir", work, "--device", "cpu")
    said("train", "5_cells_flows", *changes, *options)
    picture, run = work / "cells" / "images" / "cell_00001.png", tmp_path / "run"
    settings = ("--formats", "tif", "--device", "cpu", "--set", "postprocessing.threshold=0.2")
    said("predict", run, picture, tmp_path / "out", "--also", run, *settings)
    recipe, image = load_recipe_of(run, overrides=["postprocessing.threshold=0.2"]), read_image(picture)
    expected = predict_image_from_recipe(load_model(run), image, recipe, progress=False)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out" / "cell_00001_label.tiff"), expected)
    text = refused("predict", run, picture, tmp_path / "mixed", "--also", work / "run", "--device", "cpu")
    assert "predicts flow_y, flow_x, probability, so it cannot be averaged with the first" in text


@pytest.mark.parametrize("name", ["slide.zarr", "slide.tif"])
def test_predict_writes_the_labels_of_a_slide(work, tmp_path, name):
    picture = work / "cells" / "images" / "cell_00001.png"
    save_volume(tmp_path / "slide_image.zarr", read_image(picture), axes="yxc")
    expected = predict_image_from_recipe(
        load_model(work / "run"), picture, load_recipe_of(work / "run"), progress=False
    )
    for source in (picture, tmp_path / "slide_image.zarr"):
        text = said("predict", work / "run", source, tmp_path / name, "--device", "cpu")
        assert text.startswith(f"{tmp_path / name}: labels of {source.name} in ")
        np.testing.assert_array_equal(open_volume(tmp_path / name)[:], expected)
    answer = refused("predict", work / "run", picture, tmp_path / name, "--formats", "tif")
    assert "--formats is for a folder of results" in answer
    assert "There is no file" in refused("predict", work / "run", tmp_path / "none.png", tmp_path / "b.tif")
    assert not (tmp_path / "b.tif").exists()


def test_mistakes_are_one_line(work, tmp_path):
    pictures, out = tmp_path / "pictures", tmp_path / "out"
    pictures.mkdir()
    run = ("predict", work / "run")
    assert "holds no picture" in refused(*run, pictures, out)
    assert "There is no picture or folder" in refused(*run, pictures / "none.png", out)
    imageio.imwrite(pictures / "a.png", np.zeros((5, 5), np.uint8))
    assert "--formats holds 'jpg'" in refused(*run, pictures, out, "--formats", "tif,jpg")
    assert "are for volumes" in refused(*run, pictures, out, "--key", "main")
    (pictures / "b.png").write_bytes((pictures / "a.png").read_bytes()[:20])
    assert "b.png" in refused(*run, pictures, out)
    (pictures / "b.png").unlink()
    imageio.imwrite(pictures / "a.bmp", np.zeros((5, 5), np.uint8))
    assert "names must be unique" in refused(*run, pictures, out)
    assert not out.exists()
