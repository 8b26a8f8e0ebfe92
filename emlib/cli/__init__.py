"""The command `emlib`: thin - each subcommand reads its options, calls one function and prints what came of it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from emlib.cli.arguments import DataDir, Device, Override, Parameter, Profile, Track, Variant, key_values
from emlib.cli.coco import data_coco
from emlib.cli.deploy import deploy
from emlib.cli.scaling import slurm
from emlib.cli.variants import Variants, reproduce_variants
from emlib.cli.vast import data_vast
from emlib.cli.volumes import evaluate, predict, segment

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


@data_app.command("map")
def data_map(
    root: Annotated[Path, typer.Argument(help="folder that holds the folders of images and labels")],
    out: Annotated[Path | None, typer.Option(help="file to write; default: mapping.json in ROOT")] = None,
    name: Annotated[str, typer.Option(help="name of the list in the file")] = "official",
    images: Annotated[str, typer.Option(help="name of the folder of images")] = "images",
    labels: Annotated[str, typer.Option(help="name of the folder of labels")] = "labels",
    without_labels: Annotated[bool, typer.Option(help="images without a label are allowed")] = False,
    quick: Annotated[bool, typer.Option(help="compare sizes only, do not decode every file")] = False,
    overwrite: Annotated[bool, typer.Option(help="replace a list that is there")] = False,
) -> None:
    """Pair images and labels by name, check every pair, and write the list as JSON."""
    from emlib.data import write_mapping

    summary = write_mapping(
        root,
        out,
        key=name,
        images=images,
        labels=labels,
        need_labels=not without_labels,
        decode=not quick,
        overwrite=overwrite,
    )
    low, high = (f"{y} x {x}" for y, x in (summary.smallest, summary.largest))
    cells = "" if summary.cells is None else f", {summary.cells} cells"
    print(f"{summary.path}: {summary.images} images ({low} to {high}), {summary.labelled} with labels{cells}")


data_app.command("coco")(data_coco)
data_app.command("vast")(data_vast)


@recipe_app.command("show")
def recipe_show(
    track: Track,
    profile: Profile = "smoke",
    variant: Variant = None,
    overrides: Override = [],  # noqa: B006
) -> None:
    """Print the whole recipe as YAML, defaults included, with its hash."""
    from emlib.recipe import load_recipe

    recipe = load_recipe(track, profile=profile, variant=variant, overrides=overrides)
    print(f"# hash {recipe.hash}\n{recipe.to_yaml()}", end="")


@recipe_app.command("list")
def recipe_list() -> None:
    """List the tracks that have a recipe, each with its variants."""
    from emlib.recipe import list_tracks, list_variants, load_recipe

    for track in list_tracks():
        print(f"{track:26} {load_recipe(track).title}")
        for name, description in list_variants(track).items():
            print(f"  --variant {name:14} {description}".rstrip())


@app.command()
def train(
    track: Track,
    profile: Profile = "smoke",
    variant: Variant = None,
    overrides: Override = [],  # noqa: B006
    out: Annotated[Path, typer.Option(help="output folder; an interrupted run there is resumed")] = Path("runs/train"),
    data: Annotated[Path | None, typer.Option(help="folder of prepared data; default: prepared in OUT/data")] = None,
    data_dir: DataDir = None,
    device: Device = "auto",
) -> None:
    """Train a track's network, on one device or under torchrun on several. Prints the best checkpoint.

    On two GPUs: CUDA_VISIBLE_DEVICES=0,1 torchrun --nproc_per_node=2 -m emlib train TRACK. Each process takes one GPU
    (without GPUs all share the CPU), gradients are averaged (DDP), batch norms synchronised (training.sync_batchnorm).
    training.batch_size counts the samples of one process. Mixed precision: -s training.precision=bf16, or "'16'".
    """
    from emlib.recipe import load_recipe
    from emlib.training import train as run_training

    recipe = load_recipe(track, profile=profile, variant=variant, overrides=overrides)
    print(run_training(recipe, out, data=data, data_dir=data_dir, device=device))


for command in (predict, segment, evaluate, deploy, slurm):
    app.command()(command)


@app.command()
def reproduce(
    tracks: Annotated[list[str] | None, typer.Argument(help="tracks or notebooks; none is all")] = None,
    profile: Profile = "smoke",
    variant: Annotated[str | None, typer.Option(help="the same as -p variant=NAME")] = None,
    variants: Variants = [],  # noqa: B006
    parameters: Parameter = [],  # noqa: B006
    out: Annotated[Path, typer.Option(help="output folder")] = Path("runs"),
    fresh: Annotated[bool, typer.Option(help="remove earlier results of these runs first")] = False,
    control: Annotated[
        bool, typer.Option(help="shuffled labels: succeeds only if every track's scores leave their bands")
    ] = False,
    update_notebooks: Annotated[bool, typer.Option(help="store the outputs in the notebooks themselves")] = False,
) -> None:
    """Run notebooks with papermill and judge every metric; exit status 1 if anything is off.

    With --variants the notebooks of one track are run once for each variant of its recipe, in OUT/variants/NAME, and
    what they measured is kept in one table, OUT/TRACK/PROFILE/variants.html (.csv, .json), beside what was published.
    The table has a row for every variant and is filled call by call; a variant that is run again replaces its row, so
    another seed belongs in another OUT. If one fails, the others are run all the same. Bands do not apply to variants.
    """
    if variants:
        refused = {"--variant": variant is not None, "--control": control, "--update-notebooks": update_notebooks}
        options = {"profile": profile, "parameters": key_values(parameters), "out": out, "fresh": fresh}
        raise typer.Exit(reproduce_variants(tracks or [], variants, refused=refused, **options))
    from emlib.reproduction.driver import find_notebooks_folder, list_notebooks
    from emlib.reproduction.driver import reproduce as run_notebooks
    from emlib.reproduction.report import format_table, write_reports

    values = key_values(parameters) | ({"shuffle_labels": True} if control else {})
    values |= {} if variant is None else {"variant": variant}
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
        tracks or [], profile=profile, seeds=numbers, parameters=key_values(parameters), out_dir=out
    ):
        print(f"written: {path}")
