"""Folders of images and masks: what is seen, how it lies, and every fault by the name of its file."""

import io

import imageio.v3 as imageio
import numpy as np
import pytest
from data.nuclei_scene import HEIGHT, IMAGE, LABELS, MASKS, WIDTH, write_folder
from hypothesis import given
from hypothesis import strategies as st

from emlib.data import find_nuclei_folders, open_cell_set, read_image, read_nuclei_labels, read_nuclei_masks
from emlib.data.nuclei_folders import NucleiFolder
from emlib.formats.png_parts import check_png


@pytest.fixture
def root(tmp_path):
    for name in ("b", "a", "a-1"):
        write_folder(tmp_path, name)
    write_folder(tmp_path, ".hidden")
    (tmp_path / "notes").mkdir()
    return tmp_path


def test_what_is_seen_and_in_which_order(root):
    folders = find_nuclei_folders(root)
    assert [one.name for one in folders] == ["a", "a-1", "b"]
    assert folders[0].image == root / "a" / "images" / "a.png"
    assert [path.name for path in folders[1].masks] == [f"mask_{number:04d}.png" for number in range(1, 7)]


def test_masks_lie_as_the_image_does(root):
    folder = find_nuclei_folders(root)[2]
    masks = list(read_nuclei_masks(folder))
    assert all(mask.dtype == bool for mask in masks)
    assert np.array_equal(masks, MASKS)
    labels = read_nuclei_labels(folder)
    assert labels.overlap == 0
    assert labels.labels.dtype == np.uint32
    assert np.array_equal(labels.labels, LABELS)
    assert np.array_equal(read_image(folder.image)[..., 0], IMAGE)


def test_it_is_the_layout_of_the_cell_sets(root):
    cells = open_cell_set(root)
    assert (cells.layout, cells.names) == ("dsb2018", ["a", "a-1", "b"])
    assert np.array_equal(cells[1].labels, LABELS)


@given(st.integers(0, 10**6), st.integers(1, 6))
def test_the_smaller_is_seen_and_overlap_is_counted(tmp_path_factory, seed, count):
    random = np.random.default_rng(seed)
    masks = np.zeros((count, HEIGHT, WIDTH), bool)
    for mask in masks:
        top, left = random.integers(0, HEIGHT), random.integers(0, WIDTH)
        mask[top : top + random.integers(1, 6), left : left + random.integers(1, 6)] = True
    areas = masks.sum((1, 2))
    expected = np.zeros((HEIGHT, WIDTH), np.uint32)
    for y, x in np.argwhere(masks.any(axis=0)):
        over = np.flatnonzero(masks[:, y, x])
        expected[y, x] = over[areas[over] == areas[over].min()].max() + 1
    folder = find_nuclei_folders(write_folder(tmp_path_factory.mktemp("set"), "a", masks).parent)[0]
    hidden = [number for number in range(count) if not (expected == number + 1).any()]
    if hidden:
        with pytest.raises(ValueError, match=rf"mask_000{hidden[0] + 1}\.png is hidden by smaller or equal ones"):
            read_nuclei_labels(folder)
    else:
        labels = read_nuclei_labels(folder)
        assert np.array_equal(labels.labels, expected)
        assert labels.overlap == (masks.sum(axis=0) > 1).sum()
    assert np.array_equal(list(read_nuclei_masks(folder)), masks)


@pytest.mark.parametrize("form", ["1 bit", "16 bit", "colour", "opacity", "palette", "tiff", "ones"])
def test_forms_of_masks(tmp_path, form):
    from PIL import Image

    mask, folder = MASKS[1], write_folder(tmp_path, "a", MASKS[1:2])
    file = folder / "masks" / "mask_0001.png"
    grey = mask.astype(np.uint8) * 255
    if form == "tiff":
        file.unlink()
        imageio.imwrite(file.with_suffix(".tif"), grey)
    elif form == "palette":
        picture = Image.fromarray(mask.astype(np.uint8), "P")
        picture.putpalette([0, 0, 0, 255, 0, 0])
        picture.save(file)
    else:
        colour = np.dstack([grey] * 3)
        pictures = {
            "1 bit": mask,
            "16 bit": grey.astype(np.uint16) * 257,
            "ones": mask.astype(np.uint8),
            "colour": colour,
            "opacity": np.dstack([colour, np.full_like(grey, 255)]),
        }
        imageio.imwrite(file, pictures[form])
    assert np.array_equal(list(read_nuclei_masks(find_nuclei_folders(tmp_path)[0])), [mask])


def damage(path, change):
    content = bytearray(path.read_bytes())
    path.write_bytes(change(content))


def flip(content):
    # In the middle of the compressed pixels.
    content[content.index(b"IDAT") + 12] ^= 16
    return content


MASK, PICTURE = "a/masks/mask_0003.png", "a/images/a.png"


@pytest.mark.parametrize(
    "change, error, words",
    [
        (lambda r: (r / PICTURE).unlink(), ValueError, ["a/images holds 0 pictures"]),
        (lambda r: imageio.imwrite(r / "a/images/b.png", IMAGE), ValueError, ["holds 2 pictures (a.png, b.png)"]),
        (lambda r: (r / "a/images").rename(r / "a/x"), ValueError, ["a/images holds 0 pictures"]),
        (lambda r: (r / "a/masks").rename(r / "a/x"), ValueError, ["a/masks holds no mask"]),
        (lambda r: imageio.imwrite(r / MASK, MASKS[2].T.astype("u1")), ValueError, [MASK, "(14, 9)", "transposed"]),
        (lambda r: imageio.imwrite(r / MASK, np.ones((3, 4), "u1")), ValueError, [MASK, "(3, 4)", PICTURE, "(9, 14)"]),
        (lambda r: imageio.imwrite(r / MASK, np.zeros((9, 14), "u1")), ValueError, [MASK, "is empty"]),
        (lambda r: imageio.imwrite(r / MASK, LABELS.astype("u1")), ValueError, [MASK, "holds 6 values beside 0"]),
        (lambda r: damage(r / MASK, flip), OSError, [MASK, "damaged or truncated"]),
        (lambda r: damage(r / MASK, lambda content: content[:-30]), OSError, [MASK, "damaged or truncated"]),
        (lambda r: damage(r / MASK, lambda content: content[:-1]), OSError, [MASK, "damaged or truncated"]),
        (lambda r: (r / MASK).write_bytes(b""), OSError, [MASK, "empty (0 bytes)"]),
        (lambda r: (r / MASK).write_text("no picture"), OSError, [MASK, "no picture"]),
        (lambda r: (r / PICTURE).write_text("no picture"), OSError, [PICTURE, "no picture"]),
    ],
)
def test_faults_name_the_file(tmp_path, change, error, words):
    write_folder(tmp_path, "a")
    change(tmp_path)
    for read in (lambda folder: list(read_nuclei_masks(folder)), read_nuclei_labels):
        with pytest.raises(error) as caught:
            read(find_nuclei_folders(tmp_path)[0])
        text = str(caught.value)
        assert "\n" not in text
        assert text.endswith((".", "?"))
        assert not [word for word in words if word not in text.replace("\\", "/")], text


def test_no_damaged_byte_of_a_mask_goes_unseen(tmp_path):
    stream = io.BytesIO()
    imageio.imwrite(stream, MASKS[1].astype(np.uint8) * 255, extension=".png")
    content, file = stream.getvalue(), tmp_path / "a.png"
    file.write_bytes(content)
    check_png(file)
    imageio.imwrite(tmp_path / "image.png", IMAGE)
    folder = NucleiFolder("a", tmp_path / "image.png", (file,))
    for place in range(len(content)):
        file.write_bytes(content[:place] + bytes([content[place] ^ 8]) + content[place + 1 :])
        with pytest.raises(OSError, match=r"a\.png"):
            list(read_nuclei_masks(folder))
        file.write_bytes(content[:place])
        with pytest.raises(OSError, match=r"a\.png"):
            list(read_nuclei_masks(folder))


def test_masks_that_cannot_both_be_shown(tmp_path):
    folder = write_folder(tmp_path, "a", np.stack([MASKS[0], MASKS[1], MASKS[0]]))
    with pytest.raises(ValueError, match=r"mask_0001\.png is hidden.*is it a copy\?$"):
        read_nuclei_labels(find_nuclei_folders(folder.parent)[0])


def test_folders_that_are_none(tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder"):
        find_nuclei_folders(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"holds no folder <id> .*masks\.$"):
        find_nuclei_folders(tmp_path)
    write_folder(tmp_path / "train", "a")
    with pytest.raises(ValueError, match=r"did you mean .*train\?$"):
        find_nuclei_folders(tmp_path)


def test_images_without_masks(tmp_path):
    folder = write_folder(tmp_path, "a")
    for file in (folder / "masks").glob("*.png"):
        file.unlink()
    assert find_nuclei_folders(tmp_path, need_masks=False)[0].masks == ()
