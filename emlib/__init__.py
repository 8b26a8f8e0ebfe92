"""emlib: instance segmentation in electron and light microscopy."""

from emlib import torchvision_hook

__version__ = "0.1.0"

torchvision_hook.install()
