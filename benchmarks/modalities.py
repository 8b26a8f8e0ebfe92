"""Rare kinds of images and forgotten ones: what modality discovery and memory replay do for a network of cells.

    python benchmarks/modalities.py [--iterations 80] [--seeds 0 1 2] [--out modalities.csv]

For each seed a small MEDIAR-Former learns a generated "public" set of two modalities, and goes on with a new set of two
others, 39 images of one and 1 of the other. It does so in four ways: as it is; with the images of small clusters
repeated, where clusters are found from the features of the first network and nobody says which image is of which
modality; with one image of each batch from the public set (memory replay); and with both. All see equally many images.
The tables give the mean F1 at IoU 0.5 on other images of the majority, the minority and the old modalities, and by how
much each way differs from plain fine-tuning, seed by seed.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from emlib.atomic import atomic_path
from emlib.data import (
    PreparedImages,
    cluster_purity,
    discover_modalities,
    make_cell_set,
    prepare_image_data,
    save_cell_set,
    save_groups,
)
from emlib.evaluation import cell_f1
from emlib.inference import embed_images, predict_image_from_recipe
from emlib.randomness import derive_seed
from emlib.recipe import ImageRecipe, load_recipe
from emlib.training import load_model, train

OLD = {"stained": 8, "tissue": 8}
NEW = {"brightfield": 39, "fluorescence": 1}
ROLES = {"brightfield": "majority", "fluorescence": "minority", "stained": "old", "tissue": "old"}
CLUSTERS, REPEATED_TO = 6, 20
SHAPES = ((128, 128), (160, 160))
TEST_IMAGES, TEST_SIDE = 4, 192
QUIET = {
    "training.image_every": 0,
    "training.validate_every": 0,
    "training.save_every": 100_000,
    "training.schedule.warmup_iterations": 10,
    "data.source": "files",
    "data.split": {"train": 1.0, "validation": 0.0, "test": 0.0},
    "inference.augment": None,
    "inference.window": [TEST_SIDE, TEST_SIDE],
}
FIRST, PLAIN = "pre-trained", "fine-tuned"
WAYS = {"repeated": (True, False), "replay": (False, True), "repeated + replay": (True, True)}


def recipe_of(cells: Path, seed: int, iterations: int, *, variant: str | None = None, **more: Any) -> ImageRecipe:
    """The smoke recipe on a folder of images."""
    settings = {"seed": seed, "data.sets": [{"name": str(cells)}], "training.iterations": iterations}
    changes = QUIET | settings | {"training.amplify": 0} | more
    return load_recipe("5_cells_flows", variant=variant, overrides=changes)


def prepare(modalities: dict[str, int], seed: int, folder: Path, name: str) -> PreparedImages:
    """A generated set, as files."""
    pictures = make_cell_set(
        sum(modalities.values()), seed=derive_seed(seed, name), modalities=modalities, shapes=SHAPES
    )
    cells = save_cell_set(pictures, folder / f"{name} cells")
    return prepare_image_data(recipe_of(cells, seed, 1), folder / name)


def score(trained: Path, recipe: ImageRecipe, seed: int) -> dict[str, float]:
    """Mean F1 of every modality on images that no training has seen."""
    network, scores = load_model(trained), {}
    for modality in ROLES:
        shape = (TEST_SIDE, TEST_SIDE)
        pictures = make_cell_set(
            TEST_IMAGES, seed=derive_seed(seed, "test", modality), modalities=[modality], shapes=(shape, shape)
        )
        options = {"batch_size": 1, "progress": False}
        labels = [predict_image_from_recipe(network, picture.image, recipe, **options) for picture in pictures]
        pairs = zip(labels, pictures, strict=True)
        scores[modality] = statistics.mean(cell_f1(found, picture.labels).f1 for found, picture in pairs)
    return scores


def run(seed: int, iterations: int, folder: Path) -> tuple[dict[str, dict[str, float]], str]:
    """F1 by training and modality for one seed, and a sentence about the clusters."""
    old, new = prepare(OLD, seed, folder, "old"), prepare(NEW, seed, folder, "new")
    cells = folder / "new cells"
    scores, seconds = {}, []

    def learn(name: str, recipe: ImageRecipe, data: PreparedImages) -> None:
        started = time.process_time()
        train(recipe, folder / name, data=data, device="cpu", progress=False)
        seconds.append(time.process_time() - started)
        scores[name] = score(folder / name, recipe, seed)

    learn(FIRST, recipe_of(folder / "old cells", seed, 2 * iterations, variant="pretraining"), old)
    images = new.open("train")
    embeddings = embed_images(load_model(folder / FIRST), images, progress=False)
    found = discover_modalities(embeddings, clusters=CLUSTERS, seed=seed)
    save_groups(folder / "groups.csv", images.names, found.groups)
    start = {"model.pretrained": str(folder / FIRST)}
    learn(PLAIN, recipe_of(cells, seed, iterations, **start), new)
    for name, (repeated, replayed) in WAYS.items():
        changes = dict(start)
        if repeated:
            changes |= {"training.amplify": REPEATED_TO, "training.groups": str(folder / "groups.csv")}
        if replayed:
            changes |= {"training.replay": {"data": str(folder / "old")}}
        learn(name, recipe_of(cells, seed, iterations, **changes), new)
    purity = cluster_purity(found.groups, images.modalities)
    about = f"clusters of {found.sizes} images, purity {purity:.2f}; {statistics.mean(seconds):.0f} CPU s a training"
    return scores, about


def by_role(scores: dict[str, float]) -> dict[str, float]:
    """Mean over the modalities of each role."""
    return {
        role: statistics.mean(f1 for modality, f1 in scores.items() if ROLES[modality] == role)
        for role in dict.fromkeys(ROLES.values())
    }


def tables(results: dict[int, dict[str, dict[str, float]]]) -> list[str]:
    """Mean F1 by training and role, and the differences to plain fine-tuning, seed by seed."""
    roles = list(dict.fromkeys(ROLES.values()))
    names = [FIRST, PLAIN, *WAYS]
    lines = [f"mean F1 of {len(results)} seeds", f"{'':<20}" + "".join(f"{role:>12}" for role in roles)]
    figures = {name: [by_role(scores[name]) for scores in results.values()] for name in names}
    for name in names:
        means = [statistics.mean(one[role] for one in figures[name]) for role in roles]
        lines.append(f"{name:<20}" + "".join(f"{mean:>12.3f}" for mean in means))
    lines += ["", f"difference to '{PLAIN}', and that of each seed"]
    for name in WAYS:
        for role in roles:
            pairs = zip(figures[name], figures[PLAIN], strict=True)
            changes = [one[role] - other[role] for one, other in pairs]
            each = ", ".join(f"{change:+.3f}" for change in changes)
            lines.append(f"{name:<20}{role:>12}{statistics.mean(changes):>+10.3f}   ({each})")
    return lines


def write(path: Path, results: dict[int, dict[str, dict[str, float]]]) -> None:
    """One row a seed, training and modality."""
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("seed", "training", "modality", "role", "f1"))
        for seed, scores in results.items():
            for name, figures in scores.items():
                writer.writerows((seed, name, one, ROLES[one], f"{f1:.4f}") for one, f1 in figures.items())


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--iterations", type=int, default=80, help="of fine-tuning; pre-training takes twice as many")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, help="write all figures as csv")
    options = parser.parse_args(arguments)
    results = {}
    for seed in options.seeds:
        with tempfile.TemporaryDirectory() as folder:
            results[seed], about = run(seed, options.iterations, Path(folder))
        print(f"seed {seed}: {about}", flush=True)
        if options.out:
            write(options.out, results)
    print("\n" + "\n".join(tables(results)))


if __name__ == "__main__":
    main()
