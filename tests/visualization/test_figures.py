import io
import subprocess
import sys

import matplotlib
import nbclient
import nbformat
import numpy as np
import pytest
from PIL import Image

from emlib.visualization import save_figure, show_band, show_sections
from emlib.visualization.figures import TARGET_BYTES, _reduce, encode_png


def _picture(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def test_importing_the_room_imports_neither_torch_nor_pyplot_nor_neuroglancer():
    code = "import sys, emlib.visualization as v; print([m for m in %r if m in sys.modules])"
    heavy = ["torch", "matplotlib.pyplot", "neuroglancer", "zarr", "emlib.models"]
    done = subprocess.run([sys.executable, "-c", code % heavy], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_promised_name_exists():
    import emlib.visualization as room

    assert room.__all__ == sorted(room.__all__)
    assert all(callable(getattr(room, name)) for name in room.__all__)


def test_figures_leave_no_trace_in_matplotlib():
    import matplotlib.pyplot as plt

    settings, open_figures = dict(matplotlib.rcParams), plt.get_fignums()
    encode_png(show_band(0.5, 0.2, 0.7, name="AP"))
    with pytest.raises(ValueError, match="band needs"):
        show_band(0.5, 0.9, 0.7, name="AP")
    assert dict(matplotlib.rcParams) == settings
    assert plt.get_fignums() == open_figures


@pytest.mark.parametrize("setup", ["pass", "import matplotlib.pyplot as plt", "%matplotlib inline"])
def test_a_notebook_shows_a_figure_exactly_once_as_a_png(setup):
    source = (
        f"{setup}\nimport numpy as np\nfrom emlib.visualization import show_sections\n"
        "show_sections(np.zeros((4, 32, 32), np.uint8), count=2)"
    )
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    nbclient.NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
    outputs = notebook.cells[0].outputs
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(outputs) == len(pictures) == 1
    assert "<Figure of" in pictures[0]["data"]["text/plain"]


def test_a_noisy_micrograph_stays_small():
    noise = np.random.default_rng(0).normal(130, 30, (4, 256, 256)).clip(0, 255).astype(np.uint8)
    figure = show_sections(noise, title="noise")
    data = encode_png(figure)
    assert len(data) < 3 * TARGET_BYTES
    exact = io.BytesIO()
    figure.savefig(exact, format="png")
    assert len(data) < 0.6 * exact.tell()


@pytest.mark.parametrize("greys", [20, 64])
def test_a_palette_moves_a_grey_by_half_a_step_at_most(greys):
    generator = np.random.default_rng(0)
    picture = np.repeat(generator.integers(0, 256, (64, 64, 1), np.uint8), 3, axis=2)
    picture[:8] = (213, 94, 0)
    reduced = np.asarray(_reduce(picture, greys, 64).convert("RGB")).astype(int)
    assert np.abs(reduced[8:] - picture[8:]).max() <= 255 / (greys - 1) / 2 + 1
    assert np.abs(reduced[:8] - picture[:8]).max() <= 8


def test_flat_colors_survive_the_palette():
    figure = show_band(0.9, 0.2, 0.7, name="AP")
    pixels = _picture(encode_png(figure)).reshape(-1, 3).astype(int)
    assert (np.abs(pixels - (213, 94, 0)).max(axis=1) <= 8).sum() > 50


@pytest.mark.parametrize("ending", ["png", "pdf", "svg"])
def test_saving_writes_the_format_of_the_ending(tmp_path, ending):
    path = save_figure(show_band(0.5, 0.2, 0.7, name="AP"), tmp_path / "deep" / f"band.{ending}", dpi=60)
    start = path.read_bytes()[:5]
    assert start == {"png": b"\x89PNG\r", "pdf": b"%PDF-", "svg": b"<?xml"}[ending]


def test_a_failed_save_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "band.png"
    path.write_bytes(b"old")
    monkeypatch.setattr(
        "emlib.visualization.figures.encode_png", lambda *a, **k: (_ for _ in ()).throw(OSError(28, ""))
    )
    with pytest.raises(OSError, match="disk is full"):
        save_figure(show_band(0.5, 0.2, 0.7, name="AP"), path)
    assert [file.name for file in tmp_path.iterdir()] == ["band.png"]
    assert path.read_bytes() == b"old"


def test_an_unknown_ending_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"'band.xyz': use one of the endings"):
        save_figure(show_band(0.5, 0.2, 0.7, name="AP"), tmp_path / "band.xyz")
