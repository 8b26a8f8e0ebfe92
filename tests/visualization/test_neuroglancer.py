import io
import json
import urllib.error
import urllib.request
import zlib
from types import SimpleNamespace

import nbclient
import nbformat
import numpy as np
import pytest
from visualization.scene import IDS, VOXEL_SIZE, make_scene

from emlib.visualization import LayerPlan, capture_screenshot, neuroglancer_state, show_neuroglancer
from emlib.visualization.served_array import ServedArray, find_segments, value_range
from emlib.volume import Volume


@pytest.fixture
def scene():
    return make_scene()


def _get(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read()


def _info(view, layer):
    key = _source(view, layer).removeprefix("python://volume/")
    return key, json.loads(_get(f"{view.url.split('/v/')[0]}/neuroglancer/info/{key}"))


def _source(view, layer):
    source = view.viewer.state.layers[layer].source[0].url
    return source if isinstance(source, str) else source.url


def test_layers_have_their_types_order_and_the_voxel_size(scene, capsys):
    image, truth, segmentation, _ = scene
    prediction = np.zeros((2, *image.shape), np.float16)
    view = show_neuroglancer(
        image, prediction, segmentation, truth, voxel_size=VOXEL_SIZE, channel_names=["mask", "contour"]
    )
    state = view.state_json()
    layers = [(layer["name"], layer["type"], layer["visible"]) for layer in state["layers"]]
    assert layers == [
        ("image", "image", True),
        ("mask", "image", True),
        ("contour", "image", True),
        ("truth", "segmentation", False),
        ("segmentation", "segmentation", True),
    ]
    assert list(state["dimensions"]) == ["x", "y", "z"]
    assert state["dimensions"]["z"] == [3e-8, "m"]
    assert state["position"] == [32, 24, 4]
    assert set(state["layers"][3]["segments"]) == {str(one) for one in IDS}
    assert state["layers"][3]["colorSeed"] == 0
    assert json.loads(json.dumps(state)) == state
    assert capsys.readouterr().out.count("\n") == 1


def test_a_batch_run_starts_no_server(scene, capsys):
    view = show_neuroglancer(scene[0], segmentation=scene[1])
    assert view._viewer is None
    assert list(view._repr_mimebundle_()) == ["text/plain"]
    assert "run this in JupyterLab" in capsys.readouterr().out


def test_the_server_gives_the_voxels_back(scene):
    image, truth, _, _ = scene
    view = show_neuroglancer(image, segmentation=truth.astype(np.int64).view(np.uint64), voxel_size=VOXEL_SIZE)
    assert view.url.startswith("http://127.0.0.1:")
    for layer, expected in (("image", image), ("segmentation", truth)):
        key, info = _info(view, layer)
        assert info["shape"] == [8, 48, 64]
        assert list(info["coordinateSpace"]) == ["z", "y", "x"]
        url = f"{view.url.split('/v/')[0]}/neuroglancer/npz/{key}/1,1,1/2,10,20/6,40,60"
        values = np.load(io.BytesIO(zlib.decompress(_get(url))))
        assert (values == expected[2:6, 10:40, 20:60]).all()


def test_the_address_is_useless_without_its_token(scene):
    view = show_neuroglancer(scene[0])
    with pytest.raises(urllib.error.HTTPError, match="404"):
        _get(view.url.split("/v/")[0] + "/v/" + "0" * 40 + "/")


def test_meshes_are_made(scene):
    view = show_neuroglancer(segmentation=scene[1], voxel_size=VOXEL_SIZE)
    key, _ = _info(view, "segmentation")
    base = view.url.split("/v/")[0]
    assert len(_get(f"{base}/neuroglancer/mesh/{key}/{IDS[3]}")) > 100
    with pytest.raises(urllib.error.HTTPError, match="404"):
        _get(f"{base}/neuroglancer/mesh/{key}/12345")


def test_large_label_arrays_are_not_meshed_whole(monkeypatch):
    from neuroglancer.local_volume import MeshesNotSupportedForVolume

    monkeypatch.setattr("emlib.visualization.served_array.MESH_VOXELS", 100)
    with pytest.raises(MeshesNotSupportedForVolume):
        ServedArray(np.zeros((8, 8, 8), np.uint64), labels=True).transpose()


def test_saved_states_name_sources_that_others_can_read(scene):
    view = show_neuroglancer(scene[0], segmentation=scene[1])
    address = "precomputed://https://example.org/cells"
    for _ in range(2):  # before and after the viewer has been started
        state = view.state_json({"segmentation": address})
        assert [layer["source"] for layer in state["layers"]] == ["local://image", address]
        assert view.url
    with pytest.raises(ValueError, match="no layer 'cells'; the layers are image, segmentation"):
        view.state_json({"cells": address})


def test_extra_layers_are_painted_by_their_type(scene):
    view = show_neuroglancer(extra={"distance": scene[0] * 0.1, "neurites": scene[1], "raw": scene[0]})
    assert [layer["type"] for layer in view.state_json()["layers"]] == ["image", "segmentation", "image"]


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.uint16, np.uint32, np.uint64, np.int32, np.int64])
def test_served_labels_keep_their_ids(dtype):
    labels = np.array([[[0, 1, 120]]]).astype(dtype)
    served = ServedArray(labels, labels=True)[...]
    assert served.dtype in (np.uint32, np.uint64)
    assert served.tolist() == labels.astype(np.uint64).tolist()


def test_segments_are_the_largest_as_python_integers():
    labels = np.zeros((4, 4, 4), np.uint64)
    labels[0], labels[1, :2], labels[2, 0, 0] = 2**63 + 5, 9, 4
    assert find_segments(labels, most=2) == [2**63 + 5, 9]
    assert all(type(one) is int for one in find_segments(labels))
    with pytest.raises(ValueError, match="smallest here is -1"):
        find_segments(np.full((1, 1, 1), -1))


def test_value_ranges():
    assert value_range(np.full((3, 4, 4), 7, np.uint8), "channel") == (0, 255)
    assert value_range(np.full((3, 4, 4), 0.5, np.float16), "channel") == (0, 1)
    assert value_range(np.linspace(-2, 2, 48).reshape(3, 4, 4), "channel")[0] < 0
    assert value_range(np.full((3, 4, 4), np.nan), "image") == (0, 1)


def test_state_of_data_on_a_server():
    plans = {
        "em": LayerPlan("image", "precomputed://https://example.org/em", value_range=(20, 200)),
        "cells": LayerPlan("segmentation", "zarr://https://example.org/cells.zarr", segments=[2**63 + 1]),
    }
    state = neuroglancer_state(plans, shape=(10, 20, 30), position=(1, 2, 3), layout="xy-3d", title="cells")
    assert state["position"] == [3.5, 2.5, 1.5]
    assert state["dimensions"] == {"x": [1, ""], "y": [1, ""], "z": [1, ""]}
    assert state["layers"][1]["segments"] == ["9223372036854775809"]
    assert state["layers"][0]["shaderControls"] == {"normalized": {"range": [20, 200]}}


def test_affinities_are_rgb_layers_of_three_channels(scene):
    affinities = np.random.default_rng(0).random((6, 8, 48, 64)).astype(np.float16)
    view = show_neuroglancer(scene[0], affinities=affinities, voxel_size=VOXEL_SIZE)
    layers = view.state_json()["layers"]
    assert [(layer["name"], layer["visible"]) for layer in layers] == [
        ("image", True),
        ("affinities", True),
        ("affinities 3-5", False),
    ]
    assert "getDataValue(2)" in layers[1]["shader"]
    assert "rgb * 1.0" in layers[1]["shader"]
    for layer, expected in (("affinities", affinities[:3]), ("affinities 3-5", affinities[3:])):
        key, info = _info(view, layer)
        assert info["shape"] == [3, 8, 48, 64]
        assert list(info["coordinateSpace"]) == ["c^", "z", "y", "x"]
        assert info["coordinateSpace"]["y"] == [8e-9, "m"]
        url = f"{view.url.split('/v/')[0]}/neuroglancer/npz/{key}/1,1,1,1/0,2,10,20/3,6,40,60"
        values = np.load(io.BytesIO(zlib.decompress(_get(url))))
        assert values.dtype == np.float32
        assert (values == expected[:, 2:6, 10:40, 20:60]).all()


@pytest.mark.parametrize("dtype, gain", [(np.uint8, "1.0"), (np.float32, "1.0"), (bool, "255.0")])
def test_the_largest_affinity_is_full_brightness(dtype, gain):
    view = show_neuroglancer(affinities=np.ones((3, 4, 8, 8), dtype))
    assert f"rgb * {gain});" in view.state_json()["layers"][0]["shader"]


def test_one_of_the_label_layers_is_visible_at_first(scene):
    image, truth, segmentation, _ = scene
    several = {"fragments": truth, "threshold 0.3": segmentation, "threshold 0.6": truth}

    def visible(**options):
        layers = show_neuroglancer(image, truth=truth, segmentations=several, **options).state_json()["layers"]
        return [layer["name"] for layer in layers if layer["visible"]]

    assert visible() == ["image", "threshold 0.6"]
    assert visible(visible="threshold 0.3") == ["image", "threshold 0.3"]
    assert visible(visible="truth") == ["image", "truth"]
    assert visible(segmentation=segmentation) == ["image", "segmentation"]
    with pytest.raises(ValueError, match=r"no label layer '0\.3' to be visible; there are: truth, fragments"):
        visible(visible="0.3")
    layers = show_neuroglancer(segmentations=several, segments=[7]).state_json()["layers"]
    assert [layer["segments"] for layer in layers] == [["7"]] * 3


def test_points_are_lists_to_click_through(scene):
    event = SimpleNamespace(position=(1, 2, 3), description="segment 9 joins 3 + 4")
    view = show_neuroglancer(
        scene[0], points={"splits": [(7, 47, 63), np.array([0, 0, 0])], "merges": [event]}, voxel_size=VOXEL_SIZE
    )
    for _ in range(2):  # before and after the viewer has been started
        state = view.state_json()
        splits, merges = state["layers"][1:]
        assert (splits["name"], splits["type"], splits["annotationColor"]) == ("splits", "annotation", "#ff3030")
        assert [place["point"] for place in splits["annotations"]] == [[63.5, 47.5, 7.5], [0.5, 0.5, 0.5]]
        assert merges["annotationColor"] == "#ffe119"
        assert merges["annotations"] == [
            {"type": "point", "id": "0", "point": [3.5, 2.5, 1.5], "description": "segment 9 joins 3 + 4"}
        ]
        assert list(merges["source"]["transform"]["outputDimensions"]) == ["x", "y", "z"]
        assert state["selectedLayer"]["layer"] == "splits"
        assert state["position"] == [63.5, 47.5, 7.5]
        assert json.loads(json.dumps(state)) == state
        assert view.url
    assert view.describe().startswith("image, splits (2), merges (1) (8 x 48 x 64 voxels")
    with pytest.raises(ValueError, match="no layer 'merges'; the layers are image"):
        view.state_json({"merges": "precomputed://https://example.org"})


ARRAY = np.zeros((4, 8, 8), np.uint8)
BAD_CALLS = {
    "needs an image": lambda: show_neuroglancer(),
    "image and segmentation must have the same shape": lambda: show_neuroglancer(ARRAY, segmentation=ARRAY[:2]),
    "image must be .z, y, x.": lambda: show_neuroglancer(ARRAY[0]),
    "prediction must be .c, z, y, x.": lambda: show_neuroglancer(prediction=ARRAY[0]),
    "2 channels, but 1 channel names": lambda: show_neuroglancer(prediction=[ARRAY, ARRAY], channel_names=["a"]),
    "Two layers are called 'image'": lambda: show_neuroglancer(ARRAY, extra={"image": ARRAY}),
    "Did you mean '4panel'": lambda: show_neuroglancer(ARRAY, layout="4panels"),
    "voxel size of a volume is": lambda: show_neuroglancer(ARRAY, voxel_size=(8, 8)),
    "Did you mean 'segmentation'": lambda: neuroglancer_state({"a": LayerPlan("segments", "")}, shape=(1, 1, 1)),
    "needs a source": lambda: neuroglancer_state({"a": LayerPlan("image")}, shape=(1, 1, 1)),
    "affinities must be .c, z, y, x. with 3, 6, 9": lambda: show_neuroglancer(affinities=[ARRAY, ARRAY]),
    "affinities must be floats from 0 to 1; here they reach from 7 to 7": lambda: show_neuroglancer(
        affinities=np.full((3, 4, 8, 8), 7.0)
    ),
    "reach from nan to nan": lambda: show_neuroglancer(affinities=np.full((3, 4, 8, 8), np.nan)),
    "affinities must be uint8 from 0 to 255 or floats": lambda: show_neuroglancer(affinities=[ARRAY.astype(int)] * 3),
    "image and affinities must have the same shape": lambda: show_neuroglancer(ARRAY, affinities=[ARRAY[:2]] * 3),
    "Two layers are called 'splits'": lambda: show_neuroglancer(extra={"splits": ARRAY}, points={"splits": []}),
    "Two layers are called 'truth'": lambda: show_neuroglancer(truth=ARRAY, segmentations={"truth": ARRAY}),
    "points 'splits' must be .z, y, x.": lambda: show_neuroglancer(ARRAY, points={"splits": [(1, 2)]}),
    "of 'splits' lies outside the volume": lambda: show_neuroglancer(ARRAY, points={"splits": [(4, 0, 0)]}),
    "shape must be three": lambda: neuroglancer_state({}, shape=(1, 1)),
}


@pytest.mark.parametrize("sentence", BAD_CALLS)
def test_bad_input_stops_with_one_sentence(sentence):
    with pytest.raises(ValueError, match=sentence):
        BAD_CALLS[sentence]()


def test_labels_must_be_integers():
    with pytest.raises(TypeError, match="truth must hold integer labels, but it is float64"):
        show_neuroglancer(truth=ARRAY * 0.5)


@pytest.mark.parametrize("live", [False, True])
def test_a_notebook_shows_a_link_and_a_batch_run_does_not(live, monkeypatch):
    # A Jupyter server names the session to the kernels it starts; papermill and nbclient do not.
    if live:
        monkeypatch.setenv("JPY_SESSION_NAME", "notebook.ipynb")
    else:
        monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    for name in ("VSCODE_PID", "VSCODE_CWD", "COLAB_RELEASE_TAG"):
        monkeypatch.delenv(name, raising=False)
    source = (
        "import numpy as np\nfrom emlib.visualization import show_neuroglancer\n"
        "show_neuroglancer(segmentation=np.ones((4, 8, 8), np.uint32), voxel_size=(30, 8, 8))"
    )
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    nbclient.NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
    outputs = notebook.cells[0].outputs
    html = [output.data["text/html"] for output in outputs if "text/html" in output.get("data", {})]
    printed = [output.text for output in outputs if output.output_type == "stream"]
    if live:
        assert len(html) == 1
        assert 'href="http://127.0.0.1:' in html[0]
        assert printed == []
    else:
        assert html == []
        assert len(printed) == 1
        assert "127.0.0.1" not in str(notebook)


def test_a_missing_browser_is_named(tmp_path, scene):
    view = show_neuroglancer(scene[0])
    with pytest.raises(FileNotFoundError, match="needs Chromium or Chrome: 'no-such-browser' is no program"):
        capture_screenshot(view, tmp_path / "view.png", browser="no-such-browser")


def test_a_browser_that_ends_or_hangs_does_not_hang_us(tmp_path, scene):
    view = show_neuroglancer(scene[0])
    with pytest.raises(RuntimeError, match="ended with status 1"):
        capture_screenshot(view, tmp_path / "view.png", browser="/bin/false", timeout=20)
    sleeper = tmp_path / "sleeper"
    sleeper.write_text("#!/bin/sh\nsleep 60\n")
    sleeper.chmod(0o755)
    with pytest.raises(TimeoutError, match=r"not drawn within 0\.5 s"):
        capture_screenshot(view, tmp_path / "view.png", browser=str(sleeper), timeout=0.5)
    assert not (tmp_path / "view.png").exists()


def test_channels_have_the_names_that_the_volume_carries(capsys):
    prediction = Volume(np.zeros((2, 4, 8, 8), np.uint8), VOXEL_SIZE, "czyx", {"channels": ["mask", "contour"]})
    view = show_neuroglancer(prediction=prediction, open_browser=False)
    assert [layer["name"] for layer in view.state_json()["layers"]] == ["mask", "contour"]
