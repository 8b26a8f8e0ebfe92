"""Run notebooks as stages: each reads its predecessor's manifest, writes its own, and is judged against bands.

A notebook calls `open_stage(...)` first and `stage.finish(...)` last; `reproduce(...)` runs notebooks through papermill
and gives a verdict for each metric; `run_variants(...)` does so for each variant of a recipe and keeps a table.
"""

from emlib.reproduction.bands import Band, find_band, load_bands
from emlib.reproduction.driver import StageResult, reproduce
from emlib.reproduction.experiments import Experiment, read_experiments
from emlib.reproduction.manifest import Manifest, hash_path, read_manifest
from emlib.reproduction.stage import STAGES, Stage, open_stage
from emlib.reproduction.variants import run_variants

__all__ = [
    "STAGES",
    "Band",
    "Experiment",
    "Manifest",
    "Stage",
    "StageResult",
    "find_band",
    "hash_path",
    "load_bands",
    "open_stage",
    "read_experiments",
    "read_manifest",
    "reproduce",
    "run_variants",
]
