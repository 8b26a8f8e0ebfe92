"""Which label belongs to which image, and the list of them as a file."""

import json
import os
import shutil

import imageio.v3 as imageio
import numpy as np
import pytest
import tifffile

from emlib.data.image_files import read_image, read_label_image
from emlib.data.image_mapping import load_mapping, write_mapping
from emlib.data.image_pairs import find_image_pairs

GREY = np.arange(35, dtype=np.uint8).reshape(5, 7)


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


@pytest.fixture
def data(tmp_path):
    """Four image kinds with labels; ids are chosen so that image and label show the same pattern."""
    root = tmp_path / "data"
    for folder in ("images", "labels"):
        (root / folder).mkdir(parents=True)
    for number, suffix in enumerate((".png", ".tif", ".BMP", ".TIFF")):
        image = GREY + np.uint8(number)
        write = tifffile.imwrite if suffix.lower().startswith(".tif") else imageio.imwrite
        write(root / "images" / f"cell.{number}{suffix}", image)
        tifffile.imwrite(root / "labels" / f"cell.{number}_label.tiff", image.astype(np.uint16))
    return root


def test_names_with_dots_and_other_suffixes(tmp_path):
    touch(tmp_path, "images/a.b.tif", "images/a.c.PNG", "images/d.jpeg", "images/notes.txt", "images/.hidden.png")
    touch(tmp_path, "labels/a.b_label.tiff", "labels/a.c.npy", "labels/d_label.PNG", "labels/Thumbs.db")
    pairs = find_image_pairs(tmp_path)
    assert [one.name for one in pairs] == ["a.b", "a.c", "d"]
    assert [one.image.name for one in pairs] == ["a.b.tif", "a.c.PNG", "d.jpeg"]
    assert [one.label.name for one in pairs] == ["a.b_label.tiff", "a.c.npy", "d_label.PNG"]


def test_an_image_that_is_called_label(tmp_path):
    touch(tmp_path, "images/a.png", "images/a_label.png", "labels/a_label.png", "labels/a_label_label.png")
    assert [one.label.name for one in find_image_pairs(tmp_path)] == ["a_label.png", "a_label_label.png"]


@pytest.mark.parametrize(
    "names, match",
    [
        (["images/a.png", "images/b.png", "labels/a.png"], r"1 of 2 images have no label \(b.png\)"),
        (["images/a.png", "labels/a.png", "labels/b_label.png"], r"1 labels have no image \(b_label.png\)"),
        (["images/a.png", "labels/a.png", "labels/a_label.tif"], r"two labels \(a\)"),
        (["images/a.png", "labels/b.png"], "no label.*; 1 labels have no image"),
        (["images/a.b.png", "labels/a_label.png"], "no label"),
        (["images/a.png", "images/a.tif", "labels/a.png"], "both a.png and a.tif"),
        (["images/a.txt", "labels/a.png"], "no picture"),
        ([f"images/{n}.png" for n in range(9)] + ["labels/x.txt"], r"9 of 9 images.*\(0.png, 1.png, 2.png, \.\.\.\)"),
    ],
)
def test_what_does_not_pair_up_is_said_in_one_sentence(tmp_path, names, match):
    touch(tmp_path, *names)
    with pytest.raises(ValueError, match=match) as caught:
        find_image_pairs(tmp_path)
    assert "\n" not in str(caught.value)


def test_missing_folders(tmp_path):
    with pytest.raises(FileNotFoundError, match="images"):
        find_image_pairs(tmp_path)
    touch(tmp_path, "images/a.png")
    with pytest.raises(FileNotFoundError, match="labels"):
        find_image_pairs(tmp_path)
    assert [one.label for one in find_image_pairs(tmp_path, need_labels=False)] == [None]
    touch(tmp_path, "images/b.png", "labels/b.png")
    assert [one.label is None for one in find_image_pairs(tmp_path, need_labels=False)] == [True, False]


def test_other_names_of_the_folders(tmp_path):
    touch(tmp_path, "x/a.png", "y/a.png")
    assert len(find_image_pairs(tmp_path, images="x", labels="y")) == 1


def test_a_mapping_is_written_and_read(data):
    summary = write_mapping(data, show_progress=False)
    assert summary.path == data / "mapping.json"
    assert (summary.images, summary.labelled, summary.smallest, summary.largest) == (4, 4, (5, 7), (5, 7))
    assert summary.cells == 34 + 3 * 35
    content = json.loads(summary.path.read_text())
    assert content["official"][1] == {"img": "images/cell.1.tif", "label": "labels/cell.1_label.tiff"}
    pairs = load_mapping(summary.path)
    assert pairs == find_image_pairs(data)
    for pair in pairs:
        assert np.array_equal(read_image(pair.image)[..., 0], read_label_image(pair.label))


def test_data_and_mapping_move_together(data, tmp_path):
    write_mapping(data, show_progress=False)
    shutil.move(data, tmp_path / "elsewhere")
    assert load_mapping(tmp_path / "elsewhere" / "mapping.json")[0].image.parent == tmp_path / "elsewhere" / "images"


def test_a_mapping_outside_of_the_data(data, tmp_path, monkeypatch):
    summary = write_mapping(data, tmp_path / "lists" / "train.json", key="mine", show_progress=False)
    assert json.loads(summary.path.read_text())["mine"][0]["img"] == "../data/images/cell.0.png"
    assert len(load_mapping(summary.path, key="mine")) == 4
    monkeypatch.chdir(data)
    write_mapping(".", "other.json", show_progress=False)
    assert [one.image for one in load_mapping("other.json")] == [one.image for one in find_image_pairs(".")]


def test_an_existing_mapping_is_replaced_only_on_request(data):
    first = write_mapping(data, show_progress=False).path.read_bytes()
    os.remove(data / "images" / "cell.3.TIFF")
    os.remove(data / "labels" / "cell.3_label.tiff")
    with pytest.raises(FileExistsError, match="exists already"):
        write_mapping(data, show_progress=False)
    assert (data / "mapping.json").read_bytes() == first
    assert write_mapping(data, overwrite=True, show_progress=False).images == 3
    assert len(load_mapping(data / "mapping.json")) == 3


def test_a_mapping_of_faulty_data_is_not_written(data):
    label = data / "labels" / "cell.1_label.tiff"
    tifffile.imwrite(label, GREY.T.astype(np.uint16))
    for decode in (True, False):
        with pytest.raises(ValueError, match=r"cell.1_label.tiff has shape \(7, 5\).*transposed"):
            write_mapping(data, decode=decode, show_progress=False)
    tifffile.imwrite(label, GREY[:4].astype(np.uint16))
    with pytest.raises(ValueError, match=r"shape \(4, 7\), but its image .* has \(5, 7\) \(y, x\)\.$"):
        write_mapping(data, show_progress=False)
    label.write_bytes(label.read_bytes()[:200])
    with pytest.raises(OSError, match="truncated"):
        write_mapping(data, show_progress=False)
    assert not (data / "mapping.json").exists()


def test_images_without_labels(data):
    shutil.rmtree(data / "labels")
    summary = write_mapping(data, key="tuning", need_labels=False, show_progress=False)
    assert (summary.labelled, summary.cells) == (0, 0)
    assert json.loads(summary.path.read_text())["tuning"][0] == {"img": "images/cell.0.png"}
    assert load_mapping(summary.path)[0].label is None


def test_lists_of_the_published_system(data, tmp_path):
    """Paths relative to a root that is given, several keys, and backslashes."""
    items = [{"img": "data\\images\\cell.0.png", "label": "data\\labels\\cell.0_label.tiff"}]
    path = tmp_path / "maps" / "mapping_labeled.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"official": items, "public": []}))
    assert load_mapping(path, key="official", root=tmp_path) == find_image_pairs(data)[:1]
    assert load_mapping(path, key="public") == []
    with pytest.raises(ValueError, match="say which"):
        load_mapping(path)
    with pytest.raises(ValueError, match="no list 'private'"):
        load_mapping(path, key="private")
    with pytest.raises(FileNotFoundError, match="2 files"):
        load_mapping(path, key="official")
    assert len(load_mapping(path, key="official", check=False)) == 1


@pytest.mark.parametrize(
    "content, match",
    [
        ("{", "not valid JSON"),
        ("[]", "no list of images"),
        ("{}", "no list of images"),
        ('{"a": {}}', "no list of images"),
        ('{"a": [], "a": []}', "twice"),
        ('{"a": [1]}', "entry 0"),
        ('{"a": [{"image": "x"}]}', "entry 0"),
        ('{"a": [{"img": "x", "lable": "y"}]}', "entry 0"),
        ('{"a": [{"img": "x", "label": 1}]}', "entry 0"),
        ('{"a": [{"img": "x"}, {"img": "x"}]}', "2 times"),
    ],
)
def test_bad_lists(tmp_path, content, match):
    (tmp_path / "m.json").write_text(content)
    with pytest.raises(ValueError, match=match):
        load_mapping(tmp_path / "m.json")


def test_no_list_and_no_key(data, tmp_path):
    with pytest.raises(FileNotFoundError, match="write_mapping"):
        load_mapping(tmp_path / "m.json")
    with pytest.raises(ValueError, match="key"):
        write_mapping(data, key="", show_progress=False)


def test_files_that_changed_after_the_list_was_made(data):
    path = write_mapping(data, show_progress=False).path
    tifffile.imwrite(data / "labels" / "cell.0_label.tiff", GREY.T)
    with pytest.raises(ValueError, match="transposed"):
        load_mapping(path)


def test_a_full_disk_leaves_the_old_list(data, monkeypatch):
    path = write_mapping(data, show_progress=False).path
    before = path.read_bytes()

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_text", full)
    with pytest.raises(OSError, match="disk is full"):
        write_mapping(data, overwrite=True, show_progress=False)
    assert path.read_bytes() == before
    assert sorted(one.name for one in data.iterdir()) == ["images", "labels", "mapping.json"]
