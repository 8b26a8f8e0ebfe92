"""The command that makes COCO files of folders."""

import json

import imageio.v3 as imageio
import numpy as np
import pytest
from cli.running import refused, said

from emlib.data import (
    coco_from_folders,
    coco_test_set,
    make_cell_set,
    open_cell_set,
    read_coco,
    read_test_ids,
    save_nuclei_folders,
)


@pytest.fixture
def nuclei(tmp_path):
    made = make_cell_set(4, seed=4, modalities=["stained"], shapes=((40, 56), (48, 64)))
    return save_nuclei_folders(made[:3], tmp_path / "nuclei", test=made[3:]), made


def test_train_and_test(nuclei, tmp_path):
    root, made = nuclei
    out, ids = tmp_path / "out", root / "test_img_ids.json"
    lines = said(
        "data", "coco", root / "train", "--out", out, "--test-ids", ids, "--test-images", root / "test"
    ).splitlines()
    counts = [int(one.labels.max()) for one in made[:3]]
    expected = f"3 images, {sum(counts)} nuclei ({min(counts)} to {max(counts)} an image)"
    assert lines == [f"{out / 'train.json'}: {expected}", f"{out / 'test.json'}: 1 images"]
    assert read_coco(out / "train.json") == coco_from_folders(root / "train", relative_to=out)
    assert read_coco(out / "test.json", need_annotations=False) == coco_test_set(read_test_ids(ids))
    for sample, phantom in zip(open_cell_set(out / "train.json"), made, strict=False):
        assert np.array_equal(sample.labels, phantom.labels)
    assert "train.json exists already" in refused("data", "coco", root / "train", "--out", out)
    said("data", "coco", root / "train", "--out", out, "--overwrite", "--polygons")
    assert {type(one["segmentation"]) for one in read_coco(out / "train.json")["annotations"]} >= {list}


def test_overlapping_masks_are_said(nuclei, tmp_path):
    root, made = nuclei
    mask = np.zeros(made[0].labels.shape, np.uint8)
    mask[:20, :20] = 255
    imageio.imwrite(root / "train" / "nuclei_00000" / "masks" / "mask_9999.png", mask)
    text = said("data", "coco", root / "train", "--out", tmp_path)
    covered = np.count_nonzero(made[0].labels[:20, :20])
    assert f"masks overlap in {covered} pixels of 1 images; each is kept whole\n" in text


def test_mistakes_are_one_line_and_write_nothing(nuclei, tmp_path):
    root, _ = nuclei
    out, ids = tmp_path / "out", root / "test_img_ids.json"
    command = ("data", "coco", root / "train", "--out", out)
    assert "There is no folder" in refused("data", "coco", root / "nowhere", "--out", out)
    assert f"did you mean {root / 'train'}?" in refused("data", "coco", root, "--out", out)
    assert "There is no file" in refused(*command, "--test-ids", root / "none.json")
    ids.write_text(json.dumps([{"id": 1}]))
    assert "entry 0 has no file_name, height, width" in refused(*command, "--test-ids", ids)
    ids.write_text(json.dumps([{"id": 1, "file_name": "nuclei_00003.png", "height": 7, "width": 8}]))
    with_images = (*command, "--test-ids", ids, "--test-images")
    assert "says that" in refused(*with_images, root / "test")
    assert "lists nuclei_00003.png, which is not in" in refused(*with_images, root / "train")
    assert "which --test-ids would give" in refused(*command, "--test-images", root / "test")
    mask = root / "train" / "nuclei_00002" / "masks" / "mask_0001.png"
    mask.write_bytes(mask.read_bytes()[:50])
    line = refused(*command)
    assert "mask_0001.png" in line
    assert "damaged or truncated" in line
    assert not out.exists()
