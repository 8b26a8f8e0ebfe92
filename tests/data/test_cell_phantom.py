"""The cell phantom: exact truth, the same bytes for the same seed, and hard enough to be worth learning."""

import os
import subprocess
import sys

import cc3d
import numpy as np
import pytest
from scipy import ndimage

from emlib.data.cell_phantom import CellPhantom, cell_modalities, make_cell_phantom, make_cell_set
from emlib.data.image_files import read_image, read_label_image
from emlib.data.image_pairs import find_image_pairs
from emlib.data.saved_cell_set import save_cell_set
from emlib.evaluation import cell_f1

MODALITIES = cell_modalities()


@pytest.fixture(scope="module", params=MODALITIES)
def phantom(request):
    return make_cell_phantom(modality=request.param, seed=1)


def touching(labels):
    """Ids that share an edge with another cell."""
    found = set()
    for first, second in ((labels[:-1], labels[1:]), (labels[:, :-1], labels[:, 1:])):
        contact = (first > 0) & (second > 0) & (first != second)
        found |= set(first[contact].tolist()) | set(second[contact].tolist())
    return found


def test_types_and_shapes(phantom):
    assert isinstance(phantom, CellPhantom)
    assert phantom.image.dtype == np.uint8
    assert phantom.image.shape == (256, 256, 3)
    assert phantom.labels.dtype == np.uint32
    assert phantom.labels.shape == (256, 256)
    assert phantom.modality in MODALITIES
    with pytest.raises(AttributeError):
        phantom.labels = None


def test_ids_have_no_gaps_and_every_cell_is_one_piece(phantom):
    assert (np.bincount(phantom.labels.ravel())[1:] > 0).all()
    assert cc3d.connected_components(phantom.labels, connectivity=4).max() == phantom.labels.max() >= 10


@pytest.mark.parametrize("modality", MODALITIES)
@pytest.mark.parametrize("seed", range(3))
def test_a_good_share_of_the_cells_touches(modality, seed):
    labels = make_cell_phantom(modality=modality, seed=seed).labels
    assert len(touching(labels)) > 0.5 * labels.max()


def test_touching_can_be_switched_off():
    apart = make_cell_phantom(touching=0, seed=2)
    assert not touching(apart.labels)
    assert apart.labels.max() > 20


def test_labels_lie_on_the_cells(phantom):
    """The picture changes most on the outlines of the labels: shifted or turned labels miss them."""
    slope = sum(
        ndimage.gaussian_gradient_magnitude(phantom.image[..., channel].astype(float), 1.0) for channel in range(3)
    )

    def on_outlines(labels):
        edge = np.zeros(labels.shape, bool)
        edge[1:] |= labels[1:] != labels[:-1]
        edge[:, 1:] |= labels[:, 1:] != labels[:, :-1]
        return slope[8:-8, 8:-8][edge[8:-8, 8:-8]].mean()

    right = on_outlines(phantom.labels)
    turned = (phantom.labels.T, phantom.labels[::-1], phantom.labels[:, ::-1])
    moved = [np.roll(phantom.labels, step, axis) for step in (-6, 6) for axis in (0, 1)]
    assert all(on_outlines(other) < 0.95 * right for other in (*turned, *moved))


def test_no_threshold_finds_the_cells(phantom):
    """What a global threshold on any channel and connected components reach, at best."""
    best = 0.0
    for channel in range(3):
        grey = phantom.image[..., channel]
        for level in np.unique(np.percentile(grey, np.arange(4, 100, 4))):
            for mask in (grey > level, grey <= level):
                pieces = cc3d.connected_components(ndimage.binary_opening(mask), connectivity=4)
                best = max(best, cell_f1(pieces, phantom.labels, remove_border=0).f1)
    assert best < 0.75


def test_modalities_look_different():
    """Colour and brightness of the pictures separate most modalities: distances between exceed those within."""
    described = {}
    for modality in MODALITIES:
        pictures = [make_cell_phantom((128, 128), modality=modality, seed=seed).image / 255 for seed in range(4)]
        described[modality] = np.array([[*p.mean((0, 1)), *p.std((0, 1)), np.ptp(p, 2).mean()] for p in pictures])
    for modality, own in described.items():
        nearest = min(
            np.linalg.norm(own.mean(0) - other.mean(0)) for name, other in described.items() if name != modality
        )
        assert nearest > 0.08


def test_bacteria_are_long():
    labels = make_cell_phantom(modality="bacteria", seed=3, touching=0).labels
    ratios = []
    for cell in range(1, labels.max() + 1):
        points = np.argwhere(labels == cell)
        if points.min() > 0 and (points.max(0) < 255).all():
            low, high = np.linalg.eigvalsh(np.cov(points.T))
            ratios.append(np.sqrt(high / low))
    assert np.median(ratios) > 2


def test_same_seed_same_bytes_other_seed_other_bytes(phantom):
    again = make_cell_phantom(modality=phantom.modality, seed=1)
    other = make_cell_phantom(modality=phantom.modality, seed=2)
    for name in ("image", "labels"):
        assert getattr(phantom, name).tobytes() == getattr(again, name).tobytes()
        assert getattr(phantom, name).tobytes() != getattr(other, name).tobytes()


def test_the_same_bytes_in_another_process_with_other_threads():
    code = (
        "import hashlib; from emlib.data.cell_phantom import make_cell_set as make; h = hashlib.sha256();"
        "[h.update(p.image.tobytes() + p.labels.tobytes()) for p in make(6, shapes=((64, 64), (96, 96)))];"
        "print(h.hexdigest())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"OMP_NUM_THREADS": n, "OPENBLAS_NUM_THREADS": n, "PYTHONHASHSEED": n},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for n in ("1", "2")
    }
    assert len(digests) == 1


@pytest.mark.parametrize("modality", MODALITIES)
def test_smallest_pictures_hold_a_cell(modality):
    for seed in range(8):
        made = make_cell_phantom((32, 33), modality=modality, seed=seed)
        assert made.labels.max() >= 1
        assert made.image.shape == (32, 33, 3)


def test_number_and_size_can_be_chosen():
    assert make_cell_phantom(cells=7, seed=4).labels.max() == 7
    small, large = (make_cell_phantom(cells=8, scale=scale, touching=0, seed=4).labels for scale in (0.6, 1.5))
    assert np.median(np.bincount(large.ravel())[1:]) > 4 * np.median(np.bincount(small.ravel())[1:])


@pytest.mark.parametrize(
    "arguments, error, match",
    [
        ({"shape": (256,)}, ValueError, "two whole numbers"),
        ({"shape": 256}, ValueError, "two whole numbers"),
        ({"shape": (31, 256)}, ValueError, "at least 32"),
        ({"shape": (64.0, 64)}, TypeError, "two whole numbers"),
        ({"shape": "ab"}, TypeError, "two whole numbers"),
        ({"modality": "flourescence"}, ValueError, "did you mean 'fluorescence'"),
        ({"modality": "xray"}, ValueError, "there are fluorescence"),
        ({"cells": 0}, ValueError, "cells"),
        ({"cells": 2.5}, TypeError, "cells"),
        ({"touching": 1.5}, ValueError, "touching"),
        ({"touching": None}, TypeError, "touching"),
        ({"scale": 0}, ValueError, "scale"),
        ({"scale": float("nan")}, ValueError, "scale"),
    ],
)
def test_bad_arguments(arguments, error, match):
    with pytest.raises(error, match=match) as caught:
        make_cell_phantom(**arguments)
    assert "\n" not in str(caught.value)


def test_a_set_has_minorities_in_their_share():
    made = make_cell_set(24, seed=1, shapes=((48, 48), (64, 80)))
    counts = {name: sum(one.modality == name for one in made) for name in MODALITIES}
    assert sum(counts.values()) == 24
    assert counts["fluorescence"] > counts["stained"] > counts["brightfield"] > counts["bacteria"] == 1
    assert [one.modality for one in made] != sorted((one.modality for one in made), key=MODALITIES.index)
    assert len({one.image.shape for one in made}) > 5
    assert all(48 <= one.image.shape[0] <= 64 and 48 <= one.image.shape[1] <= 80 for one in made)
    assert len({one.image.tobytes() for one in made}) == 24


@pytest.mark.parametrize("count", [1, 3, 7, 20])
def test_shares_follow_the_weights(count):
    weights = {"phase": 7, "stained": 2, "bacteria": 1}
    made = make_cell_set(count, modalities=weights, shapes=((32, 32), (32, 32)))
    for name, weight in weights.items():
        share = sum(one.modality == name for one in made)
        assert abs(share - count * weight / 10) < (1 if count > 3 else 2)
        assert share >= (count >= 3)


@pytest.mark.parametrize(
    "arguments, error, match",
    [
        ({"count": 0}, ValueError, "count"),
        ({"count": 1.5}, TypeError, "count"),
        ({"count": 1, "modalities": {}}, ValueError, "empty"),
        ({"count": 1, "modalities": "phase"}, TypeError, "modalities"),
        ({"count": 1, "modalities": {"phase": 0}}, ValueError, "weight"),
        ({"count": 1, "modalities": ["fase"]}, ValueError, "phase"),
        ({"count": 1, "shapes": ((64, 64), (48, 64))}, ValueError, "shapes"),
    ],
)
def test_bad_sets(arguments, error, match):
    with pytest.raises(error, match=match):
        make_cell_set(**arguments)


def test_saved_sets_read_back(tmp_path):
    made = make_cell_set(4, seed=2, shapes=((40, 48), (40, 48)))
    root = save_cell_set(made, tmp_path / "cells")
    pairs = find_image_pairs(root)
    for pair, phantom in zip(pairs, made, strict=True):
        assert np.array_equal(read_image(pair.image), phantom.image)
        assert np.array_equal(read_label_image(pair.label), phantom.labels)
    rows = [line.split(",") for line in (root / "modalities.csv").read_text().splitlines()]
    assert rows[1:] == [[p.name, m.modality, str(m.labels.max())] for p, m in zip(pairs, made, strict=True)]
    with pytest.raises(FileExistsError, match="exists already"):
        save_cell_set(made, root)
    save_cell_set(made[:1], root, overwrite=True)
    assert len(find_image_pairs(root)) == 1
    with pytest.raises(ValueError, match="no picture"):
        save_cell_set([], tmp_path / "none")


def test_a_set_that_cannot_be_written_whole_leaves_nothing(tmp_path, monkeypatch):
    made = make_cell_set(2, shapes=((32, 32), (32, 32)))
    written = []

    def fail(path, *rest, **options):
        written.append(path)
        if len(written) == 2:
            raise OSError(28, "No space left on device")
        path.write_bytes(b"x")

    monkeypatch.setattr("tifffile.imwrite", fail)
    with pytest.raises(OSError, match="disk is full"):
        save_cell_set(made, tmp_path / "cells")
    assert list(tmp_path.iterdir()) == []
