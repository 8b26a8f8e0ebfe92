"""Work on volumes larger than memory: block plans, a ledger of finished blocks, and workers here or on a cluster.

A plan cuts a volume into blocks; `run_blocks` does a piece of work for each, in this process, in several, or on a
cluster; the ledger remembers what is done, so that any of it can be killed and started again. Nothing here needs torch,
and dask only when more than one process is asked for.
"""

from emlib.scaling.block_labels import label_in_blocks
from emlib.scaling.block_ledger import BlockLedger, Survey
from emlib.scaling.block_record import WrittenFiles
from emlib.scaling.block_run import BlockFailure, BlockRun, BlocksFailed, run_blocks
from emlib.scaling.block_volume import BlockVolume, block_chunks, create_block_volume
from emlib.scaling.blocks import Block, plan_blocks, plan_fingerprint, plan_shape, shard_of
from emlib.scaling.dask_work import local_cluster
from emlib.scaling.equivalences import unite
from emlib.scaling.slurm_cluster import slurm_cluster
from emlib.scaling.slurm_request import SlurmRequest
from emlib.scaling.slurm_scripts import write_slurm_scripts
from emlib.scaling.worker_pool import worker_pool

__all__ = [
    "Block",
    "BlockFailure",
    "BlockLedger",
    "BlockRun",
    "BlockVolume",
    "BlocksFailed",
    "SlurmRequest",
    "Survey",
    "WrittenFiles",
    "block_chunks",
    "create_block_volume",
    "label_in_blocks",
    "local_cluster",
    "plan_blocks",
    "plan_fingerprint",
    "plan_shape",
    "run_blocks",
    "shard_of",
    "slurm_cluster",
    "unite",
    "worker_pool",
    "write_slurm_scripts",
]
