"""The training loop, from recipe to checkpoint, top to bottom."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm.auto import tqdm

from emlib.models import build_model, count_parameters
from emlib.progress import progress as show_progress
from emlib.randomness import derive_seed, random_state, restore_random_state, seed_everything
from emlib.recipe import Recipe
from emlib.training import checkpoint as checkpoints
from emlib.training.batch_norm import synchronize_batch_norm
from emlib.training.divergence import explain_divergence, refuse_broken_weights
from emlib.training.interruption import stop_requests, stop_training
from emlib.training.launch import launch
from emlib.training.material import own_evaluation, training_samples, validation_samples
from emlib.training.memory_order import use_fast_memory_order
from emlib.training.monitor import RATE, TrainingTable
from emlib.training.opening import check_network, check_outputs, check_settings, describe, open_data, open_folder
from emlib.training.optimizer import build_optimizer
from emlib.training.pictures import Pictures
from emlib.training.run_state import RunState
from emlib.training.samples import make_loader
from emlib.training.schedule import learning_rate_at
from emlib.training.starting_weights import start_weights
from emlib.training.tasks import training_task
from emlib.training.validation import Evaluation, measure, validation_loss


def train(
    recipe: Recipe,
    out_dir: str | Path,
    *,
    data: Any = None,
    data_dir: str | Path | None = None,
    device: str | torch.device | None = None,
    resume: bool = True,
    evaluate: Evaluation | None = None,
    progress: bool = True,
) -> Path:
    """Train a recipe's network; called again on the same folder it goes on where it stopped.

    It ends after `training.iterations`, or where `training.patience` measurements on validation brought nothing better.

    The result depends on the recipe and its seed. On the CPU it is the same bit for bit, whether or not the run was
    interrupted, killed and resumed, and whatever the number of data-loader workers. Started by torchrun, all its
    processes train together; `training.batch_size` counts samples per process.

    Written to `out_dir`: `checkpoint_000200/` (the newest ones and the best), `best.json` (which is the best: by the
    first figure of the evaluation, else by validation loss, else the last), `training.csv`, `tensorboard/`.

    Args:
        recipe: everything that can vary.
        out_dir: output folder; made if missing.
        data: a folder of `emlib.data.prepare_data` or `prepare_image_data`, or what these returned, or any object whose
            `open(split)` gives image (uint8) and labels (integer), both (z, y, x), of "train" and "validation"; for
            images a sequence of such pairs, (y, x, 3) and (y, x). None prepares `out_dir/data`.
        data_dir: where preparing looks for registered data sets.
        device: "cpu", "cuda", "cuda:1", or "auto" or None for a GPU if there is one.
        resume: False deletes the checkpoints in `out_dir` and starts over.
        evaluate: (network, iteration) -> figures, called every `training.evaluate_every` iterations and at the end on
            process 0; its first figure chooses the best checkpoint (higher is better). None runs inference,
            post-processing and scoring as the recipe says on the validation split.
        progress: show progress; False is silent.

    Returns:
        The folder of the best checkpoint.

    Raises:
        ValueError: a setting that cannot work, another recipe than that of the training in `out_dir`, or a loss that
            is no longer finite (with the iteration and the samples).
        OSError: `out_dir` cannot be written; earlier checkpoints stay intact.
        KeyboardInterrupt: Ctrl-C, after a checkpoint was written. SIGTERM does the same and raises SystemExit.
    """
    settings, out_dir = recipe.training, Path(out_dir)
    check_settings(recipe, evaluate)
    fabric = launch(device=device, precision=settings.precision)
    say = tqdm.write if progress and fabric.is_global_zero else _silent

    # Network and losses come first, so that a misspelt setting is found before data is fetched and prepared.
    seed_everything(recipe.seed)
    task, options = training_task(recipe), recipe.model.options()
    channels = {"in_channels": recipe.model.in_channels, "out_channels": task.out_channels}
    network = build_model(recipe.model.name, **channels, **options)
    check_network(recipe, network, evaluate)
    check_outputs(recipe, network, task, evaluate)

    # Where are we? Process 0 looks at the folder for all.
    found = open_folder(out_dir, recipe, resume, say) if fabric.is_global_zero else None
    latest: Path | None = fabric.broadcast(found)
    state = RunState()
    if latest is not None:
        stored = checkpoints.read_state(latest)
        state, options = RunState(**stored["run"]), checkpoints.read_checkpoint(latest)["model"]["options"]
        if state.best and not (out_dir / state.best["checkpoint"]).is_dir():
            state.best = None
        if state.best is None:
            state.offer("iteration", state.iteration, latest.name)
        if fabric.is_global_zero:
            # The run may have been killed after its checkpoint was written and before this was done.
            _point_to_best(out_dir, state, settings.keep_last)
        if state.iteration >= settings.iterations or state.is_stale(settings.patience):
            say(f"{out_dir} is trained: {state.iteration} iterations are done.")
            return checkpoints.resolve_checkpoint(out_dir)

    loaded = start_weights(network, latest, recipe.model, say)

    # Data. A sample is known by its number: neither processes, nor workers, nor interruptions change the order.
    data = open_data(recipe, out_dir, data, data_dir, fabric, resumed=latest is not None)
    task.follow_data(network, data, options, fabric, say)
    batch_of_all = settings.batch_size * fabric.world_size * settings.accumulate
    first, stop = state.samples, state.samples + (settings.iterations - state.iteration) * batch_of_all
    samples = training_samples(recipe, data, length=stop, batch_size=batch_of_all)
    order = range(first + fabric.global_rank, stop, fabric.world_size)
    on_gpu = fabric.device.type == "cuda"
    loader = make_loader(samples, order, batch_size=settings.batch_size, workers=settings.workers, pin_memory=on_gpu)

    if settings.sync_batchnorm and fabric.world_size > 1:
        network = synchronize_batch_norm(network, fabric.device.type, say)
    network = use_fast_memory_order(network).train()
    optimizer = build_optimizer(network, settings.optimizer)
    model, stepper = fabric.setup(network, optimizer)
    if latest is not None:
        optimizer.load_state_dict(stored["optimizer"])
        fabric.strategy.precision.load_state_dict(stored["precision"])
        restore_random_state(stored["random"])
    names = ["loss", *task.loss_names]

    # What is measured on the way.
    held_out = None
    if settings.validate_every:
        held_out = validation_samples(recipe, data, network)
    if settings.evaluate_every and evaluate is None:
        evaluate = own_evaluation(recipe, data)
    table = pictures = None
    if fabric.is_global_zero:
        out_dir.mkdir(parents=True, exist_ok=True)
        table = TrainingTable(out_dir / "training.csv", names[1:], until=state.iteration)
        pictures = Pictures(out_dir, start=state.iteration, pairs=task.pairs)
    description = describe(recipe, options, task.channel_names, samples.voxel_size, network)
    description |= {} if loaded is None else {"pretrained": loaded}

    where = f"{fabric.device.type}" + (f", {fabric.world_size} processes" if fabric.world_size > 1 else "")
    parameters = f"{count_parameters(network):,} parameters"
    say(f"training {recipe.model.name} ({parameters}, {where}): {state.iteration} -> {settings.iterations} iterations")
    started = row_started = time.perf_counter()
    begun = row_begun = state.iteration
    try:
        with stop_requests() as stop_request:
            batches = iter(loader)
            iterations = range(state.iteration, settings.iterations)
            shown = progress and fabric.is_global_zero
            for iteration in show_progress(iterations, label="training", initial=begun, show=shown):
                # One update. The global generators (dropout) start anew from (seed, iteration, process).
                seed_everything(derive_seed(recipe.seed, "iteration", iteration, fabric.global_rank))
                rate = learning_rate_at(iteration, settings, base=state.plateau.rate)
                for group in optimizer.param_groups:
                    group["lr"] = rate
                sums = torch.zeros(len(names) + 1, dtype=torch.float64, device=fabric.device)
                seen = []
                for step in range(settings.accumulate):
                    batch = fabric.to_device(next(batches))
                    seen.append(batch)
                    with fabric.no_backward_sync(model, enabled=step + 1 < settings.accumulate):
                        total, parts, said = task.losses(model, batch)
                        fabric.backward(total / settings.accumulate)
                    sums[:-1] += torch.stack([total.detach(), *(parts[name] for name in names[1:])]).double()
                # One exchange an iteration: mean losses, and whether any process was asked to stop.
                sums[:-1] /= settings.accumulate
                sums[-1] = float(stop_request.signal is not None)
                *means, stopping = fabric.all_reduce(sums, reduce_op="mean").tolist()
                losses = dict(zip(names, means, strict=True))
                if not all(torch.isfinite(torch.tensor(means))):
                    raise ValueError(explain_divergence(iteration + 1, losses, float(sums[0]), seen))
                if settings.clip_norm is not None:
                    fabric.clip_gradients(model, stepper, max_norm=settings.clip_norm, error_if_nonfinite=False)
                if settings.clip_value is not None:
                    fabric.clip_gradients(model, stepper, clip_val=settings.clip_value)
                stepper.step()
                optimizer.zero_grad()
                state.iteration, state.samples = iteration + 1, state.samples + batch_of_all
                state.add(losses)
                if settings.schedule.plateau is not None:
                    state.plateau.watch(losses["loss"], settings.schedule.plateau, settings.optimizer.learning_rate)

                # Measure.
                last = state.iteration == settings.iterations
                here = checkpoints.checkpoint_path(out_dir, state.iteration)
                row: dict[str, float] = {}
                improved = measured = gives_up = False
                if held_out is not None and (last or _due(state.iteration, settings.validate_every)):
                    row["validation_loss"], measured = validation_loss(fabric, network, task, held_out), True
                if evaluate is not None and (last or _due(state.iteration, settings.evaluate_every)):
                    measured = True
                    if fabric.is_global_zero:
                        row |= measure(evaluate, network, state.iteration)
                        metric = next(name for name in row if name != "validation_loss")
                        improved = state.offer(metric, row[metric], here.name)
                    fabric.barrier()
                elif evaluate is None and row:
                    improved = state.offer("validation_loss", row["validation_loss"], here.name)

                if measured and settings.patience is not None:
                    # Every process comes here; process 0 alone knows the figures.
                    gives_up = not last and fabric.broadcast(state.is_stale(settings.patience))
                    last = last or gives_up

                # Write down. A lone process need not wait for the next exchange to know that it was asked to stop.
                stopping = stopping or (fabric.world_size == 1 and stop_request.signal is not None)
                saving = last or improved or stopping or _due(state.iteration, settings.save_every)
                if fabric.is_global_zero:
                    if row or last or _due(state.iteration, settings.log_every):
                        now = time.perf_counter()
                        speed = (state.iteration - row_begun) / (now - row_started)
                        row_begun, row_started = state.iteration, now
                        if row:
                            say(_line(state, settings.iterations, row, improved))
                        full = {"iteration": state.iteration, "learning_rate": rate, RATE: speed}
                        full |= state.take_means() | row
                        table.add(full)
                        pictures.add_scalars(full)
                    if _due(state.iteration, settings.image_every):
                        pictures.add_sample(state.iteration, *task.panels(network, batch, said))
                    if saving:
                        table.flush_to_disk()
                        _save(here, network, optimizer, fabric, state, description, settings.keep_last)
                if stopping:
                    again = f"train again with the same recipe and {out_dir} to go on"
                    say(message := f"Stopped after iteration {state.iteration}; {again}.")
                    stop_training(stop_request.signal, message)
                if gives_up:
                    say(f"nothing better in {state.stale} measurements: training ends with iteration {state.iteration}")
                    break
    finally:
        if pictures is not None:
            pictures.close()
    fabric.barrier()
    best = checkpoints.resolve_checkpoint(out_dir)
    seconds = time.perf_counter() - started
    speed = (state.iteration - begun) / seconds
    say(f"trained {state.iteration - begun} iterations in {seconds:.0f} s ({speed:.2f} it/s); best: {best}")
    return best


def _silent(_line: str) -> None:
    """Say nothing: another process does, or nobody wants to hear it."""


def _due(iteration: int, every: int) -> bool:
    return every > 0 and iteration % every == 0


def _line(state: RunState, iterations: int, row: Mapping[str, float], improved: bool) -> str:
    loss = state.sums["loss"] / state.summed
    figures = ", ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in row.items())
    return f"iteration {state.iteration}/{iterations}: loss {loss:.4f}, {figures}{' (best so far)' if improved else ''}"


def _save(
    path: Path,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    fabric: Any,
    state: RunState,
    description: Mapping[str, Any],
    keep_last: int,
) -> None:
    weights = network.state_dict()
    refuse_broken_weights(state.iteration, weights)
    if state.best is None or state.best["metric"] == "iteration":
        state.offer("iteration", state.iteration, path.name)
    stored = {
        "run": state.to_dict(),
        "optimizer": optimizer.state_dict(),
        "precision": fabric.strategy.precision.state_dict(),
        "random": random_state(),
    }
    about = {"iteration": state.iteration, "best": state.best, **description}
    checkpoints.write_checkpoint(path, weights, stored, about)
    _point_to_best(path.parent, state, keep_last)


def _point_to_best(out_dir: Path, state: RunState, keep_last: int) -> None:
    checkpoints.write_best(out_dir, state.best)
    checkpoints.prune_checkpoints(out_dir, keep_last=keep_last, best=state.best["checkpoint"])
