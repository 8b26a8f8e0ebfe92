"""Make `import torchvision` work beside a CPU-only torch: an import hook that costs nothing until then.

The Linux wheel of torchvision links CUDA libraries. Beside a CPU-only torch its compiled operators cannot load and
`import torchvision` dies, and with it timm and segmentation_models_pytorch. `install()` puts a finder on
`sys.meta_path` that steps in at the first import of torchvision, whoever does it: if the compiled operators load,
it does nothing; if they do not, `emlib.torchvision_operators` defines the ones that detection models need.

Neither this module nor `install()` imports torch.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


def install() -> None:
    """Put the hook on `sys.meta_path`, once; nothing happens where torchvision is imported already."""
    if "torchvision" in sys.modules or any(isinstance(finder, TorchvisionFinder) for finder in sys.meta_path):
        return
    sys.meta_path.insert(0, TorchvisionFinder())


class TorchvisionFinder(MetaPathFinder):
    """Finds the package `torchvision` as Python would, and prepares its operators just before it runs."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec that the other finders give for torchvision, with a wrapped loader; None for all other names."""
        if fullname != "torchvision":
            return None
        others = (finder for finder in sys.meta_path if finder is not self and hasattr(finder, "find_spec"))
        spec = next(filter(None, (finder.find_spec(fullname, path, target) for finder in others)), None)
        if spec is not None and spec.loader is not None and spec.submodule_search_locations:
            _prepare_before_execution(spec)
        return spec


def _prepare_before_execution(spec: ModuleSpec) -> None:
    execute = spec.loader.exec_module
    folders = list(spec.submodule_search_locations)

    def execute_with_operators(module: ModuleType) -> None:
        from emlib import torchvision_operators

        compiled = torchvision_operators.load_compiled(folders)
        if not compiled:
            torchvision_operators.define()
        execute(module)
        if not compiled:
            torchvision_operators.announce()

    # The loader object stays the one that Python made, so resources and source inspection work as ever.
    spec.loader.exec_module = execute_with_operators
