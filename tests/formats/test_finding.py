"""Paths that lead nowhere or to something unknown."""

import numpy as np
import pytest

from emlib.formats.ordering import natural_key
from emlib.volume import open_volume, save_volume


def test_missing_files(tmp_path):
    save_volume(tmp_path / "image.zarr", np.ones((2, 2, 2)))
    with pytest.raises(FileNotFoundError, match=r"There is no file or folder .*imge.zarr; did you mean 'image.zarr'"):
        open_volume(tmp_path / "imge.zarr")
    with pytest.raises(FileNotFoundError, match=r"the nearest folder that exists is .*image.zarr"):
        open_volume(tmp_path / "image.zarr" / "a" / "b.h5")
    with pytest.raises(FileNotFoundError, match=r"has nothing like it"):
        open_volume(tmp_path / "qqq.h5")
    save_volume(tmp_path / "a.h5", np.ones((2, 2, 2)))
    with pytest.raises(FileNotFoundError, match=r"a.h5 is a file; if 'volumes/raw' is meant as key, pass key="):
        open_volume(tmp_path / "a.h5/volumes/raw")


@pytest.mark.parametrize(
    "name, text", [("a.nii", "suffix '.nii'"), ("a.tfi", "did you mean '.tif'"), ("a", "no suffix")]
)
def test_unknown_suffixes(tmp_path, name, text):
    (tmp_path / name).write_text("x")
    with pytest.raises(ValueError, match=text):
        open_volume(tmp_path / name)


def test_natural_order_is_total():
    names = ["a10", "a9", "A9", "a09", "9", "10", "b", "a", "", "a9b10", "a9b9", "²"]
    assert sorted(names, key=natural_key) == sorted(
        np.random.default_rng(0).permutation(names).tolist(), key=natural_key
    )
    assert sorted(["s10", "s9", "s100"], key=natural_key) == ["s9", "s10", "s100"]
