"""What happens before the first iteration: settings checked, the output folder and the data opened."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from emlib.atomic import explain_write_error, try_folder
from emlib.inference.windows import check_divisible
from emlib.models.mask_rcnn import MaskRCNN
from emlib.recipe import ImageRecipe, InstanceRecipe, Recipe
from emlib.training import checkpoint as checkpoints
from emlib.training.material import data_functions
from emlib.training.resume import check_same_training
from emlib.training.validation import Evaluation


def check_settings(recipe: Recipe, evaluate: Evaluation | None) -> None:
    """Refuse settings that contradict each other.

    Raises:
        ValueError: two kinds of clipping, or an evaluation that would never run.
    """
    settings = recipe.training
    if settings.clip_norm is not None and settings.clip_value is not None:
        raise ValueError("training.clip_norm and training.clip_value are both set; clip by one of them.")
    if evaluate is not None and not settings.evaluate_every:
        raise ValueError("evaluate was given, but training.evaluate_every is 0, so it would never be called.")


def check_network(recipe: Recipe, network: nn.Module, evaluate: Evaluation | None) -> None:
    """Refuse a network for other data or another target, and windows that it cannot halve as often as it needs to.

    Raises:
        ValueError: the window of the training, or of the evaluation while training, with the nearest that fit; a
            network of images for volumes, or the other way round; one that detects objects for another target, or the
            other way round, or that would start from nothing and cannot; classes from a network without softmax.
    """
    name, of_images = recipe.model.name, isinstance(recipe, ImageRecipe)
    if len(network.min_divisor) != (2 if of_images else 3):
        kinds = ("images", "volumes") if len(network.min_divisor) == 2 else ("volumes", "images")
        raise ValueError(f"model.name is '{name}', a network of {kinds[0]}, but the recipe is of {kinds[1]}.")
    if isinstance(network, MaskRCNN) != isinstance(recipe, InstanceRecipe):
        detects = isinstance(network, MaskRCNN)
        kinds = ("detects objects", "images") if detects else ("does not detect objects", "instances")
        raise ValueError(f"model.name is '{name}', a network that {kinds[0]}, but data.kind is '{kinds[1]}'.")
    windows = [recipe.training.window]
    if recipe.training.evaluate_every and evaluate is None:
        windows.append(recipe.inference.window)
    for window in windows:
        if window is not None:
            check_divisible(window, network.min_divisor)
    if isinstance(recipe, InstanceRecipe):
        _refuse_fresh_and_frozen(recipe, network)
    elif of_images and recipe.target.has_classes and getattr(network, "output", None) != "softmax":
        raise ValueError(
            f"target.outputs are classes, of which every pixel has one, but model.name, '{name}', "
            "does not end in a softmax over them; the networks monai_unet, unetr and swin_unetr do with "
            "model.settings.output."
        )


def check_outputs(recipe: Recipe, network: nn.Module, task: Any, evaluate: Evaluation | None) -> None:
    """Refuse a network that puts out something else than the recipe's targets and losses want.

    Raises:
        ValueError: an auxiliary output that no loss takes, or a loss that wants one; values from -1 to 1 from a network
            that ends in a sigmoid, or probabilities from one that ends in a tanh; a prior of something else than one
            mask, or an evaluation while training that would have no prior.
    """
    if isinstance(recipe, ImageRecipe):
        return
    name, outputs, settings = recipe.model.name, recipe.target.outputs, recipe.training
    has_auxiliary = getattr(network, "auxiliary", False) is True
    if has_auxiliary and not task.takes_auxiliary:
        raise ValueError(
            "model.settings.auxiliary is true, but no loss of target.outputs takes it: see the Aux losses."
        )
    if task.takes_auxiliary and not has_auxiliary:
        raise ValueError(
            f"The loss {task.takes_auxiliary[0]} of target.outputs wants an auxiliary output, but model.name, "
            f"'{name}', has none; unetv3 has with model.settings.auxiliary true."
        )
    ends_in_tanh = getattr(network, "output", None) == "tanh"
    for output in outputs:
        is_signed = output.option == "22" or (output.option or "").startswith("7")
        if ends_in_tanh and not is_signed:
            raise ValueError(
                f"model.settings.output is 'tanh', from -1 to 1, but target.outputs '{output.name}' is not: 'sigmoid'."
            )
        if output.option == "22" and not ends_in_tanh:
            raise ValueError(
                f"target.outputs '{output.name}' runs from -1 to 1, which model.name, '{name}', does not reach; "
                "unetv3 does with model.settings.output 'tanh'."
            )
    if not getattr(network, "needs_prior", False):
        return
    if len(outputs) != 1 or not (outputs[0].option or "").startswith("0"):
        raise ValueError(f"model.name is '{name}', whose prior is a mask, but target.outputs are not one mask.")
    if settings.evaluate_every and evaluate is None and recipe.inference.prior is None:
        raise ValueError(
            f"model.name is '{name}', which wants a prior, but inference.prior, from which the evaluation every "
            "training.evaluate_every iterations would take it, is not set."
        )


def _refuse_fresh_and_frozen(recipe: InstanceRecipe, network: nn.Module) -> None:
    if network.norm == "frozen" and recipe.model.backbone_weights is None and recipe.model.pretrained is None:
        raise ValueError(
            f"model.name is '{recipe.model.name}' with frozen normalisation, which needs the statistics of pretrained "
            "weights: set model.backbone_weights to a file of ImageNet weights of that backbone (of torchvision, for "
            "example), or model.settings.norm to 'group'."
        )


def open_folder(out_dir: Path, recipe: Recipe, resume: bool, say: Callable[[str], None]) -> Path | None:
    """See that the output folder can be made, clear away what a killed run left, and find the checkpoint to go on from.

    A new folder is made when there is something to write, so that a mistake in the data leaves none.

    Args:
        out_dir: the training's folder.
        recipe: must be the one that the folder was trained with.
        resume: False removes what an earlier training left.
        say: where a damaged checkpoint is reported.

    Raises:
        OSError: the folder cannot be written.
        ValueError: it holds a training with another recipe.
    """
    try:
        if not out_dir.is_dir():
            try_folder(out_dir)
            return None
        checkpoints.remove_leftovers(out_dir)
        if not resume:
            _start_over(out_dir)
    except FileExistsError:
        raise ValueError(f"{out_dir} is a file, but a folder for the training's output was expected.") from None
    except OSError as error:
        raise explain_write_error(error, out_dir) from error
    latest = checkpoints.find_latest(out_dir, report=say)
    if latest is not None:
        check_same_training(checkpoints.read_checkpoint(latest)["recipe"], recipe, out_dir)
    return latest


def open_data(
    recipe: Recipe, out_dir: Path, data: Any, data_dir: str | Path | None, fabric: Any, *, resumed: bool
) -> Any:
    """The training's data: what was given, a prepared folder, or `out_dir/data`, prepared now if need be.

    Raises:
        FileNotFoundError: the folder holds no prepared data.
        TypeError: `data` is neither a folder nor has a method `open`.
    """
    prepare, load = data_functions(recipe)
    if data is None:
        folder = out_dir / "data"
        # Before the first checkpoint nothing says that prepared data is this recipe's, so it is made anew.
        if fabric.is_global_zero and not (resumed and (folder / "prepared.json").is_file()):
            prepare(recipe, folder, data_dir=data_dir)
        fabric.barrier()
        return load(folder)
    if isinstance(data, str | Path):
        return load(data)
    if not callable(getattr(data, "open", None)):
        raise TypeError(f"data is a {type(data).__name__}, but a folder or an object with open(split) was expected.")
    return data


def describe(
    recipe: Recipe, options: dict[str, Any], channels: Sequence[str], voxel_size: Any, network: nn.Module
) -> dict[str, Any]:
    """What every checkpoint of a training says about itself, but for iteration and metrics."""
    names = list(channels)
    model = {
        "name": recipe.model.name,
        "in_channels": recipe.model.in_channels,
        "out_channels": len(names),
        "options": options,
        "channel_names": names,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
    }
    size = None if voxel_size is None else [float(length) for length in voxel_size]
    dump = recipe.model_dump(mode="json")
    return {"model": model, "voxel_size": size, "recipe_hash": recipe.hash, "recipe": dump}


def _start_over(out_dir: Path) -> None:
    for path in checkpoints.list_checkpoints(out_dir):
        shutil.rmtree(path)
    if (out_dir / "tensorboard").is_dir():
        shutil.rmtree(out_dir / "tensorboard")
    for name in (checkpoints.BEST, "training.csv"):
        (out_dir / name).unlink(missing_ok=True)
