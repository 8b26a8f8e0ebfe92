"""Levels made block by block are the files that `write_precomputed` writes."""

import json

import numpy as np
import pytest
from deployment.scene import heatmap, run
from scaling.tasks import tree

from emlib.deployment import pyramid
from emlib.visualization import read_precomputed, write_precomputed
from emlib.volume import open_volume

VOLUME = heatmap((21, 50, 43), 6, (0.8, 1.6, 1.6))


@pytest.mark.parametrize("voxel_size", [(30, 8, 8), (8, 8, 8), (16, 8, 8)])
@pytest.mark.parametrize("most", [8**3, 20_000, 2**24])
def test_the_files_are_those_of_one_call(tmp_path, monkeypatch, voxel_size, most):
    monkeypatch.setattr(pyramid, "_MOST_VOXELS", most)
    done = run(VOLUME, tmp_path / "out", voxel_size=voxel_size, mips=4)
    labels = open_volume(done.segmentation)
    expected = write_precomputed(labels, tmp_path / "one", kind="segmentation", chunk=(8, 8, 8), mips=4,
                                 show_progress=False)  # fmt: skip
    found, wanted = tree(done.precomputed), tree(expected)
    assert found.pop("info") != wanted.pop("info")
    assert found == wanted
    info = json.loads((done.precomputed / "info").read_text())
    assert info.pop("emlib_made_from")
    assert info == json.loads((expected / "info").read_text())
    assert read_precomputed(done.precomputed, mip=1).dtype == np.uint64
    passes = sum(name.startswith("pyramid") for name in done.stages)
    assert passes == {8**3: 5, 20_000: 3, 2**24: 1}[most] or passes in (2, 3, 4, 5)


def test_it_can_be_left_out_and_needs_a_voxel_size(tmp_path):
    assert run(VOLUME, tmp_path / "out", pyramid=False).precomputed is None
    with pytest.raises(ValueError, match=r"^A pyramid needs a voxel size in nm \(z, y, x\); give voxel_size="):
        run(VOLUME, tmp_path / "other")
    assert not (tmp_path / "other").exists()
