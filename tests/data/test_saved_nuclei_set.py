"""Generated nuclei as dense as real tissue, and their files in the competition's layout."""

import json

import numpy as np
import pytest

from emlib.data import (
    coco_from_folders,
    coco_from_labels,
    find_nuclei_folders,
    make_cell_phantom,
    make_cell_set,
    read_image,
    read_nuclei_labels,
    read_test_ids,
    save_nuclei_folders,
)

NUCLEI = {"modalities": ["stained"], "shapes": ((64, 80), (96, 112))}


def areas(phantom):
    return np.bincount(phantom.labels.ravel())[1:]


def test_saved_folders_read_back(tmp_path):
    made = make_cell_set(5, seed=3, sizes=(0.6, 1.6), **NUCLEI)
    root = save_nuclei_folders(made[:3], tmp_path / "set", test=made[3:])
    assert {path.name for path in root.iterdir()} == {"train", "test", "test_img_ids.json"}
    folders = find_nuclei_folders(root / "train")
    assert [one.name for one in folders] == ["nuclei_00000", "nuclei_00001", "nuclei_00002"]
    for folder, phantom in zip(folders, made, strict=False):
        labels = read_nuclei_labels(folder)
        assert np.array_equal(labels.labels, phantom.labels)
        assert labels.overlap == 0
        assert np.array_equal(read_image(folder.image), phantom.image)
    images = read_test_ids(root / "test_img_ids.json", folder=root / "test")
    assert [(one["id"], one["file_name"]) for one in images] == [(1, "nuclei_00003.png"), (2, "nuclei_00004.png")]
    for image, phantom in zip(images, made[3:], strict=True):
        assert np.array_equal(read_image(root / "test" / image["file_name"]), phantom.image)
    # The truth of the test images, which is not in the files, has the same ids.
    truth = coco_from_labels([one.labels for one in made[3:]], [one["file_name"] for one in images])
    assert truth["images"] == images
    names = [f"{one.name}/images/{one.name}.png" for one in folders]
    assert coco_from_folders(root / "train") == coco_from_labels([one.labels for one in made[:3]], names)


def test_only_training_images(tmp_path):
    made = make_cell_set(2, seed=1, **NUCLEI)
    root = save_nuclei_folders(made, tmp_path / "set")
    assert [path.name for path in root.iterdir()] == ["train"]
    with pytest.raises(FileExistsError, match="exists already"):
        save_nuclei_folders(made, root)
    save_nuclei_folders(made[:1], root, test=made[1:], overwrite=True)
    assert len(find_nuclei_folders(root / "train")) == 1
    assert len(json.loads((root / "test_img_ids.json").read_text())) == 1
    with pytest.raises(ValueError, match="no picture to save"):
        save_nuclei_folders([], tmp_path / "none")
    assert {path.name for path in tmp_path.iterdir()} == {"set"}


def test_as_many_nuclei_as_the_densest_tissue():
    made = make_cell_phantom((1000, 1000), modality="stained", cells=800, scale=1.1, sizes=(0.6, 1.6), seed=1)
    assert made.labels.max() >= 790
    assert made.image.shape == (1000, 1000, 3)
    small, large = np.percentile(areas(made), [5, 95])
    assert large > 8 * small
    # Many touch: at a contact two ids are neighbours without a gap.
    right, below = (made.labels[:, :-1], made.labels[:, 1:]), (made.labels[:-1], made.labels[1:])
    pairs = {
        tuple(sorted(pair))
        for one, other in (right, below)
        for pair in np.unique(np.stack([one, other], -1)[(one != other) & (one > 0) & (other > 0)], axis=0).tolist()
    }
    assert len({number for pair in pairs for number in pair}) > 400


def test_sizes_change_the_spread_and_only_when_asked_for():
    usual = make_cell_phantom((128, 128), modality="stained", seed=5)
    same = make_cell_phantom((128, 128), modality="stained", seed=5, sizes=(1, 1))
    assert np.array_equal(usual.labels, same.labels)
    assert np.array_equal(usual.image, same.image)
    even, mixed = (
        make_cell_phantom((256, 256), modality="stained", seed=5, cells=40, touching=0, sizes=sizes)
        for sizes in ((1.0, 1.0), (0.4, 2.0))
    )
    assert np.std(np.log(areas(mixed))) > 1.5 * np.std(np.log(areas(even)))
    double = make_cell_phantom((256, 256), modality="stained", seed=5, cells=12, touching=0, sizes=(2, 2))
    assert np.median(areas(double)) > 2.5 * np.median(areas(even))


@pytest.mark.parametrize(
    "sizes, error, match",
    [
        ((1,), ValueError, "smallest and the largest factor"),
        (1.5, ValueError, "smallest and the largest factor"),
        ((0.1, 1), ValueError, "from 0.25 to 4"),
        ((1, 5), ValueError, "from 0.25 to 4"),
        ((2, 1), ValueError, "must not be above"),
        (("a", 1), TypeError, "sizes is 'a'"),
    ],
)
def test_bad_sizes(sizes, error, match):
    with pytest.raises(error, match=match):
        make_cell_phantom((64, 64), modality="stained", sizes=sizes)
