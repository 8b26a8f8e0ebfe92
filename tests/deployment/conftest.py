"""What holds for all tests of deployments."""

import os

import pytest

from emlib.scaling import local_cluster


@pytest.fixture(scope="session")
def client():
    """Two worker processes for all tests; one that is killed is replaced."""
    with local_cluster(2) as client:
        yield client


@pytest.fixture(autouse=True)
def _flushing_costs_nothing(monkeypatch):
    """A real disk takes milliseconds to flush, and these tests write thousands of files of a few bytes.

    The processes that tests start flush for real.
    """
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
