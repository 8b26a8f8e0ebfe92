"""Seeded watershed by its definition."""

import heapq

import numpy as np


def flood_by_heap(levels, labels, lowest):
    """The definition, with one heap: take the highest level, then the oldest entry; label and queue neighbours."""
    labels, age = labels.copy(), 0
    queue = [
        (-int(levels[voxel]), 0, index, voxel) for index, voxel in enumerate(zip(*np.nonzero(labels), strict=True))
    ]
    queue = [entry for entry in queue if -entry[0] > lowest]
    heapq.heapify(queue)
    while queue:
        _, _, _, voxel = heapq.heappop(queue)
        for axis, step in ((0, -1), (1, -1), (2, -1), (2, 1), (1, 1), (0, 1)):
            near = list(voxel)
            near[axis] += step
            near = tuple(near)
            if not 0 <= near[axis] < levels.shape[axis] or labels[near] or levels[near] <= lowest:
                continue
            age += 1
            labels[near] = labels[voxel]
            heapq.heappush(queue, (-int(levels[near]), age, 0, near))
    return labels
