"""Who may import whom: read from the import statements, so that the plan of the house stays true."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "emlib"
GROUND = {"atomic", "progress", "randomness", "compilation", "run_lengths", "formats"}
ROOMS = {
    "atomic": set(),
    "progress": set(),
    "randomness": set(),
    "compilation": set(),
    "environment": set(),
    "torchvision_hook": {"torchvision_operators"},
    "torchvision_operators": set(),
    "run_lengths": {"compilation"},
    "formats": {"atomic", "progress"},
    "volume": GROUND,
    "recipe_schema": set(),
    "recipe": {"recipe_schema"},
    "data": GROUND | {"volume", "recipe", "recipe_schema"},
    "diffusion": {"compilation"},
    "targets": GROUND | {"volume", "recipe", "recipe_schema", "diffusion"},
    "augmentation": GROUND | {"volume", "recipe", "recipe_schema"},
    "models": GROUND | {"volume", "recipe", "recipe_schema"},
    "losses": GROUND | {"volume", "recipe", "recipe_schema"},
    "postprocessing": GROUND | {"volume", "scaling", "diffusion"},
    "evaluation": GROUND | {"volume", "scaling"},
    "visualization": GROUND | {"volume", "scaling"},
    "scaling": GROUND | {"volume"},
}
ROOMS["inference"] = GROUND | {"volume", "recipe", "recipe_schema", "data", "targets", "models", "losses"}
ROOMS["inference"] |= {"postprocessing"}
ROOMS["training"] = set(ROOMS) - {"training"}
ROOMS["deployment"] = set(ROOMS) - {"deployment"}
ROOMS["reproduction"] = set(ROOMS) - {"reproduction"}
ROOMS["cli"] = set(ROOMS)
ROOMS["__main__"] = {"cli"}
ROOMS["__init__"] = {"torchvision_hook"}


def room_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return parts[0]


def imported_rooms(path: Path) -> set[str]:
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        rooms |= {name.split(".")[1] for name in names if name.startswith("emlib.")}
    return {room for room in rooms if room not in ("__version__",)}


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_follow_the_plan(path):
    room = room_of(path)
    assert room in ROOMS, f"{path} is in no room of the plan"
    forbidden = imported_rooms(path) - ROOMS[room] - {room}
    assert not forbidden, f"{room} may not import {sorted(forbidden)}"


def test_names_say_what_is_inside():
    vague = [
        path.name for path in PACKAGE.rglob("*.py") if path.stem.rstrip("s") in ("util", "helper", "common", "misc")
    ]
    assert vague == []


def test_files_hold_one_concept():
    long = {
        str(p.relative_to(PACKAGE)): n for p in PACKAGE.rglob("*.py") if (n := len(p.read_text().splitlines())) > 310
    }
    assert long == {}


@pytest.mark.parametrize(
    "module",
    [
        "emlib",
        "emlib.postprocessing",
        "emlib.evaluation",
        "emlib.visualization",
        "emlib.volume",
        "emlib.scaling",
        "emlib.deployment",
    ],
)
def test_light_modules_do_not_import_torch(module):
    code = f"import sys, {module}; print([name for name in ('torch', 'monai', 'torchvision') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_importing_emlib_loads_nothing_heavy():
    code = (
        "import sys, emlib; print([name for name in ('numpy', 'torch', 'matplotlib', 'zarr') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
