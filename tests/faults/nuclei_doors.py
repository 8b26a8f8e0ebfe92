"""A few generated nuclei, and what has to happen when a training is to start from a damaged copy of them."""

import pytest
from faults.sentences import as_sentence

from emlib.data import make_cell_set, prepare_image_data
from emlib.recipe import load_recipe

MADE = make_cell_set(3, seed=4, modalities=["stained"], shapes=((40, 56), (48, 64)))
HEIGHT, WIDTH = MADE[0].labels.shape


def entries(folder):
    """Files and folders, empty ones too."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def recipe_of(root, layout):
    split = {"train": 0.34, "validation": 0.33, "test": 0.33}
    data = {"source": "files", "sets": [{"name": str(root), "layout": layout, "modality": "nuclei"}], "split": split}
    return load_recipe("4_nuclei_maskrcnn", overrides={"data": data, "training.iterations": 1})


def check_refusal(root, layout, words, tmp_path):
    """Preparation refuses the data with these words and leaves everything as it was."""
    before = entries(tmp_path)
    with pytest.raises((ValueError, OSError)) as caught:
        prepare_image_data(recipe_of(root, layout), tmp_path / "new" / "data")
    text = as_sentence(caught.value)
    assert not [word for word in words if word not in text], text
    assert entries(tmp_path) == before
    return text
