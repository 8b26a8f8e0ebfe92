"""Take a picture of a Neuroglancer view with a headless Chromium, within a bounded time."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from emlib.atomic import atomic_path

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
# Software rendering of WebGL, a fresh profile and no traffic of the browser's own.
BROWSER_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
)
ATTEMPTS = 3


def find_browser() -> str | None:
    """Path of a Chromium or Chrome on this machine, or None.

    Example:
        >>> find_browser() is None or find_browser().startswith("/")
        True
    """
    return next((path for path in map(shutil.which, BROWSERS) if path), None)


def capture_screenshot(
    view: Any,
    path: str | Path,
    *,
    browser: str | None = None,
    timeout: float = 90,
    size: tuple[int, int] = (900, 600),
) -> Path:
    """Open a view in a headless browser, wait until all visible voxels and meshes are drawn, and save a PNG.

    The browser is a child process with a profile of its own; it and all its helpers are ended before this returns.

    Args:
        view: what `show_neuroglancer` returned, or a `neuroglancer.Viewer`.
        path: a .png; written atomically.
        browser: path of a Chromium or Chrome, default the first one found.
        timeout: seconds for everything.
        size: width and height in pixels.

    Returns:
        The path.

    Raises:
        FileNotFoundError: there is no such browser.
        TimeoutError: the picture was not ready in time.
        RuntimeError: the browser ended by itself.
    """
    program = browser or find_browser()
    if program is None or shutil.which(program) is None:
        wanted = f"{browser!r} is no program here" if browser else f"none of {', '.join(BROWSERS)} was found"
        raise FileNotFoundError(f"A screenshot needs Chromium or Chrome: {wanted}.")
    viewer = getattr(view, "viewer", view)
    deadline = time.monotonic() + timeout
    before = viewer.config_state.state
    with viewer.config_state.txn() as config:
        config.show_ui_controls = False
        config.show_panel_borders = False
        config.viewer_size = list(size)
    # A screenshot holds the drawn views only; an open list of annotations would leave a black strip beside them.
    side_panel = bool(viewer.state.selected_layer.visible)
    if side_panel:
        _show_side_panel(viewer, False)
    try:
        with _running_browser(program, viewer.get_viewer_url(), size) as process:
            for _ in range(ATTEMPTS):
                reply = _wait_for_picture(viewer, process, deadline, timeout).screenshot
                # The first picture can come before the window has taken its new size.
                if (reply.width, reply.height) == tuple(size):
                    break
    finally:
        viewer.config_state.set_state(before)
        if side_panel:
            _show_side_panel(viewer, True)
    with atomic_path(path) as temporary:
        temporary.write_bytes(reply.image)
    return Path(path)


def _show_side_panel(viewer: Any, visible: bool) -> None:
    with viewer.txn() as state:
        state.selected_layer.visible = visible


def _wait_for_picture(viewer: Any, process: subprocess.Popen[bytes], deadline: float, timeout: float) -> Any:
    done, replies = threading.Event(), []

    def receive(reply: Any) -> None:
        replies.append(reply)
        done.set()

    viewer.async_screenshot(receive)
    while not done.wait(0.1):
        if process.poll() is not None:
            raise RuntimeError(f"The browser ended with status {process.returncode} before it had drawn the view.")
        if time.monotonic() > deadline:
            raise TimeoutError(f"The view was not drawn within {timeout:g} s; it may be too large for this machine.")
    return replies[0]


@contextmanager
def _running_browser(program: str, url: str, size: tuple[int, int]) -> Iterator[subprocess.Popen[bytes]]:
    profile = tempfile.mkdtemp(prefix="emlib-browser-")
    window = f"--window-size={size[0]},{size[1]}"
    # A session of its own, so that the browser's helpers can be ended together with it and nothing else is.
    process = subprocess.Popen(
        [program, *BROWSER_FLAGS, window, f"--user-data-dir={profile}", url],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        _end(process)
        shutil.rmtree(profile, ignore_errors=True)


def _end(process: subprocess.Popen[bytes]) -> None:
    for end in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, end)
        except ProcessLookupError:
            break  # nobody of the group is left
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            continue
    process.wait(timeout=5)
