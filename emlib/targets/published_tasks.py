"""The numbered tasks of the EM Mitochondria Pipeline, as target options."""

from __future__ import annotations

import numpy as np
import torch

from emlib.targets.options import build_target

TASKS = {0: "2", 1: "0", 2: "0", 11: "1", 22: "22"}


def task_option(task: int) -> str:
    """The target option of a task: what `build_target` and a recipe's `target.outputs` call it.

    | task | option | channels |
    |---|---|---|
    | 0 affinity | `2` | 3: z, y, x |
    | 1 synapse | `0` | 1: mask |
    | 11 synapse polarity | `1` | 3: odd ids, even ids, both |
    | 2 mitochondria | `0` | 1: mask |
    | 22 skeleton distance | `22` | 1: -1 ... 1 |

    Raises:
        ValueError: another task.

    Example:
        >>> task_option(11)
        '1'
    """
    if isinstance(task, bool) or task not in TASKS:
        raise ValueError(f"There is no task {task!r}; the tasks are {', '.join(map(str, TASKS))}.")
    return TASKS[task]


def task_target(labels: np.ndarray | torch.Tensor, task: int) -> np.ndarray | torch.Tensor:
    """The target of a numbered task: `build_target(labels, task_option(task))`.

    Example:
        >>> task_target(np.array([[[0, 1, 2]]]), 11)[:, 0, 0]
        array([[0., 1., 0.],
               [0., 0., 1.],
               [0., 1., 1.]], dtype=float32)
    """
    return build_target(labels, task_option(task))
