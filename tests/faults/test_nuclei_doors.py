"""Bad nuclei at every door by which they come in: the command that makes COCO files, and the start of a training.

Whatever is wrong is said in one sentence that names the file; no file and no folder is left, empty or half written.
"""

import shutil

import imageio.v3 as imageio
import numpy as np
import pytest
from cli.running import refused as refused_by_command
from cli.running import said
from faults.nuclei_doors import HEIGHT, MADE, WIDTH, check_refusal, entries, recipe_of
from PIL import Image

from emlib.data import prepare_image_data, save_nuclei_folders

MASK, PICTURE = "nuclei_00000/masks/mask_0001.png", "nuclei_00000/images/nuclei_00000.png"


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return save_nuclei_folders(MADE, tmp_path_factory.mktemp("nuclei") / "set") / "train"


@pytest.fixture
def root(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "train")


def redraw(name, change):
    return lambda root: imageio.imwrite(root / name, change(imageio.imread(root / name)))


def cut(name, stop):
    return lambda root: (root / name).write_bytes((root / name).read_bytes()[:stop])


def flip(name):
    def change(root):
        content = bytearray((root / name).read_bytes())
        content[len(content) // 2] ^= 16
        (root / name).write_bytes(content)

    return change


def link_to_nothing(name):
    def change(root):
        path = root / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        path.symlink_to(root / "nowhere")

    return change


def as_jpeg(root):
    Image.open(root / MASK).save((root / MASK).with_suffix(".jpg"), quality=60)
    (root / MASK).unlink()


def without_masks(root):
    for path in (root / MASK).parent.iterdir():
        path.unlink()


def masks_as_file(root):
    shutil.rmtree((root / MASK).parent)
    (root / MASK).parent.write_text("no folder")


FOLDERS = {
    "mask cut": (cut(MASK, 60), MASK, "damaged or truncated (it breaks off after 60 bytes, but should have at least"),
    "mask cut in its head": (cut(MASK, 12), MASK, "it breaks off after 12 bytes"),
    "mask without its last byte": (cut(MASK, -1), MASK, "damaged or truncated (it breaks off"),
    "mask of 0 bytes": (cut(MASK, 0), MASK, "is empty (0 bytes)"),
    "mask with a flipped bit": (flip(MASK), MASK, "wrong checksum"),
    "mask that is text": (lambda root: (root / MASK).write_text("text"), MASK, "no picture"),
    "mask of another size": (redraw(MASK, lambda mask: mask[:-3]), MASK, f"({HEIGHT - 3}, {WIDTH})", PICTURE),
    "mask transposed": (redraw(MASK, lambda mask: mask.T), MASK, "seems to be transposed"),
    "mask that is empty": (redraw(MASK, lambda mask: mask * 0), MASK, "is empty, but one nucleus was expected"),
    "mask of two values": (redraw(MASK, lambda mask: mask // (1 + np.eye(*mask.shape, k=9, dtype="u1")
                                                              + (np.arange(mask.shape[1]) % 2 > 0))), MASK, "values"),
    "mask as JPEG": (as_jpeg, "mask_0001.jpg", "values beside 0"),
    "mask is a link to nothing": (link_to_nothing(MASK), MASK, "is a link to", "nowhere, which is not there"),
    "image is a link to nothing": (link_to_nothing("nuclei_00000"), "nuclei_00000 is a link to"),
    "no masks": (without_masks, "nuclei_00000/masks holds no mask"),
    "masks is a file": (masks_as_file, "nuclei_00000/masks holds no mask"),
    "image missing": (lambda root: (root / PICTURE).unlink(), "nuclei_00000/images holds 0 pictures"),
    "two images": (lambda root: shutil.copy(root / PICTURE, root / PICTURE.replace(".png", "b.png")), "2 pictures"),
    "image cut": (cut(PICTURE, 500), PICTURE, "it breaks off after 500 bytes"),
    "image with a flipped bit": (flip(PICTURE), PICTURE, "wrong checksum"),
    "image of 0 bytes": (cut(PICTURE, 0), PICTURE, "is empty (0 bytes)"),
    "image that is text": (lambda root: (root / PICTURE).write_text("text"), PICTURE, "no picture"),
}  # fmt: skip


@pytest.mark.parametrize("name", FOLDERS)
def test_folders_that_are_refused(root, tmp_path, name):
    change, *words = FOLDERS[name]
    change(root)
    check_refusal(root, "dsb2018", words, tmp_path)
    before = entries(tmp_path)
    line = refused_by_command("data", "coco", root, "--out", tmp_path / "new" / "out")
    assert not [word for word in words if word not in line], line
    assert entries(tmp_path) == before


def test_a_copy_of_a_mask_cannot_be_a_label_but_is_kept_in_coco_files(root, tmp_path):
    shutil.copy(root / MASK, root / MASK.replace("0001", "0999"))
    check_refusal(root, "dsb2018", ["is hidden by smaller or equal ones", "is it a copy?"], tmp_path)
    assert "masks overlap in" in said("data", "coco", root, "--out", tmp_path / "out")


def test_overlap_is_said_at_both_doors(root, tmp_path):
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[:25, :25] = 255
    imageio.imwrite(root / MASK.replace("0001", "0999"), mask)
    with pytest.warns(UserWarning, match=r"^The masks of nuclei_00000 overlap in \d+ pixels, .* only\.$"):
        prepared = prepare_image_data(recipe_of(root, "dsb2018"), tmp_path / "data")
    assert prepared.images[0].cells == MADE[0].labels.max() + 1
    assert "masks overlap in" in said("data", "coco", root, "--out", tmp_path / "out")


def cmyk(root):
    Image.open(root / PICTURE).convert("CMYK").save((root / PICTURE).with_suffix(".jpg"))
    (root / PICTURE).unlink()


def editors_leavings(root):
    for folder in (root, (root / MASK).parent, (root / PICTURE).parent):
        (folder / ".ipynb_checkpoints").mkdir()
        (folder / ".ipynb_checkpoints" / "x-checkpoint.png").write_text("no picture")
        (folder / ".hidden.png").symlink_to(root / "nowhere")
    (root / MASK.replace(".png", "-checkpoint.png")).write_text("no picture")
    (root / MASK).with_name("Thumbs.db").write_text("no picture")


def links(root):
    shutil.move(root / "nuclei_00000", root.parent / "elsewhere")
    (root / "nuclei_00000").symlink_to(root.parent / "elsewhere")


HARMLESS = {
    "16 bits": redraw(PICTURE, lambda image: image[..., 0].astype(np.uint16) * 257),
    "opacity": redraw(PICTURE, lambda image: np.dstack([image, image[..., :1] * 0 + 255])),
    "grey": redraw(PICTURE, lambda image: image[..., 0]),
    "one value": redraw(PICTURE, lambda image: image * 0),
    "CMYK": cmyk,
    "colour mask": redraw(MASK, lambda mask: np.dstack([mask, mask * 0, mask * 0])),
    "mask of 0 and 1": redraw(MASK, lambda mask: mask // 255),
    "16-bit mask": redraw(MASK, lambda mask: mask.astype(np.uint16) * 257),
    "what editors leave": editors_leavings,
    "links": links,
    "folder named like a mask": lambda root: (root / MASK).with_name("mask_0900.png").mkdir(),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_forms_that_lose_nothing(root, tmp_path, name):
    HARMLESS[name](root)
    cells = [int(one.labels.max()) for one in MADE]
    assert [one.cells for one in prepare_image_data(recipe_of(root, "dsb2018"), tmp_path / "data").images] == cells
    assert f"3 images, {sum(cells)} nuclei" in said("data", "coco", root, "--out", tmp_path / "out")


def test_a_training_that_cannot_start_leaves_no_folder(root, tmp_path):
    cut(MASK, 60)(root)
    split = "data={source: files, sets: [{name: '%s'}], split: {train: 0.34, validation: 0.33, test: 0.33}}"
    before = entries(tmp_path)
    line = refused_by_command(
        "train", "4_nuclei_maskrcnn", "--set", split % root, "--out", tmp_path / "a" / "run", "--device", "cpu"
    )
    assert "it breaks off after 60 bytes" in line
    assert entries(tmp_path) == before
    (tmp_path / "file").write_text("no folder")
    for out, words in (("file", "is a file, but a folder"), ("file/run", "a part of the path is a file")):
        assert words in refused_by_command("train", "4_nuclei_maskrcnn", "--out", tmp_path / out, "--device", "cpu")
    assert entries(tmp_path) == before | {"file"}
