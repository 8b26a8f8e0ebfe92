"""The command `emlib`: thin - each subcommand reads its options, calls one function and prints what came of it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
import yaml

app = typer.Typer(
    help="Instance segmentation in electron and light microscopy: train, predict, evaluate, reproduce.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
data_app = typer.Typer(help="Data sets: what there is, and fetching them.", no_args_is_help=True)
recipe_app = typer.Typer(help="Recipes: what a run can vary.", no_args_is_help=True)
app.add_typer(data_app, name="data")
app.add_typer(recipe_app, name="recipe")

Track = Annotated[str, typer.Argument(help="a track, for example 1_mitochondria_contours")]
Profile = Annotated[str, typer.Option(help="smoke, tutorial or paper")]
Override = Annotated[
    list[str], typer.Option("--set", "-s", help="recipe key=value, for example training.iterations=50")
]
Parameter = Annotated[list[str], typer.Option("--parameter", "-p", help="notebook parameter name=value, e.g. seed=3")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda")]
Key = Annotated[str | None, typer.Option(help="array inside the HDF5 or zarr file; default: main, else the first")]
DataDir = Annotated[
    Path | None, typer.Option("--data-dir", help="local data sets; default: EMLIB_DATA, else downloads")
]


# typer has no public name for what a wrong command line raises.
UsageError = typer.BadParameter.__base__
INTERRUPTED = 130


def main() -> None:
    """Entry point: an expected error is one line on standard error and exit status 2."""
    try:
        status = app(prog_name="emlib", standalone_mode=False) or 0
    except UsageError as error:
        status = 2
        # No message: help was asked for by giving no command, and is printed.
        if text := error.format_message():
            _say(f"{text.rstrip('.')} (see {error.ctx.command_path if error.ctx else 'emlib'} --help)")
    except (ValueError, TypeError, OSError) as error:
        status = 2
        _say(_one_sentence(error))
    except (KeyboardInterrupt, typer.Abort):
        status = INTERRUPTED
    if status == INTERRUPTED:
        _say("interrupted; run the same command again to go on.")
    sys.exit(status)


def _say(text: str) -> None:
    print(f"emlib: {' '.join(text.split())}", file=sys.stderr)


def _one_sentence(error: Exception) -> str:
    """The message; of an error that comes straight from the operating system, with the file's name in front."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror.lower()}" if error.filename else error.strerror
    return str(error)


@app.command()
def check() -> None:
    """Show the environment: versions, device, memory, and what is missing."""
    from emlib.environment import describe_environment, format_environment

    print(format_environment(describe_environment()))


@data_app.command("list")
def data_list() -> None:
    """List the registered data sets: name, size of the download, voxel size (z, y, x), what it is, licence."""
    from emlib.data.registry import list_datasets

    for entry in list_datasets():
        size = f"{entry.size / 1e6:.1f} MB" if entry.size else "by hand"
        voxel = " x ".join(f"{length:g}" for length in entry.voxel_size) + " nm" if entry.voxel_size else ""
        print(f"{entry.name:24} {size:>8}  {voxel:18}  {entry.title}; {entry.licence}")


@data_app.command("fetch")
def data_fetch(name: Annotated[str, typer.Argument(help="name of a data set")], data_dir: DataDir = None) -> None:
    """Find a data set locally or download it, checking every hash; prints its folder."""
    from emlib.data.download import fetch_dataset

    print(fetch_dataset(name, data_dir=data_dir))


@recipe_app.command("show")
def recipe_show(track: Track, profile: Profile = "smoke", overrides: Override = []) -> None:  # noqa: B006
    """Print the whole recipe as YAML, defaults included, with its hash."""
    from emlib.recipe import load_recipe

    recipe = load_recipe(track, profile=profile, overrides=overrides)
    print(f"# hash {recipe.hash}\n{recipe.to_yaml()}", end="")


@recipe_app.command("list")
def recipe_list() -> None:
    """List the tracks that have a recipe."""
    from emlib.recipe import list_tracks, load_recipe

    for track in list_tracks():
        print(f"{track:26} {load_recipe(track).title}")


@app.command()
def train(
    track: Track,
    profile: Profile = "smoke",
    overrides: Override = [],  # noqa: B006
    out: Annotated[Path, typer.Option(help="output folder; an interrupted run there is resumed")] = Path("runs/train"),
    data: Annotated[Path | None, typer.Option(help="folder of prepared data; default: prepared in OUT/data")] = None,
    data_dir: DataDir = None,
    device: Device = "auto",
) -> None:
    """Train a track's network; under torchrun on several processes. Prints the best checkpoint."""
    from emlib.recipe import load_recipe
    from emlib.training import train as run_training

    recipe = load_recipe(track, profile=profile, overrides=overrides)
    print(run_training(recipe, out, data=data, data_dir=data_dir, device=device))


@app.command()
def predict(
    checkpoint: Annotated[Path, typer.Argument(help="checkpoint folder")],
    volume: Annotated[Path, typer.Argument(help="image volume: h5, zarr, tif, npy, folder of slices, tile json")],
    out: Annotated[Path, typer.Argument(help="prediction to write: .zarr or .h5")],
    key: Key = None,
    intensity_range: Annotated[
        tuple[float, float] | None, typer.Option(help="low and high value that become 0 and 1; for other than uint8")
    ] = None,
    device: Device = "auto",
    overrides: Override = [],  # noqa: B006
) -> None:
    """Apply a trained network to a volume of any size; an interrupted run goes on where it stopped."""
    from emlib.reproduction.stage import resolve_device
    from emlib.training import load_model, load_recipe_of
    from emlib.volume import open_volume

    from emlib.inference import predict_from_recipe  # isort: skip

    device = resolve_device(device)
    recipe = load_recipe_of(checkpoint, overrides=overrides)
    model, image = load_model(checkpoint, device=device), open_volume(volume, key)
    predict_from_recipe(model, image, recipe, out=out, device=device, intensity_range=intensity_range)
    print(out)


@app.command()
def segment(
    prediction: Annotated[Path, typer.Argument(help="prediction volume with named channels")],
    out: Annotated[Path, typer.Argument(help="label volume to write: .zarr, .h5, .tif or .npy")],
    method: Annotated[str, typer.Option(help="name of the method")] = "contour_watershed",
    key: Key = None,
    overrides: Annotated[list[str], typer.Option("--set", "-s", help="argument=value of the method")] = [],  # noqa: B006
) -> None:
    """Turn a prediction into instances."""
    import numpy as np

    from emlib.formats.saving import SAVED, check_target
    from emlib.postprocessing import segment as run_segmentation
    from emlib.volume import open_volume, save_volume

    check_target(out, None, SAVED)
    volume = open_volume(prediction, key)
    if out.resolve() == prediction.resolve():
        raise ValueError(f"{out} is the prediction itself; choose another name for the labels.")
    labels = run_segmentation(volume, method, channels=volume.attributes.get("channels"), **_key_values(overrides))
    save_volume(out, labels, voxel_size=volume.voxel_size)
    print(f"{out}: {np.count_nonzero(np.unique(labels))} objects")


@app.command()
def evaluate(
    segmentation: Annotated[Path, typer.Argument(help="label volume")],
    truth: Annotated[Path, typer.Argument(help="true label volume of the same shape")],
    rules: Annotated[str, typer.Option(help="challenge or one-to-one")] = "challenge",
    drop_truth_below: Annotated[int, typer.Option(help="AP: true objects with fewer voxels are dropped")] = 2000,
    key: Key = None,
    truth_key: Annotated[str | None, typer.Option(help="the same for the truth")] = None,
) -> None:
    """Compare a segmentation with the truth: AP, AP-50, AP-75 and matches at IoU 0.5."""
    from emlib.evaluation import average_precision, match_instances, overlap_table
    from emlib.volume import open_volume

    table = overlap_table(open_volume(segmentation, key, labels=True), open_volume(truth, truth_key, labels=True))
    scores = average_precision(table, rules=rules, drop_truth_below=drop_truth_below)
    matches = match_instances(table, threshold=0.5)
    print(f"AP {scores.ap:.4f}  AP-50 {scores.ap50:.4f}  AP-75 {scores.ap75:.4f}  ({rules} rules)")
    print(f"at IoU 0.5: {matches.tp} found, {matches.fp} spurious, {matches.fn} missed, F1 {matches.f1:.4f}")


@app.command()
def reproduce(
    tracks: Annotated[list[str] | None, typer.Argument(help="tracks or notebooks; none is all")] = None,
    profile: Profile = "smoke",
    parameters: Parameter = [],  # noqa: B006
    out: Annotated[Path, typer.Option(help="output folder")] = Path("runs"),
    fresh: Annotated[bool, typer.Option(help="remove earlier results of these runs first")] = False,
    control: Annotated[
        bool, typer.Option(help="shuffled labels: succeeds only if every track's scores leave their bands")
    ] = False,
    update_notebooks: Annotated[bool, typer.Option(help="store the outputs in the notebooks themselves")] = False,
) -> None:
    """Run notebooks with papermill and judge every metric; exit status 1 if anything is off."""
    from emlib.reproduction.driver import find_notebooks_folder, list_notebooks
    from emlib.reproduction.driver import reproduce as run_notebooks
    from emlib.reproduction.report import format_table, write_reports

    values = _key_values(parameters) | ({"shuffle_labels": True} if control else {})
    results = run_notebooks(tracks or [], profile=profile, parameters=values, out_dir=out, fresh=fresh)
    print("\n" + format_table(results))
    for path in write_reports(results, out, profile=profile).values():
        print(f"written: {path}")
    if update_notebooks:
        from emlib.reproduction.refresh import store_outputs

        for path in store_outputs(results, list_notebooks(find_notebooks_folder(), tracks or [])):
            print(f"outputs stored in {path.name}")
    if control:
        scored = [result for result in results if result.stage == "5_evaluation"]
        caught = bool(scored) and all(result.verdict == "outside band" for result in scored)
        print("control: " + ("as it should, " if caught else "NOT caught: ") + "; ".join(r.cause for r in scored))
        raise typer.Exit(0 if caught else 1)
    raise typer.Exit(0 if all(result.passed for result in results) else 1)


@app.command()
def bands(
    tracks: Annotated[list[str] | None, typer.Argument(help="tracks; none is all")] = None,
    profile: Profile = "smoke",
    seeds: Annotated[str, typer.Option(help="seeds, separated by commas; at least five")] = "0,1,2,3,4",
    parameters: Parameter = [],  # noqa: B006
    out: Annotated[Path, typer.Option(help="output folder")] = Path("runs/bands"),
) -> None:
    """Measure the bands of all metrics again, over several seeds, and store them."""
    from emlib.reproduction.calibration import measure_bands

    texts = [text.strip() for text in seeds.split(",")]
    if not all(text.isdecimal() for text in texts):
        raise ValueError(f"--seeds is '{seeds}', but whole numbers separated by commas were expected, such as 0,1,2.")
    numbers = [int(text) for text in texts]
    for path in measure_bands(
        tracks or [], profile=profile, seeds=numbers, parameters=_key_values(parameters), out_dir=out
    ):
        print(f"written: {path}")


def _key_values(texts: list[str]) -> dict[str, object]:
    values = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not separator or not name.strip():
            raise ValueError(f"'{text}' is not of the form name=value.")
        try:
            values[name.strip()] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise ValueError(f"The value of '{text}' is not valid YAML.") from None
    return values
