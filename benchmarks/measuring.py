"""CPU time and memory of one contestant, alone in a fresh process; used by the other scripts of this folder."""

from __future__ import annotations

import gc
import multiprocessing
import statistics
import threading
import time
from collections.abc import Callable
from typing import Any

import psutil


def measure(work: Callable[[], Any], repeats: int) -> tuple[float, int, Any]:
    """(median process CPU seconds, peak bytes of memory above those at the start, result of the last run)."""
    process, stop = psutil.Process(), threading.Event()
    gc.collect()
    peaks = [before := process.memory_info().rss]

    def watch() -> None:
        while not stop.wait(0.005):
            peaks.append(process.memory_info().rss)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    times = []
    result = None
    for _ in range(repeats):
        result = None
        started = time.process_time()
        result = work()
        times.append(time.process_time() - started)
    stop.set()
    watcher.join()
    return statistics.median(times), max(peaks) - before, result


def in_fresh_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """What `function` returns when a newly started interpreter calls it."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_call, args=(sender, function, arguments))
    process.start()
    sender.close()
    try:
        result = receiver.recv()
    except EOFError as error:
        raise RuntimeError(f"{function.__name__}{arguments} died in its process; its message stands above.") from error
    finally:
        process.join()
    return result


def _call(pipe: Any, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    pipe.send(function(*arguments))
