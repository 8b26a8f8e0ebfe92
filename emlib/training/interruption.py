"""Ctrl-C and SIGTERM as a wish that is granted between two iterations, so that no update is cut in half."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """Which signal asked to stop, if any."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    def __call__(self, number: int, _frame: FrameType | None) -> None:
        if self.signal is not None:
            raise KeyboardInterrupt  # The second request does not wait.
        self.signal = signal.Signals(number)


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Catch SIGINT (Ctrl-C) and SIGTERM (sent by batch systems before they kill) while the block runs.

    Signals reach the main thread only; in another thread they keep their usual effect.

    Example:
        >>> with stop_requests() as request:
        ...     signal.raise_signal(signal.SIGINT)
        ...     request.signal.name
        'SIGINT'
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.signal(number, request) for number in SIGNALS}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def stop_training(number: signal.Signals | None, message: str) -> NoReturn:
    """End a training that was asked to stop, as the signal would have done it.

    Args:
        number: the signal; None where another process got it.
        message: goes with the exception.

    Raises:
        KeyboardInterrupt: SIGINT, or None.
        SystemExit: another signal, with 128 + its number.
    """
    if number is None or number == signal.SIGINT:
        raise KeyboardInterrupt(message)
    raise SystemExit(128 + int(number))
