"""Deployment: a stack of any size from image to instances with consistent ids, block by block, on any machines.

It joins what the rooms below offer: a network's prediction, segmentation, tracing across blocks, and a pyramid for
Neuroglancer, each stage with a ledger, so that any of it can be killed, shared out and started again.
"""

from emlib.deployment.deployment import Deployment, deploy
from emlib.deployment.prediction_blocks import CheckpointPredictor, NetworkPredictor, Predictor

__all__ = ["CheckpointPredictor", "Deployment", "NetworkPredictor", "Predictor", "deploy"]
