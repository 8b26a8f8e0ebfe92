"""Neuroglancer in a real browser: what is drawn, not what was sent."""

import numpy as np
import pytest
from PIL import Image
from visualization.scene import IDS, VOXEL_SIZE, has_color, make_scene

from emlib.visualization import (
    LayerPlan,
    capture_screenshot,
    label_colors,
    neuroglancer_state,
    show_neuroglancer,
    write_precomputed,
)
from emlib.visualization.screenshot import find_browser

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(find_browser() is None, reason="no Chromium or Chrome is installed"),
]


def _pixels(path):
    return np.asarray(Image.open(path).convert("RGB"))


def test_arrays_are_drawn_in_the_colors_of_the_figures(tmp_path):
    image, truth, _, _ = make_scene()
    view = show_neuroglancer(image, segmentation=truth, voxel_size=VOXEL_SIZE, layout="4panel", open_browser=False)
    with view.viewer.txn() as state:
        state.layers["segmentation"].selected_alpha = 1.0
    path = capture_screenshot(view, tmp_path / "view.png", size=(600, 400))
    pixels = _pixels(path)
    assert pixels.shape == (400, 600, 3)
    for one in IDS:
        assert has_color(pixels[:200, :300], label_colors([one])[0], at_least=100, tolerance=2), one
    three_dimensional = pixels[200:, :300].astype(int)
    colorful = three_dimensional.max(axis=-1) - three_dimensional.min(axis=-1) > 60
    yellow_frame = (three_dimensional[..., 2] < 60) & (
        np.abs(three_dimensional[..., 0] - three_dimensional[..., 1]) < 20
    )
    assert (colorful & ~yellow_frame).sum() > 500  # the meshes
    assert view.viewer.config_state.state.viewer_size is None


def test_the_browser_reads_precomputed_folders(tmp_path):
    neuroglancer = pytest.importorskip("neuroglancer")
    from neuroglancer.static_file_server import StaticFileServer

    image, truth, _, _ = make_scene()
    write_precomputed(image, tmp_path / "served" / "image", voxel_size=VOXEL_SIZE, mips=1, chunk=(8, 16, 32))
    write_precomputed(
        truth, tmp_path / "served" / "cells", voxel_size=VOXEL_SIZE, kind="segmentation", mips=1, chunk=(8, 16, 32)
    )
    neuroglancer.set_server_bind_address("127.0.0.1")
    with StaticFileServer(str(tmp_path / "served"), bind_address="127.0.0.1", daemon=True) as address:
        plans = {
            "image": LayerPlan("image", f"precomputed://{address}/image"),
            "cells": LayerPlan("segmentation", f"precomputed://{address}/cells", segments=IDS),
        }
        state = neuroglancer_state(plans, shape=image.shape, voxel_size=VOXEL_SIZE, layout="xy")
        state["layers"][1]["selectedAlpha"] = 1.0
        viewer = neuroglancer.Viewer(allow_credentials=False)
        viewer.set_state(state)
        pixels = _pixels(capture_screenshot(viewer, tmp_path / "view.png", size=(400, 300)))
    for one in IDS:
        assert has_color(pixels, label_colors([one])[0], at_least=100, tolerance=2), one
    # The image is there too: grey pixels of many levels, not the grey of an empty panel.
    flat = pixels.reshape(-1, 3)
    grey = flat[(flat.max(axis=1) - flat.min(axis=1)) == 0][:, 0]
    assert len(np.unique(grey)) > 30


def test_affinities_and_points_are_drawn_in_their_colors(tmp_path):
    image, truth, segmentation, _ = make_scene()
    affinities = np.zeros((3, *image.shape), np.float16)
    affinities[0], affinities[1, :, :24], affinities[2, :, :, :32] = 1, 1, 1
    view = show_neuroglancer(
        affinities=affinities,
        segmentations={"hidden": truth, "seen": segmentation},
        visible="hidden",
        points={"splits": [(4, 10, 20)], "merges": [(4, 40, 50)]},
        voxel_size=VOXEL_SIZE,
        position=(4, 24, 32),
        layout="xy",
        open_browser=False,
    )
    with view.viewer.txn() as state:
        state.layers["affinities"].opacity = 1.0
        state.layers["hidden"].visible = False
    pixels = _pixels(capture_screenshot(view, tmp_path / "view.png", size=(400, 300)))
    # White where all three are 1; yellow, magenta and red where blue, green or both are 0.
    for color in ((255, 255, 255), (255, 255, 0), (255, 0, 255), (255, 0, 0)):
        assert has_color(pixels, color, at_least=1000, tolerance=2), color
    assert has_color(pixels, (0xFF, 0x30, 0x30), at_least=10, tolerance=3)
    assert has_color(pixels, (0xFF, 0xE1, 0x19), at_least=10, tolerance=3)
    # The open list of points is hidden in the picture, where it would be a black strip, and open again after it.
    assert (pixels[:, -1] != 0).all()
    assert view.viewer.state.selected_layer.visible


def test_the_browser_reads_precomputed_channels(tmp_path):
    neuroglancer = pytest.importorskip("neuroglancer")
    from neuroglancer.static_file_server import StaticFileServer

    affinities = np.zeros((3, 8, 48, 64), np.uint8)
    affinities[0], affinities[1, :, :24], affinities[2, :, :, :32] = 255, 255, 255
    write_precomputed(affinities, tmp_path / "served" / "all", voxel_size=VOXEL_SIZE, mips=1, chunk=(8, 16, 32))
    neuroglancer.set_server_bind_address("127.0.0.1")
    with StaticFileServer(str(tmp_path / "served"), bind_address="127.0.0.1", daemon=True) as address:
        plans = {"affinities": LayerPlan("rgb", f"precomputed://{address}/all")}
        state = neuroglancer_state(plans, shape=affinities.shape[1:], voxel_size=VOXEL_SIZE, layout="xy")
        state["layers"][0]["opacity"] = 1.0
        viewer = neuroglancer.Viewer(allow_credentials=False)
        viewer.set_state(state)
        pixels = _pixels(capture_screenshot(viewer, tmp_path / "view.png", size=(400, 300)))
    for color in ((255, 255, 255), (255, 255, 0), (255, 0, 255), (255, 0, 0)):
        assert has_color(pixels, color, at_least=1000, tolerance=2), color
