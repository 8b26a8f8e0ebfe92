"""Every layout of cell images, small, with a picture that no turn or flip leaves as it is."""

import json
from itertools import groupby

import imageio.v3 as imageio
import numpy as np
import pytest
import tifffile
from pycocotools import mask as coco

from emlib.data.cell_layouts import LAYOUTS, open_cell_set
from emlib.data.image_files import read_image

LABELS = np.zeros((8, 11), np.uint16)
LABELS[0:3, 0:6], LABELS[3:5, 1:3], LABELS[4:8, 9:11] = 1, 2, 3
IMAGE = np.where(LABELS > 0, 40 + 60 * LABELS, 10).astype(np.uint8)


def as_pairs(root):
    for folder in ("images", "labels"):
        (root / folder).mkdir(parents=True)
    for name in ("b.1", "a.2"):
        imageio.imwrite(root / "images" / f"{name}.png", IMAGE)
        tifffile.imwrite(root / "labels" / f"{name}_label.tiff", LABELS)
    return ["a.2", "b.1"]


def as_dsb2018(root):
    for name in ("f0", "f1"):
        for folder in ("images", "masks"):
            (root / name / folder).mkdir(parents=True)
        imageio.imwrite(root / name / "images" / f"{name}.png", np.dstack([IMAGE] * 3 + [np.full_like(IMAGE, 255)]))
        for number in (1, 2, 3):
            imageio.imwrite(root / name / "masks" / f"{number}ab.png", np.equal(LABELS, number).astype(np.uint8) * 255)
    return ["f0", "f1"]


def as_usiigaci(root):
    for name, file in (("set1", "phase.png"), ("set2", "raw.tif")):
        (root / name).mkdir(parents=True)
        imageio.imwrite(root / name / file, IMAGE)
        imageio.imwrite(root / name / "instances_ids.png", LABELS.astype(np.uint8))
    return ["set1", "set2"]


def as_cellpose(root):
    root.mkdir(parents=True, exist_ok=True)
    for name in ("000", "001"):
        imageio.imwrite(root / f"{name}_img.png", IMAGE)
        imageio.imwrite(root / f"{name}_masks.png", LABELS)
    return ["000", "001"]


def as_omnipose(root):
    root.mkdir(parents=True)
    tifffile.imwrite(root / "bug.t0.tif", IMAGE)
    tifffile.imwrite(root / "bug.t0_masks.tif", LABELS)
    tifffile.imwrite(root / "bug.t0_flows.tif", np.zeros((4, 8, 11), np.float32), photometric="minisblack")
    return ["bug.t0"]


def coco_objects(kind):
    """Each cell as a polygon around its pixels, as run lengths, or as their text."""
    for number in (1, 2, 3):
        mask = np.equal(LABELS, number)
        (top, left), (bottom, right) = np.argwhere(mask).min(0).tolist(), (np.argwhere(mask).max(0) + 1).tolist()
        text = coco.encode(np.asfortranarray(mask, dtype=np.uint8))
        counts = [len(list(run)) for _, run in groupby([False, *mask.ravel("F").tolist()])]
        counts[0] -= 1
        yield {
            "polygons": [[left, top, right, top, right, bottom, left, bottom]],
            "counts": {"size": [8, 11], "counts": counts},
            "text": {"size": [8, 11], "counts": text["counts"].decode()},
        }[kind]


def write_coco(file, folder, kind="polygons", as_dict=False, names=("x.tif", "y.tif")):
    folder.mkdir(parents=True, exist_ok=True)
    file.parent.mkdir(parents=True, exist_ok=True)
    images, annotations = [], []
    for number, name in enumerate(names):
        tifffile.imwrite(folder / name, IMAGE)
        images.append({"id": number + 7, "file_name": name, "height": 8, "width": 11})
        for segmentation in coco_objects(kind):
            annotations.append({"id": len(annotations), "image_id": number + 7, "segmentation": segmentation})
    crowd = {"size": [8, 11], "counts": [0, 88]}
    annotations.append({"id": 99, "image_id": 7, "segmentation": crowd, "iscrowd": 1})
    part = {str(one["id"]): one for one in annotations} if as_dict else annotations
    file.write_text(json.dumps({"images": images, "annotations": part, "categories": [{"id": 1, "name": "cell"}]}))
    return [name.rsplit(".", 1)[0] for name in names]


def as_coco(root):
    return write_coco(root / "annotations" / "all.json", root / "images")


def as_livecell(root):
    return write_coco(root / "livecell_coco_train.json", root / "images" / "livecell_train_val_images" / "A172",
                      kind="text", as_dict=True)  # fmt: skip


MAKERS = {"pairs": as_pairs, "dsb2018": as_dsb2018, "usiigaci": as_usiigaci, "cellpose": as_cellpose,
          "omnipose": as_omnipose, "coco": as_coco, "livecell": as_livecell}  # fmt: skip


@pytest.mark.parametrize("layout", list(LAYOUTS))
@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("below", [False, True])
def test_every_layout_is_recognised_and_lies_as_the_image_does(tmp_path, layout, named, below):
    root = tmp_path / "data"
    names = MAKERS[layout](root / "train" if below else root)
    cells = open_cell_set(root / "train" if below and named else root, layout=layout if named else "auto")
    assert cells.layout == (layout if named or layout != "livecell" else "coco")
    assert cells.names == names
    assert len(cells) == len(names)
    for sample, name in zip(cells, names, strict=True):
        assert sample.name == name
        assert sample.labels.dtype.kind == "u"
        assert np.array_equal(sample.labels, LABELS)
        assert np.array_equal(read_image(sample.image)[..., 1], IMAGE)
    assert np.array_equal(cells[len(cells) - 1].labels, LABELS)


@pytest.mark.parametrize("kind", ["polygons", "counts", "text"])
def test_every_form_of_coco_objects(tmp_path, kind):
    write_coco(tmp_path / "a.json", tmp_path, kind)
    assert np.array_equal(open_cell_set(tmp_path / "a.json")[1].labels, LABELS)


def test_nothing_is_decoded_before_it_is_asked_for(tmp_path):
    as_usiigaci(tmp_path)
    (tmp_path / "set2" / "instances_ids.png").write_bytes(b"damaged")
    cells = open_cell_set(tmp_path)
    assert np.array_equal(cells[0].labels, LABELS)
    with pytest.raises(OSError, match=r"instances_ids\.png"):
        cells[1]


def test_raw_comes_before_phase(tmp_path):
    as_usiigaci(tmp_path)
    imageio.imwrite(tmp_path / "set1" / "raw.tif", IMAGE)
    assert open_cell_set(tmp_path)[0].image.name == "raw.tif"


def test_masks_that_overlap(tmp_path):
    as_dsb2018(tmp_path)
    imageio.imwrite(tmp_path / "f0" / "masks" / "9.png", np.full((8, 11), 255, np.uint8))
    with pytest.warns(UserWarning, match=r"masks of f0 overlap in 30 pixels, .* smaller nucleus only\.$"):
        labels = open_cell_set(tmp_path)[0].labels
    assert np.array_equal(np.where(labels == 4, 0, labels), LABELS)
    assert (labels[LABELS == 0] == 4).all()


def test_labels_of_another_shape(tmp_path):
    as_cellpose(tmp_path / "data")
    imageio.imwrite(tmp_path / "data" / "000_masks.png", LABELS.T)
    with pytest.raises(ValueError, match="transposed"):
        open_cell_set(tmp_path)[0]


def test_images_without_objects(tmp_path):
    write_coco(tmp_path / "a.json", tmp_path)
    content = json.loads((tmp_path / "a.json").read_text())
    (tmp_path / "a.json").write_text(json.dumps(content | {"annotations": []}))
    assert not open_cell_set(tmp_path)[0].labels.any()


def test_unknown_and_ambiguous_layouts(tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder"):
        open_cell_set(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="none of the known layouts"):
        open_cell_set(tmp_path)
    with pytest.raises(ValueError, match="did you mean 'cellpose'"):
        open_cell_set(tmp_path, layout="celpose")
    with pytest.raises(ValueError, match="there are auto, pairs"):
        open_cell_set(tmp_path, layout="xyz")
    as_pairs(tmp_path / "one")
    as_cellpose(tmp_path / "two")
    with pytest.raises(ValueError, match="more than one layout"):
        open_cell_set(tmp_path)
    with pytest.raises(ValueError, match="no labelled image"):
        open_cell_set(tmp_path, layout="usiigaci")
    as_usiigaci(tmp_path / "two")
    with pytest.raises(ValueError, match=r"usiigaci in .*cellpose in"):
        open_cell_set(tmp_path / "two")


def spoil(make, change, match):
    return pytest.param(make, change, match, id=match)


def empty_mask(root):
    imageio.imwrite(root / "f0" / "masks" / "0.png", np.zeros_like(IMAGE))


def other_mask(root):
    imageio.imwrite(root / "f0" / "masks" / "9.png", np.ones((3, 3), np.uint8))


def no_masks(root):
    for path in (root / "f0" / "masks").iterdir():
        path.unlink()


def edit(**changes):
    def change(root):
        file = root / "annotations" / "all.json"
        content = json.loads(file.read_text())
        for place, value in changes.items():
            part, number, key = place.split("__")
            if key == "gone":
                content[part][int(number)].pop(value)
            else:
                content[part][int(number)][key] = value
        file.write_text(json.dumps(content))

    return change


@pytest.mark.parametrize(
    "make, change, match",
    [
        spoil(as_dsb2018, empty_mask, "is empty"),
        spoil(as_dsb2018, other_mask, "has shape"),
        spoil(as_dsb2018, no_masks, "holds no mask"),
        spoil(as_dsb2018, lambda root: (root / "f0" / "images" / "f0.png").unlink(), "holds 0 pictures"),
        spoil(as_usiigaci, lambda root: (root / "set1" / "phase.png").unlink(), "neither raw.tif nor phase.png"),
        spoil(as_cellpose, lambda root: (root / "000_img.png").rename(root / "x.png"), "has no image"),
        spoil(as_cellpose, lambda root: imageio.imwrite(root / "000_img.tif", IMAGE), "may belong to"),
        spoil(as_coco, edit(images__0__height=9), "run lengths|shape"),
        spoil(as_coco, edit(images__0__gone="width"), "entry 0 of 'images' has no width"),
        spoil(as_coco, edit(annotations__2__gone="segmentation"), "entry 2 of 'annotations'"),
        spoil(as_coco, edit(annotations__1__segmentation=[[1, 2]]), "x.tif: Object 1"),
        spoil(as_coco, edit(annotations__1__image_id=1), "has the image_id 1, which the file does not list"),
        spoil(as_coco, edit(images__1__file_name="x.tif"), "file_name 'x.tif', which an image before it has"),
        spoil(as_coco, lambda root: (root / "annotations" / "all.json").write_text('{"images": ['), "not valid JSON"),
        spoil(as_coco, lambda root: (root / "annotations" / "all.json").write_text('{"images": []}'), "no COCO file"),
        spoil(as_coco, lambda root: (root / "b.json").write_text('{"images": []}'), "holds 2 COCO files"),
    ],
)
def test_faults_are_named(tmp_path, make, change, match):
    make(tmp_path)
    change(tmp_path)
    with pytest.raises(ValueError, match=match) as caught:
        list(open_cell_set(tmp_path))
    assert "\n" not in str(caught.value)


def test_missing_and_ambiguous_images_of_coco(tmp_path):
    as_coco(tmp_path)
    (tmp_path / "images" / "x.tif").rename(tmp_path / "x.tiff")
    with pytest.raises(FileNotFoundError, match=r"lists the image x\.tif"):
        open_cell_set(tmp_path)
    for folder in ("p", "q"):
        (tmp_path / folder).mkdir()
        tifffile.imwrite(tmp_path / folder / "x.tif", IMAGE)
    with pytest.raises(ValueError, match="may be"):
        open_cell_set(tmp_path)
