"""A folder of files as a user has them, with a network trained on them by the command itself."""

import numpy as np
import pytest
from cli.running import TRACK, emlib, settings

from emlib.volume import save_volume


@pytest.fixture(scope="session")
def work(tmp_path_factory):
    """A folder with image.h5 (key raw beside main), wide.h5 (16 bits), labels.h5 and a network trained on them."""
    folder = tmp_path_factory.mktemp("cli")
    random = np.random.default_rng(0)
    labels = np.zeros((12, 40, 48), np.uint32)
    labels[1:7, 4:20, 4:20], labels[4:12, 22:38, 10:40], labels[8:11, 2:12, 30:44] = 1, 2, 3
    image = (80 + 100 * (labels > 0) + random.normal(0, 10, labels.shape)).clip(0, 255).astype(np.uint8)
    save_volume(folder / "image.h5", image, voxel_size=(30, 8, 8))
    save_volume(folder / "image.h5", 255 - image, key="inverted")
    save_volume(folder / "wide.h5", image.astype(np.uint16) * 100)
    save_volume(folder / "labels.h5", labels)
    answer = emlib("train", TRACK, *settings(), "--out", folder / "run", "--data-dir", folder, "--device", "cpu")
    assert answer.status == 0, answer.err
    assert answer.out.splitlines()[-1] == str(folder / "run" / "checkpoint_000002")
    return folder
