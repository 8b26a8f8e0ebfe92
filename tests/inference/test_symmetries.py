"""Test-time augmentation: the symmetries form groups, and what they do to vectors."""

import itertools

import pytest
import torch

from emlib.inference import SYMMETRIES, Symmetry, symmetries

BLOCK = torch.arange(2 * 3 * 4 * 5.0).reshape(1, 2, 3, 4, 5)
SQUARE = torch.arange(3 * 4 * 4.0).reshape(3, 4, 4)


@pytest.mark.parametrize("symmetry", SYMMETRIES["all"], ids=lambda symmetry: symmetry.name)
def test_invert_undoes_apply(symmetry):
    turned = symmetry.apply(BLOCK)
    assert tuple(turned.shape[2:]) == symmetry.window((3, 4, 5))
    assert torch.equal(symmetry.invert(turned), BLOCK)


@pytest.mark.parametrize(("name", "count"), [("none", 1), ("z-transpose", 4), ("xy-flips", 4), ("xy", 8), ("all", 16)])
def test_every_named_set_is_a_group(name, count):
    """All members differ, and doing one after the other is again a member."""
    images = {symmetry.apply(SQUARE).numpy().tobytes() for symmetry in SYMMETRIES[name]}
    assert len(images) == len(SYMMETRIES[name]) == count
    for first, second in itertools.product(SYMMETRIES[name], repeat=2):
        assert second.apply(first.apply(SQUARE)).numpy().tobytes() in images


def test_numbers_stand_for_the_published_sets():
    assert symmetries(None) == symmetries(0) == (Symmetry(),)
    assert symmetries(4) == SYMMETRIES["z-transpose"]
    assert symmetries(8) == SYMMETRIES["xy"]
    assert symmetries(16) == SYMMETRIES["all"]
    assert symmetries([Symmetry(transpose=True)]) == (Symmetry(transpose=True),)


@pytest.mark.parametrize("augment", [3, True, "zyx", [], [1, 2], 4.5])
def test_unknown_augmentations_are_refused(augment):
    with pytest.raises(ValueError, match="Unknown test-time augmentation"):
        symmetries(augment)


@pytest.mark.parametrize("symmetry", SYMMETRIES["all"], ids=lambda symmetry: symmetry.name)
def test_invert_vector_agrees_with_moving_a_voxel(symmetry):
    """A step between two marked voxels, seen in the transformed block, maps back to the step in the original."""
    marked = torch.zeros(5, 7, 7)
    marked[2, 3, 3], marked[3, 5, 4] = 1, 2
    turned = symmetry.apply(marked)
    step = torch.nonzero(turned == 2)[0] - torch.nonzero(turned == 1)[0]
    assert symmetry.invert_vector(step.tolist()) == (1, 2, 1)


@pytest.mark.parametrize("symmetry", SYMMETRIES["all"], ids=lambda symmetry: symmetry.name)
def test_channel_rule_can_turn_a_vector_field_back(symmetry):
    """The gradient of a turned image, turned back by a rule, is the gradient of the image."""

    def gradient(image: torch.Tensor) -> torch.Tensor:
        return torch.stack(torch.gradient(image[0, 0]))[None]

    def turn_vectors(field: torch.Tensor, turn: Symmetry) -> torch.Tensor:
        components = torch.zeros_like(field)
        for channel in range(3):
            unit = [int(axis == channel) for axis in range(3)]
            for target, sign in enumerate(turn.invert_vector(unit)):
                components[:, target] += sign * field[:, channel]
        return components

    image = torch.rand(1, 1, 4, 5, 6, generator=torch.Generator().manual_seed(0))
    turned = gradient(symmetry.apply(image))
    torch.testing.assert_close(symmetry.invert(turned, turn_vectors), gradient(image))
