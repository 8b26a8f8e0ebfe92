"""Settings that hold for every test: one thread a worker, no network, no window, reproducible examples."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.pop("EMLIB_DATA", None)

from hypothesis import HealthCheck, settings

settings.register_profile(
    "emlib", deadline=None, derandomize=True, max_examples=30, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("emlib")
