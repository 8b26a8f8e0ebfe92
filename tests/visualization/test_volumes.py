"""The room's functions on Volumes that lie on disk: same figures, voxel size found by itself."""

import numpy as np
import pytest
from visualization.scene import VOXEL_SIZE, make_scene, texts

from emlib.visualization import (
    read_precomputed,
    show_error_map,
    show_neuroglancer,
    show_sections,
    show_targets,
    write_precomputed,
)
from emlib.volume import open_volume, save_volume


@pytest.fixture(params=["zarr", "h5"])
def volumes(request, tmp_path):
    image, truth, segmentation, errors = make_scene()
    prediction = np.stack([truth > 0, truth > 70_000]).astype(np.uint8) * 255
    key = "data" if request.param == "h5" else None
    opened = []
    for name, array in {"image": image, "truth": truth, "segmentation": segmentation, "prediction": prediction}.items():
        axes = "czyx" if array.ndim == 4 else "zyx"
        path = save_volume(tmp_path / f"{name}.{request.param}", array, voxel_size=VOXEL_SIZE, axes=axes, key=key)
        opened.append(open_volume(path, key))
    return (*opened, errors)


def test_figures_know_the_voxel_size(volumes):
    image, truth, segmentation, prediction, errors = volumes
    assert "100 nm" in texts(show_sections(image, truth))
    assert "100 nm" in texts(show_targets(image, prediction, ["mask", "contour"]))
    assert "100 nm" in texts(show_error_map(image, segmentation, truth, errors))


def test_neuroglancer_serves_pieces_of_them(volumes):
    image, truth, _, prediction, _ = volumes
    view = show_neuroglancer(image, prediction, truth=truth)
    assert view.state_json()["dimensions"]["z"] == [3e-8, "m"]
    served = {name: view._local_volume(name) for name in ("image", "prediction 1", "truth")}
    box = np.s_[2:6, 10:40, 20:60]
    assert (served["image"].data[box] == image[box]).all()
    assert (served["prediction 1"].data[box] == prediction[(1, *box)]).all()
    assert (served["truth"].data[box] == truth[box]).all()


def test_they_are_exported_without_being_loaded(volumes, tmp_path):
    truth = volumes[1]
    path = write_precomputed(truth, tmp_path / "truth", kind="segmentation", chunk=(8, 16, 16), show_progress=False)
    assert (read_precomputed(path) == truth[...]).all()
