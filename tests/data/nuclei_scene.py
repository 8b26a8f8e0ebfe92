"""A small picture that no turn or flip leaves as it is, with nuclei at every edge, one with a hole, two that touch."""

import imageio.v3 as imageio
import numpy as np

HEIGHT, WIDTH = 9, 14


def scene():
    """Masks (bool (y, x)): a corner, a ring, two that touch, one in two pieces, one along the lower edge."""
    masks = np.zeros((6, HEIGHT, WIDTH), bool)
    masks[0, 0:2, 0:3] = True
    masks[1, 3:8, 1:6] = True
    masks[1, 5, 3] = False
    masks[2, 1:4, 7:9] = True
    masks[3, 1:3, 9:13] = True
    masks[4, 5, 8] = masks[4, 6, 9] = True
    masks[5, 8, 4:14] = masks[5, 4:9, 13] = True
    return masks


MASKS = scene()
LABELS = (MASKS * np.arange(1, 7)[:, None, None]).max(axis=0).astype(np.uint16)
IMAGE = np.where(LABELS > 0, 40 + 30 * LABELS, 10).astype(np.uint8)


def write_folder(root, name, masks=MASKS, image=IMAGE):
    """`<root>/<name>` as the competition has it, its litter included."""
    for part in ("images", "masks", "masks/.ipynb_checkpoints", "images/.ipynb_checkpoints"):
        (root / name / part).mkdir(parents=True)
    imageio.imwrite(root / name / "images" / f"{name}.png", image)
    imageio.imwrite(root / name / "images" / ".ipynb_checkpoints" / f"{name}-checkpoint.png", image)
    for number, mask in enumerate(masks, start=1):
        imageio.imwrite(root / name / "masks" / f"mask_{number:04d}.png", mask.astype(np.uint8) * 255)
    imageio.imwrite(root / name / "masks" / "mask_0001-checkpoint.png", masks[0].astype(np.uint8) * 255)
    imageio.imwrite(root / name / "masks" / ".ipynb_checkpoints" / "mask_0002-checkpoint.png", np.zeros((3, 3), "u1"))
    (root / name / "masks" / ".mask_0009.png").write_bytes(b"")
    return root / name
