"""One block's work: call its function, store the result, and report plainly what came of it."""

from __future__ import annotations

import errno
import os
import socket
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from emlib.atomic import explain_write_error
from emlib.formats.source import one_line
from emlib.scaling.block_ledger import BlockLedger
from emlib.scaling.blocks import Block

Perform = Callable[[deque[Block]], Iterator["Outcome"]]
_NOTHING_CAN_BE_KEPT = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


@dataclass(frozen=True)
class Outcome:
    """What came of one attempt at a block, in a form that survives the way between processes.

    Attributes:
        block: which one.
        error: the error in one line; empty if the block is done.
        traceback: of the error.
        disk: number of the operating system's error, if it means that nothing more can be stored.
        worker: host and process that did it.
        memory: resident bytes of that process afterwards.
    """

    block: Block
    error: str = ""
    traceback: str = ""
    disk: int | None = None
    worker: str = ""
    memory: int = 0

    def disk_error(self) -> OSError:
        """The error of the disk, as it was raised where the block was worked on."""
        error = OSError(self.error)
        error.errno = self.disk
        return error


def do_block(function: Callable[[Block], Any], block: Block, ledger: BlockLedger) -> Outcome:
    """Do one block and store what came of it, unless another process has done it by now."""
    worker = f"{socket.gethostname()}:{os.getpid()}"
    try:
        if not ledger.is_done(block):
            ledger.store(block, function(block))
    except OSError as error:
        full = error.errno in _NOTHING_CAN_BE_KEPT
        if full:
            error = explain_write_error(error, error.filename or ledger.folder)
        text = str(error) if full else _named(error)
        return Outcome(block, text, traceback.format_exc(), error.errno if full else None, worker, _resident())
    except Exception as error:  # noqa: BLE001 - whatever a block raises is reported with the block, and others go on
        return Outcome(block, _named(error), traceback.format_exc(), None, worker, _resident())
    return Outcome(block, worker=worker, memory=_resident())


def in_this_process(function: Callable[[Block], Any], ledger: BlockLedger) -> Perform:
    """Do one block after the other, here."""

    def perform(queue: deque[Block]) -> Iterator[Outcome]:
        while queue:
            yield do_block(function, queue.popleft(), ledger)

    return perform


def _named(error: Exception) -> str:
    text = one_line(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _resident() -> int:
    import psutil

    return psutil.Process().memory_info().rss
