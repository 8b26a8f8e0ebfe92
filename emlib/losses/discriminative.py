"""Discriminative loss: voxels of an object draw together in the embedding, objects keep apart."""

from __future__ import annotations

import torch

from emlib.losses.option_values import check_option

NORMALIZATIONS = ("published", "paper")


def discriminative_loss(
    embedding: torch.Tensor,
    labels: torch.Tensor,
    weight: torch.Tensor | None = None,
    *,
    delta_var: float = 0.5,
    delta_dist: float = 1.5,
    alpha: float = 1.0,
    beta: float = 1.0,
    gamma: float = 0.001,
    background: bool = False,
) -> torch.Tensor:
    """alpha L_var + beta L_dist + gamma L_reg over the instances of each sample, mean over samples that have any.

    With mu_c the mean of the embeddings x of instance c, of C instances:
    L_var = mean over c of the mean over its voxels of max(0, |x - mu_c| - delta_var)^2,
    L_dist = mean over pairs of max(0, 2 delta_dist - |mu_a - mu_b|)^2, 0 for a single instance,
    L_reg = mean over c of |mu_c|.

    Args:
        embedding: (n, e, z, y, x) or (n, e, y, x).
        labels: (n, 1, z, y, x) or (n, 1, y, x): ids of instances, of any integer type or whole numbers in float; 0 is
            background. An id means an instance within its sample only.
        weight: of every voxel in mu and L_var, broadcasts to the labels' shape; voxels of weight 0 take no part.
        delta_var: distance to mu that costs nothing.
        delta_dist: half the distance between two mu that costs nothing.
        alpha, beta, gamma: factors of the three terms.
        background: take the background for one instance more; a sample of it alone has one then.

    Returns:
        Scalar, float32 (float64 for float64). Without any instance 0, with gradient 0.

    Raises:
        ValueError: shapes that do not fit, labels that are not whole numbers from 0 on, or an option out of range.

    Source: De Brabandere et al., "Semantic instance segmentation with a discriminative loss function", 2017.

    Example:
        >>> labels = torch.tensor([0, 5, 5, 9]).view(1, 1, 1, 4)
        >>> embedding = torch.tensor([7.0, -1.0, 1.0, 2.0]).view(1, 1, 1, 4)
        >>> float(discriminative_loss(embedding, labels, gamma=0.0))  # L_var (0.25 + 0) / 2, L_dist (3 - 2) ** 2
        1.125
    """
    options = {"delta_var": delta_var, "delta_dist": delta_dist, "alpha": alpha, "beta": beta, "gamma": gamma}
    for key, value in (options | {"background": background}).items():
        check_option("Discriminative", key, value)
    clusters = _whole_numbers(labels)
    return _mean_over_samples(embedding, clusters, weight, 1, background, options)


def discriminative_two_class_loss(
    embedding: torch.Tensor,
    target: torch.Tensor,
    weight: torch.Tensor | None = None,
    *,
    delta_var: float = 0.5,
    delta_dist: float = 1.5,
    alpha: float = 1.0,
    beta: float = 1.0,
    gamma: float = 1e-4,
    normalization: str = "published",
) -> torch.Tensor:
    """The discriminative loss of two clusters, foreground and background, as the EM mitochondria pipeline has it.

    Samples of one class only are left out. There L_dist is divided by 2 C (C - 1), although both orders of each pair
    are in the sum divided, so that a pair counts half of what it does in the paper; `normalization="paper"` is without
    that half. Objects are not told apart by it: that is `discriminative_loss`.

    Args:
        target: as `labels` there, a mask or labels; foreground is > 0.
        normalization: "published", or "paper".
        embedding, weight, delta_var, delta_dist, alpha, beta, gamma: as there.

    Returns:
        Scalar, float32 (float64 for float64). If every sample is of one class 0, with gradient 0; there it stops.

    Raises:
        ValueError: shapes that do not fit, or an option out of range.

    Example:
        >>> target = torch.tensor([0, 0, 5, 9]).view(1, 1, 1, 4)
        >>> embedding = torch.tensor([0.0, 0.0, 2.0, 2.0]).view(1, 1, 1, 4)
        >>> [float(discriminative_two_class_loss(embedding, target, gamma=0.0, normalization=n))
        ...  for n in ("published", "paper")]
        [0.5, 1.0]
    """
    options = {"delta_var": delta_var, "delta_dist": delta_dist, "alpha": alpha, "beta": beta, "gamma": gamma}
    for key, value in options.items():
        check_option("DiscriminativeTwoClasses", key, value)
    check_option("DiscriminativeTwoClasses", "normalization", normalization, NORMALIZATIONS)
    if normalization == "published":
        options["beta"] = beta / 2
    return _mean_over_samples(embedding, (target > 0).to(torch.int64), weight, 2, True, options)


def _mean_over_samples(
    embedding: torch.Tensor,
    clusters: torch.Tensor,
    weight: torch.Tensor | None,
    least: int,
    background: bool,
    options: dict[str, float],
) -> torch.Tensor:
    """Mean over the samples with at least `least` clusters, of which 0 is one if `background` is set."""
    expected = (embedding.shape[0], 1, *embedding.shape[2:]) if embedding.ndim in (4, 5) else ()
    if tuple(clusters.shape) != expected:
        shapes = f"{tuple(embedding.shape)} and the target {tuple(clusters.shape)}"
        raise ValueError(f"The embedding has shape {shapes}; (n, e, [z,] y, x) and (n, 1, [z,] y, x) were expected.")
    if weight is not None:
        try:
            weight = weight.broadcast_to(clusters.shape)
        except RuntimeError as error:
            shapes = f"{tuple(weight.shape)} does not broadcast to the target's {tuple(clusters.shape)}"
            raise ValueError(f"The weight's shape {shapes}.") from error
    with torch.autocast(embedding.device.type, enabled=False):
        embedding = embedding if embedding.dtype == torch.float64 else embedding.float()
        values = []
        for number, sample in enumerate(embedding):
            ids = clusters[number, 0].flatten()
            share = None if weight is None else weight[number, 0].flatten().to(embedding.dtype)
            part = torch.ones_like(ids, dtype=torch.bool) if background else ids != 0
            part = part if share is None else part & (share > 0)
            found, index = torch.unique(ids[part], return_inverse=True)
            if len(found) >= least:
                vectors = sample.flatten(1)[:, part].T
                values.append(_terms(vectors, index, len(found), None if share is None else share[part], **options))
        # Part of the graph also without any, so that every weight of a network has a gradient.
        return torch.stack(values).mean() if values else 0 * embedding.sum()


def _terms(
    vectors: torch.Tensor,
    index: torch.Tensor,
    count: int,
    share: torch.Tensor | None,
    *,
    delta_var: float,
    delta_dist: float,
    alpha: float,
    beta: float,
    gamma: float,
) -> torch.Tensor:
    """One sample: vectors (voxels, e), the cluster of each, and its weight."""
    share = torch.ones_like(vectors[:, 0]) if share is None else share
    each = share / share.new_zeros(count).index_add(0, index, share)[index]
    # A million float32 added up one by one lose digits; the mean of what a first mean leaves over has them.
    with torch.no_grad():
        rough = vectors.new_zeros(count, vectors.shape[1]).index_add(0, index, vectors * each[:, None])
    rest = (vectors - rough[index]) * each[:, None]
    centres = rough + torch.zeros_like(rough).index_add(0, index, rest)
    distance = torch.linalg.vector_norm(vectors - centres[index], dim=1)
    loss = alpha * ((distance - delta_var).clamp(min=0) ** 2 * each).sum() / count
    if count > 1:
        loss = loss + beta * ((2 * delta_dist - torch.pdist(centres)).clamp(min=0) ** 2).mean()
    return loss + gamma * torch.linalg.vector_norm(centres, dim=1).mean()


def _whole_numbers(labels: torch.Tensor) -> torch.Tensor:
    """Labels as int64; ids of 64 bits without a sign keep theirs as a pattern of bits."""
    if labels.dtype == torch.uint64:
        return labels.view(torch.int64)
    if labels.is_floating_point() and not bool((labels == labels.round()).all()):
        raise ValueError("The labels hold fractions or NaN, but ids of instances, whole numbers, were expected.")
    whole = labels.to(torch.int64)
    if labels.numel() and int(whole.min()) < 0:
        raise ValueError(f"The labels go down to {int(whole.min())}, but ids from 0 (background) on were expected.")
    return whole
