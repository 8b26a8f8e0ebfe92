"""Run notebooks as stages: each reads its predecessor's manifest, writes its own, and is judged against bands.

A notebook calls `open_stage(...)` first and `stage.finish(...)` last; `reproduce(...)` runs notebooks through papermill
and gives a verdict for each metric.
"""

from emlib.reproduction.bands import Band, find_band, load_bands
from emlib.reproduction.driver import StageResult, reproduce
from emlib.reproduction.manifest import Manifest, hash_path, read_manifest
from emlib.reproduction.stage import STAGES, Stage, open_stage

__all__ = [
    "STAGES",
    "Band",
    "Manifest",
    "Stage",
    "StageResult",
    "find_band",
    "hash_path",
    "load_bands",
    "open_stage",
    "read_manifest",
    "reproduce",
]
