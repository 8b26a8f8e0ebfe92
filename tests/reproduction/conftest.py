"""A small track of notebooks, made for each test: two stages that write real manifests."""

import nbformat
import pytest

PARAMETERS = """profile = "smoke"  # smoke | tutorial | paper
seed = 0  # 0 to 1000000
device = "cpu"  # auto | cpu | cuda
data_dir = ""  # folder of local data sets
out_dir = "runs"  # folder for results
iterations = None  # 1 to 1000: training steps"""

OPEN = """from emlib.reproduction import open_stage
stage = open_stage("1_mitochondria_contours", "{stage}", profile=profile, seed=seed, device=device,
                   out_dir=out_dir, overrides={overrides})"""

FIRST = """path = stage.folder / "image.txt"
path.write_text(f"image {seed}")
manifest = stage.finish(outputs={"image": path}, metrics={"objects": 20 + seed})"""

SECOND = """text = stage.input("1_data_prep", "image").read_text()
path = stage.folder / "weights.txt"
path.write_text(text + str(stage.recipe.training.iterations))
manifest = stage.finish(outputs={"weights": path}, metrics={"loss": 0.5 + 0.01 * seed})"""


def write_notebook(path, cells, tags=("parameters",)):
    notebook = nbformat.v4.new_notebook()
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    for source in cells:
        cell = nbformat.v4.new_code_cell(source)
        if source.startswith(PARAMETERS):
            cell.metadata["tags"] = list(tags)
        notebook.cells.append(cell)
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)
    return path


@pytest.fixture
def track(tmp_path):
    """Folder of notebooks with the track's first two stages; returns a writer for changed second stages too."""
    folder = tmp_path / "notebooks"
    place = folder / "1_mitochondria_contours"
    first = [PARAMETERS, OPEN.format(stage="1_data_prep", overrides="{}"), FIRST]
    write_notebook(place / "1_data_prep.ipynb", first)

    def second(*extra):
        opened = OPEN.format(stage="2_training", overrides="{'training.iterations': iterations}")
        return write_notebook(place / "2_training.ipynb", [PARAMETERS, opened, *(extra or (SECOND,))])

    second()
    return folder, second


VARIANT = PARAMETERS + "\nvariant = None  # a variant of the recipe"

OPEN_VARIANT = """from emlib.reproduction import open_stage
stage = open_stage("3_neurons_affinities", "{stage}", profile=profile, seed=seed, device=device, out_dir=out_dir,
                   overrides={{"variant": variant}})"""

PREPARE = """assert variant != "fpn", "the plug was pulled"
path = stage.folder / "image.txt"
path.write_text("image")
manifest = stage.finish(outputs={"image": path}, metrics={"rand_bound": 0.5})"""

MEASURE = """path = stage.folder / "weights.txt"
path.write_text(stage.recipe.model.name)
metrics = {"outputs": len(stage.recipe.target.outputs), "width": float(stage.recipe.model.widths[0])}
stage.show_metric("width", metrics["width"])
manifest = stage.finish(outputs={"weights": path}, metrics=metrics)"""


@pytest.fixture
def neurons(tmp_path):
    """Folder of notebooks with the first two stages of a track that has variants; `fpn` breaks the first."""
    place = tmp_path / "notebooks" / "3_neurons_affinities"
    write_notebook(place / "1_data_prep.ipynb", [VARIANT, OPEN_VARIANT.format(stage="1_data_prep"), PREPARE])
    write_notebook(place / "2_training.ipynb", [VARIANT, OPEN_VARIANT.format(stage="2_training"), MEASURE])
    return place.parent
