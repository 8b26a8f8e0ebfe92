"""Which images are of one modality, found from an encoder's features where nobody wrote it down (MEDIAR)."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np

from emlib.atomic import write_text
from emlib.randomness import numpy_generator

RESTARTS = 10
MOST_ROUNDS = 300
COLUMNS = ("name", "group")


def discover_modalities(
    embeddings: Any, *, clusters: int = 40, seed: int = 0, standardize: bool = True, restarts: int = RESTARTS
) -> ModalityClusters:
    """Divide images into groups that look alike, by k-means of their embeddings.

    MEDIAR (NeurIPS 2022) did so with 1,000 images and 40 clusters, from the embeddings of its pre-trained encoder, to
    repeat the images of small clusters in training (`amplify`). Its program for it is not published.

    Each of the restarts begins with centres that lie apart ("k-means++", Arthur & Vassilvitskii 2007) and goes on until
    no image changes its cluster; that of the least inertia is taken. A cluster that loses its last image gets the one
    that lies farthest from its own centre.

    Args:
        embeddings: (images, features), for example from `emlib.inference.embed_images`.
        clusters: how many, at most as many as there are different embeddings.
        seed: the same seed gives the same clusters.
        standardize: divide each feature by its standard deviation first, so that those with large values do not decide
            alone.
        restarts: how often to start.

    Returns:
        ModalityClusters. Clusters are numbered from the largest to the smallest; of equal ones, that with the earliest
        image comes first.

    Raises:
        TypeError: embeddings that are no numbers.
        ValueError: embeddings of another shape or not finite, fewer (different) images than clusters, or a number
            below 1.

    Example:
        >>> found = discover_modalities([[0.0, 1.0], [9.0, 8.0], [0.1, 1.0], [0.0, 1.1]], clusters=2)
        >>> found.groups.tolist(), found.sizes
        ([0, 1, 0, 0], [3, 1])
    """
    values = _checked(embeddings, clusters, restarts)
    data = values - values.mean(axis=0)
    if standardize:
        spread = values.std(axis=0)
        # A constant feature says nothing; nor does one whose spread is rounding.
        says = spread > 1e-12 * np.maximum(np.abs(values).max(axis=0), np.finfo(np.float64).tiny)
        data = np.where(says, data / np.where(says, spread, 1), 0)
    different = len(np.unique(data, axis=0))
    if different < clusters:
        raise ValueError(f"There are {different} different embeddings, but {clusters} clusters were asked for.")
    runs = [_k_means(data, clusters, numpy_generator(seed, "modalities", start)) for start in range(restarts)]
    labels, inertia = min(runs, key=lambda run: run[1])
    sizes, first = np.bincount(labels, minlength=clusters), [int(np.argmax(labels == one)) for one in range(clusters)]
    order = sorted(range(clusters), key=lambda one: (-sizes[one], first[one]))
    groups = np.argsort(order)[labels]
    centers = np.stack([values[groups == one].mean(axis=0) for one in range(clusters)])
    return ModalityClusters(groups, centers, inertia)


def cluster_purity(groups: Sequence[Any], modalities: Sequence[Any]) -> float:
    """Share of the images whose cluster mostly holds images of their own, known modality: 1 is perfect.

    More clusters make it larger; with one image a cluster it is 1.

    Raises:
        ValueError: no image, or not one group and one modality for each.

    Example:
        >>> cluster_purity([0, 0, 0, 1], ["phase", "phase", "stained", "stained"])
        0.75
    """
    if len(groups) != len(modalities) or not len(groups):
        raise ValueError(f"There are {len(groups)} groups and {len(modalities)} modalities, but one each was expected.")
    _, of_group = np.unique(np.asarray(groups), return_inverse=True)
    _, of_modality = np.unique(np.asarray(modalities), return_inverse=True)
    table = np.zeros((of_group.max() + 1, of_modality.max() + 1), np.int64)
    np.add.at(table, (of_group, of_modality), 1)
    return float(table.max(axis=1).sum() / len(groups))


def save_groups(path: str | Path, names: Sequence[str], groups: Sequence[int | str]) -> Path:
    """Write each image's group as a table (csv) with the columns name and group: all or nothing.

    Args:
        path: the file; `training.groups` of a recipe names it.
        names: the images', such as `PreparedImages.open("train").names`.
        groups: numbers or names.

    Returns:
        `path`.

    Raises:
        ValueError: no image, not one group for each name, a name twice, or an empty one.
        OSError: it cannot be written.

    Example:
        >>> import tempfile
        >>> path = save_groups(Path(tempfile.mkdtemp()) / "groups.csv", ["a/1", "a/2"], [1, 0])
        >>> load_groups(path)
        {'a/1': 1, 'a/2': 0}
    """
    if len(names) != len(groups) or not len(names):
        raise ValueError(f"There are {len(names)} names and {len(groups)} groups, but one group a name was expected.")
    rows = [(str(name), str(group)) for name, group in zip(names, groups, strict=True)]
    _check_rows(rows, "The table of groups")
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows([COLUMNS, *rows])
    return write_text(path, stream.getvalue())


def load_groups(path: str | Path) -> dict[str, int | str]:
    """Name of the image -> group, as `save_groups` wrote it or somebody by hand; groups are numbers if all are whole.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it holds no such table; names the line.
    """
    path = Path(path)
    try:
        lines = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline=""), strict=True))
    except FileNotFoundError:
        raise FileNotFoundError(f"There is no table of groups {path}.") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is no table of groups (csv): {error}.") from None
    if not lines or not set(COLUMNS) <= set(lines[0]):
        found = f"has the columns {', '.join(lines[0])}" if lines and lines[0] else "has none"
        raise ValueError(f"{path} {found}, but {' and '.join(COLUMNS)} were expected.")
    places = [lines[0].index(column) for column in COLUMNS]
    rows = []
    for number, line in enumerate(lines[1:], start=2):
        if line:
            if len(line) != len(lines[0]):
                raise ValueError(f"{path} has {len(line)} values in row {number}, but {len(lines[0])} were expected.")
            rows.append((line[places[0]], line[places[1]]))
    if not rows:
        raise ValueError(f"{path} names no image.")
    _check_rows(rows, str(path))
    whole = all(group.isdecimal() and group.isascii() for _, group in rows)
    return {name: int(group) if whole else group for name, group in rows}


def _checked(embeddings: Any, clusters: int, restarts: int) -> np.ndarray:
    values = np.asarray(embeddings)
    if values.dtype.kind not in "buif":
        raise TypeError(f"The embeddings are {values.dtype}, but numbers were expected.")
    if values.ndim != 2 or 0 in values.shape:
        raise ValueError(f"The embeddings have shape {values.shape}, but (images, features) was expected.")
    for name, number in (("clusters", clusters), ("restarts", restarts)):
        if isinstance(number, bool) or not isinstance(number, Integral) or number < 1:
            raise ValueError(f"{name} is {number!r}, but a whole number of at least 1 was expected.")
    if len(values) < clusters:
        raise ValueError(f"There are {len(values)} images, but {clusters} clusters were asked for.")
    broken = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if broken.size:
        raise ValueError(f"The embedding of image {broken[0]} is not finite.")
    return values.astype(np.float64)


def _k_means(data: np.ndarray, clusters: int, generator: np.random.Generator) -> tuple[np.ndarray, float]:
    """Each row's cluster, none of them empty, and the sum of squared distances to the centres."""
    from scipy.cluster.vq import kmeans2, vq

    # Its start only: kmeans2 neither stops when it is done nor fills clusters that ran empty.
    _, labels = kmeans2(data, clusters, iter=1, minit="++", rng=generator)
    for _ in range(MOST_ROUNDS):
        labels, centers = _means(data, labels, clusters)
        nearest = vq(data, centers)[0]
        if np.array_equal(nearest, labels):
            break
        labels = nearest
    labels, centers = _means(data, labels, clusters)
    return labels, float(np.square(data - centers[labels]).sum())


def _means(data: np.ndarray, labels: np.ndarray, clusters: int) -> tuple[np.ndarray, np.ndarray]:
    """The clusters' means, after each empty cluster got the row that lies farthest from the mean of its own."""
    labels, centers = labels.copy(), np.zeros((clusters, data.shape[1]))
    sizes = np.bincount(labels, minlength=clusters)
    np.add.at(centers, labels, data)
    centers /= np.maximum(sizes, 1)[:, None]
    for empty in np.flatnonzero(sizes == 0):
        distances = np.where(sizes[labels] > 1, np.square(data - centers[labels]).sum(axis=1), -1)
        farthest = int(np.argmax(distances))
        donor, labels[farthest] = labels[farthest], empty
        sizes[donor], sizes[empty] = sizes[donor] - 1, 1
        for one in (donor, empty):
            centers[one] = data[labels == one].mean(axis=0)
    return labels, centers


def _check_rows(rows: Sequence[tuple[str, str]], where: str) -> None:
    seen = set()
    for name, group in rows:
        if not name or not group:
            raise ValueError(f"{where} has the name '{name}' with the group '{group}', but both must be given.")
        if name in seen:
            raise ValueError(f"{where} names the image {name} twice.")
        seen.add(name)


@dataclass(frozen=True)
class ModalityClusters:
    """What was found.

    Attributes:
        groups: int (images,), the cluster of each, from 0.
        centers: float64 (clusters, features), the means of their embeddings.
        inertia: sum of the squared distances to the centres, after standardisation if there was one.
    """

    groups: np.ndarray
    centers: np.ndarray
    inertia: float

    @property
    def sizes(self) -> list[int]:
        """Images in each cluster, the largest first."""
        return np.bincount(self.groups, minlength=len(self.centers)).tolist()
