"""Predictions of a split: as single calls give them, found again, refused when they are damaged."""

import numpy as np
import pytest
import torch
from torch import nn

from emlib.data import prepare_image_data
from emlib.inference import load_split_predictions, predict_flows, predict_split
from emlib.recipe import load_recipe


class Bright(nn.Module):
    def forward(self, batch):
        return torch.cat([batch[:, 1:] - 0.5, batch[:, :1]], dim=1)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    recipe = load_recipe(
        "5_cells_flows",
        overrides={
            "data.images": 6,
            "data.modalities": {"fluorescence": 1.0},
            "data.shapes": [[40, 33], [64, 56]],
            "data.split": {"train": 0.5, "validation": 0.2, "test": 0.3},
            "inference.window": [32, 32],
            "inference.augment": None,
        },
    )
    return recipe, prepare_image_data(recipe, tmp_path_factory.mktemp("data")).open("test")


def test_files_hold_what_single_calls_give(prepared, tmp_path):
    recipe, images = prepared
    made = predict_split(Bright(), images, recipe, tmp_path / "predictions", progress=False)
    found = load_split_predictions(tmp_path / "predictions", images)
    assert len(made) == len(found) == len(images) == len(made.seconds) >= 2
    assert len({image.shape for image, _ in images}) == 2
    options = {"window": 32, "overlap": recipe.inference.overlap, "normalize": None, "progress": False}
    for (image, _), one, again in zip(images, made, found, strict=True):
        expected = predict_flows(Bright(), np.asarray(image), **options)
        np.testing.assert_array_equal(one, expected)
        np.testing.assert_array_equal(again, expected)


def test_a_failure_leaves_what_was_there(prepared, tmp_path):
    recipe, images = prepared
    predict_split(Bright(), images, recipe, tmp_path / "predictions", progress=False)
    before = {path.name: path.read_bytes() for path in (tmp_path / "predictions").iterdir()}

    class Failing(Bright):
        calls = 0

        def forward(self, batch):
            Failing.calls += 1
            if Failing.calls > 4:
                raise RuntimeError("broken")
            return super().forward(batch)

    with pytest.raises(RuntimeError, match="broken"):
        predict_split(Failing(), images, recipe, tmp_path / "predictions", progress=False)
    assert {path.name: path.read_bytes() for path in (tmp_path / "predictions").iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["predictions"]


def test_missing_truncated_and_foreign_files_are_named(prepared, tmp_path):
    recipe, images = prepared
    folder = tmp_path / "predictions"
    made = predict_split(Bright(), images, recipe, folder, progress=False)
    path = folder / sorted(path.name for path in folder.iterdir())[0]
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(OSError, match=rf"{path.name} is missing or damaged; run 3_inference again"):
        made[0]
    np.save(path, np.zeros((3, 5, 5), np.float32))
    with pytest.raises(OSError, match=r"has shape \(3, 5, 5\), but its picture"):
        made[0]
    path.unlink()
    with pytest.raises(FileNotFoundError, match=f"no prediction of {images.rows[0].name}"):
        load_split_predictions(folder, images)


def test_wrong_recipes_and_empty_splits_are_refused(prepared, tmp_path):
    recipe, images = prepared
    with pytest.raises(TypeError, match="is one of volumes"):
        predict_split(Bright(), images, load_recipe("1_mitochondria_contours"), tmp_path / "p")
    with pytest.raises(TypeError, match="one of detected objects; predict_instances_split applies it"):
        predict_split(Bright(), images, load_recipe("4_nuclei_maskrcnn"), tmp_path / "p")
    with pytest.raises(ValueError, match="the split is empty"):
        predict_split(Bright(), type(images)((), images.images, images.labels), recipe, tmp_path / "p")
    assert not (tmp_path / "p").exists()
