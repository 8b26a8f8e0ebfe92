import numpy as np
import pytest

from emlib.visualization import show_embedding_space
from emlib.visualization.colors import label_colors
from emlib.visualization.principal_components import principal_components


@pytest.fixture
def scene():
    labels = np.zeros((3, 20, 30), np.uint16)
    labels[:, 2:9, 3:12], labels[:, 11:18, 15:28] = 5, 9
    places = np.random.default_rng(3).normal(size=(10, 8))
    noise = np.random.default_rng(4).normal(scale=0.01, size=(8, *labels.shape))
    return np.moveaxis(places[labels], -1, 0) + noise, labels


def test_objects_of_one_vector_have_one_colour_and_lie_together(scene):
    embedding, labels = scene
    figure = show_embedding_space(embedding, labels, image=np.zeros(labels.shape, np.uint8), section=1)
    mosaic = figure.axes[1].images[0].get_array()
    for one in (5, 9):
        inside = mosaic[labels[1] == one]
        assert np.ptp(inside, axis=0).max() < 0.2
    means = [mosaic[labels[1] == one].mean(axis=0) for one in (0, 5, 9)]
    assert min(np.abs(a - b).max() for a, b in zip(means, means[1:] + means[:1], strict=True)) > 0.3
    cloud = figure.axes[3].collections[0]
    places, colours = cloud.get_offsets(), cloud.get_facecolors()[:, :3]
    for one in (5, 9):
        mine = (np.rint(colours * 255) == label_colors(np.array([one]))).all(axis=1)
        assert mine.sum() == (labels[1] == one).sum()
        assert np.ptp(places[mine], axis=0).max() < 0.1 * np.ptp(places, axis=0).max()


def test_a_large_section_is_drawn_with_some_of_its_voxels_only():
    labels = np.ones((1, 90, 90), np.uint8)
    embedding = np.random.default_rng(0).normal(size=(4, *labels.shape)).astype(np.float16)
    first, again = (show_embedding_space(embedding, labels, seed=1).axes[-1].collections[0] for _ in range(2))
    assert len(first.get_offsets()) == 4000
    np.testing.assert_array_equal(first.get_offsets(), again.get_offsets())


def test_what_is_no_embedding_is_refused(scene):
    embedding, labels = scene
    with pytest.raises(ValueError, match=r"\(c, z, y, x\); its shape is \(3, 20, 30\)"):
        show_embedding_space(embedding[0], labels)
    with pytest.raises(ValueError, match="labels"):
        show_embedding_space(embedding, labels[:, :-1])
    with pytest.raises(ValueError, match="NaN"):
        show_embedding_space(embedding * np.nan, labels)


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_components_beyond_the_features_are_zero(count):
    values = np.random.default_rng(1).normal(size=(20, 2))
    places, shares = principal_components(values, count)
    assert places.shape == (20, count)
    assert shares.sum() == pytest.approx(shares[: min(count, 2)].sum())
    assert not places[:, 2:].any()
