"""What holds for all tests of blocks."""

import os

import pytest


@pytest.fixture(autouse=True)
def _flushing_costs_nothing(monkeypatch):
    """A real disk takes milliseconds to flush, and these tests write thousands of files of a few bytes.

    The processes that tests start flush for real.
    """
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
