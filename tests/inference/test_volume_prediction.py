"""predict_volume against perfect predictors, a brute-force oracle and MONAI."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from inference.networks import Complement, Identity, PlaceDependent, small_convolution
from torch import nn

from emlib.inference import BLENDINGS, SYMMETRIES, blending_window, predict_volume

IMAGE = np.random.default_rng(0).integers(0, 256, (12, 26, 23)).astype(np.uint8)
sizes = st.tuples(st.integers(1, 12), st.integers(1, 24), st.integers(1, 24))


@settings(max_examples=60)
@given(
    shape=sizes,
    window=sizes,
    shares=st.tuples(*[st.floats(0, 1)] * 3),
    pad=st.tuples(*[st.integers(0, 9)] * 3),
    blending=st.sampled_from(BLENDINGS),
    augment=st.sampled_from([None, *SYMMETRIES]),
    reduce=st.sampled_from(["mean", "min", "max"]),
    batch_size=st.integers(1, 5),
    in_file=st.booleans(),
    seed=st.integers(0, 999),
)
def test_perfect_predictor_returns_the_input(
    shape, window, shares, pad, blending, augment, reduce, batch_size, in_file, seed
):
    image = np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)
    stride = tuple(max(1, round(w * share)) if w > 4 else w for w, share in zip(window, shares, strict=True))
    stride = tuple(max(s, w // 4, 1) for s, w in zip(stride, window, strict=True))
    before = image.copy()
    prediction = predict_volume(
        Complement(), image, window=window, stride=stride, pad=pad, blending=blending, augment=augment,
        reduce=reduce, batch_size=batch_size, memory=1 if in_file else "1GiB", progress=False,
    )  # fmt: skip
    np.testing.assert_array_equal(prediction[0], image)
    np.testing.assert_array_equal(prediction[1], 255 - image)
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("blending", BLENDINGS)
def test_probabilities_never_leave_0_to_1(blending):
    """Rounding in sums and weights must not push a certain prediction above 1 or below it."""
    image = np.where(IMAGE > 90, 255, 0).astype(np.uint8)
    prediction = predict_volume(
        Identity(), image, window=(5, 9, 9), stride=(1, 2, 2), blending=blending, dtype="float32", progress=False
    )
    np.testing.assert_array_equal(prediction[0], image / 255)


def brute_force(model, image, window, stride, pad, blending, names, reduce):
    """Everything at once in float64: pad, predict every window in every orientation, sum, divide, crop."""
    padded = np.pad(image / 255, [(p, p) for p in pad], mode="reflect")
    weights = blending_window(blending, window).astype(np.float64)
    total, weight = np.zeros((2, *padded.shape)), np.zeros(padded.shape)
    starts = [range(0, n - w + s, s) for n, w, s in zip(padded.shape, window, stride, strict=True)]
    corners = [sorted({min(p, n - w) for p in r}) for r, n, w in zip(starts, padded.shape, window, strict=True)]
    for corner in itertools.product(*corners):
        box = tuple(slice(c, c + w) for c, w in zip(corner, window, strict=True))
        views = []
        for flips, swap in names:
            view = np.flip(padded[box], flips)
            view = view.swapaxes(1, 2) if swap else view
            answer = model(torch.from_numpy(view.astype(np.float32))[None, None])[0].detach().numpy()
            answer = answer.swapaxes(2, 3) if swap else answer
            views.append(np.flip(answer, tuple(axis + 1 for axis in flips)))
        total[(slice(None), *box)] += weights * getattr(np, reduce)(views, 0)
        weight[box] += weights
    inside = tuple(slice(p, p + n) for p, n in zip(pad, image.shape, strict=True))
    return (total / weight)[(slice(None), *inside)]


ORIENTATIONS = {
    None: [((), False)],
    4: [(flips, swap) for flips in ((), (0,)) for swap in (False, True)],
    "xy-flips": [((), False), ((1,), False), ((2,), False), ((1, 2), False)],
    16: [
        (flips, swap)
        for count in range(4)
        for flips in itertools.combinations(range(3), count)
        for swap in (False, True)
    ],
}


@pytest.mark.parametrize("augment", ORIENTATIONS)
@pytest.mark.parametrize(("blending", "reduce"), [("gaussian", "mean"), ("bump", "min"), ("constant", "max")])
def test_equals_brute_force(augment, blending, reduce):
    window, stride, pad = (5, 10, 8), (3, 7, 5), (2, 0, 4)
    expected = brute_force(PlaceDependent(), IMAGE, window, stride, pad, blending, ORIENTATIONS[augment], reduce)
    arguments = {"window": window, "stride": stride, "pad": pad, "blending": blending, "augment": augment}
    prediction = predict_volume(
        PlaceDependent(), IMAGE, **arguments, reduce=reduce, batch_size=3, dtype="float32", progress=False
    )
    np.testing.assert_allclose(prediction, expected, atol=2e-6)
    grey = predict_volume(PlaceDependent(), IMAGE, **arguments, reduce=reduce, batch_size=3, progress=False)
    assert grey.dtype == np.uint8
    clear = np.abs(255 * expected - np.rint(255 * expected)) > 0.002
    np.testing.assert_array_equal(grey[clear], np.floor(255 * expected)[clear])
    half = predict_volume(PlaceDependent(), IMAGE, **arguments, reduce=reduce, dtype="float16", progress=False)
    np.testing.assert_allclose(half, expected, atol=1e-3)


@pytest.mark.parametrize("overlap", [0.25, 0.5])
def test_equals_monai_for_constant_blending(overlap):
    inferers = pytest.importorskip("monai.inferers", reason="MONAI is an optional peer")
    network = small_convolution().eval()
    image = torch.from_numpy(IMAGE / np.float32(255))[None, None]
    with torch.no_grad():
        expected = inferers.sliding_window_inference(image, (8, 16, 16), 2, network, overlap=overlap)[0].numpy()
    prediction = predict_volume(
        network, IMAGE, window=(8, 16, 16), overlap=overlap, blending="constant", dtype="float32", progress=False
    )
    np.testing.assert_allclose(prediction, expected, atol=1e-6)


def test_memory_mode_and_input_cache_do_not_change_a_bit():
    arguments = {"window": (5, 10, 8), "stride": (2, 5, 4), "dtype": "float32", "progress": False}
    reference = predict_volume(small_convolution(), IMAGE, **arguments)
    for memory in (1, 10_000, 40_000, "100MB"):
        again = predict_volume(small_convolution(), IMAGE, memory=memory, **arguments)
        assert again.tobytes() == reference.tobytes()
    other = predict_volume(small_convolution(), IMAGE, batch_size=4, **arguments)
    np.testing.assert_allclose(other, reference, atol=1e-6)


@pytest.mark.parametrize("precision", ["16", "bf16"])
def test_low_precision_stays_close(precision):
    network = small_convolution()
    reference = predict_volume(network, IMAGE, window=(8, 16, 16), dtype="float32", progress=False)
    low = predict_volume(network, IMAGE, window=(8, 16, 16), dtype="float32", precision=precision, progress=False)
    assert 0 < np.abs(low - reference).max() < 0.02


def test_intensities():
    expected = predict_volume(Identity(), IMAGE, window=(6, 16, 16), dtype="float32", progress=False)
    for image, limits in [
        (IMAGE / np.float32(255), None),
        (IMAGE / 255, None),
        (IMAGE.astype(np.uint16) * 100 + 7, (7, 25507)),
        (IMAGE.astype(">i4") - 1000, (-1000, -745)),
        (IMAGE.astype(np.float64) * 4, (0, 1020)),
    ]:
        prediction = predict_volume(
            Identity(), image, window=(6, 16, 16), dtype="float32", intensity_range=limits, progress=False
        )
        np.testing.assert_allclose(prediction, expected, atol=1e-6)
    clipped = predict_volume(
        Identity(), IMAGE, window=(6, 16, 16), dtype="float32", intensity_range=(50, 100), progress=False
    )
    np.testing.assert_allclose(clipped[0], np.clip((IMAGE - 50.0) / 50, 0, 1), atol=1e-6)


def test_model_is_evaluated_without_gradients_and_gets_its_modes_back():
    network = nn.Sequential(nn.Conv3d(1, 1, 1), nn.BatchNorm3d(1), nn.Dropout(0.9), nn.Sigmoid())
    network[1].eval()
    first, second = (predict_volume(network, IMAGE, window=(6, 16, 16), progress=False) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert network.training
    assert network[2].training
    assert not network[1].training
    assert all(parameter.grad is None for parameter in network.parameters())


class Wrong(nn.Module):
    """Returns what `change` makes of the input."""

    def __init__(self, change) -> None:
        super().__init__()
        self.change = change

    def forward(self, windows):
        return self.change(windows)


def _nan_in_dark_windows(windows):
    return torch.where(windows.amax((1, 2, 3, 4), keepdim=True) < 0.5, torch.nan, windows)


@pytest.mark.parametrize(
    ("change", "arguments", "message"),
    [
        (lambda w: w[..., 1:], {}, r"must return \(1, c, 6, 8, 8\) .* returned \(1, 1, 6, 8, 7\)"),
        (lambda w: w[:, 0], {}, "must return"),
        (lambda w: {"out": w}, {}, "one tensor .* not dict"),
        (lambda w: w - 0.5, {}, "dtype='uint8' stores probabilities of 0-1"),
        (lambda w: w * 1e6, {"dtype": "float16"}, "do not fit float16"),
        (lambda w: w, {"channels": ["mask", "contour"]}, r"must return \(1, 2, 6, 8, 8\)"),
    ],
)
def test_wrong_model_outputs_are_refused(change, arguments, message):
    with pytest.raises((ValueError, TypeError), match=message):
        predict_volume(Wrong(change), IMAGE, window=(6, 8, 8), progress=False, **arguments)


def test_not_finite_output_names_the_window():
    image = np.full((6, 24, 24), 255, np.uint8)
    image[:, 8:16, 16:] = 0
    with pytest.raises(ValueError, match=r"window at \(z, y, x\) = \(0, 8, 16\) holds 384 values that are not finite"):
        predict_volume(Wrong(_nan_in_dark_windows), image, window=(6, 8, 8), overlap=0, batch_size=2, progress=False)


@pytest.mark.parametrize(
    ("image", "arguments", "message"),
    [
        (IMAGE[0], {}, "three axes"),
        (IMAGE.astype(np.uint16), {}, "uint16 value. Give intensity_range"),
        (IMAGE.astype(np.float32), {}, "must lie within 0-1, but values from 0 to 255"),
        (IMAGE > 5, {}, "not bool"),
        (IMAGE, {"intensity_range": (5, 5)}, "low < high"),
        (IMAGE, {"batch_size": 0}, "batch_size must be"),
        (IMAGE, {"batch_size": 1.5}, "batch_size must be"),
        (IMAGE, {"dtype": "int8"}, "dtype must be one of"),
        (IMAGE, {"reduce": "median"}, "reduce must be one of"),
        (IMAGE, {"precision": "8"}, "precision must be one of"),
        (IMAGE, {"blending": "bumb"}, "Did you mean 'bump'"),
        (IMAGE, {"augment": "xy-flip"}, "Did you mean 'xy-flips'"),
        (IMAGE, {"out": "prediction.tif"}, "prediction.tif ends otherwise"),
        (IMAGE, {"channels": "mask"}, "channels must be a list of names"),
        (IMAGE, {"memory": "lots"}, "memory must be"),
    ],
)
def test_bad_inputs_are_refused(image, arguments, message):
    with pytest.raises((ValueError, TypeError), match=message):
        predict_volume(Identity(), image, window=(6, 8, 8), progress=False, **arguments)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("intensity_range", [None, (0, 1)])
@pytest.mark.parametrize("memory", ["1GiB", 1])
def test_not_finite_input_names_the_first_voxel(value, intensity_range, memory):
    image = (IMAGE / 255).astype(np.float32)
    image[7, 20, 3] = image[7, 20, 4] = value
    with pytest.raises(ValueError, match=r"\(z, y, x\) = \(7, 20, 3\) is -?(nan|inf)"):
        predict_volume(
            Identity(), image, window=(6, 26, 23), intensity_range=intensity_range, memory=memory, progress=False
        )


def test_divisibility_is_checked_for_transposed_windows_too():
    network = Identity()
    network.min_divisor = (1, 16, 4)
    predict_volume(network, IMAGE, window=(6, 16, 12), progress=False)
    with pytest.raises(ValueError, match=r"\(6, 12, 16\) is not: take 16 along y"):
        predict_volume(network, IMAGE, window=(6, 16, 12), augment=4, progress=False)


def test_model_must_be_a_module():
    with pytest.raises(TypeError, match=r"torch\.nn\.Module, not function"):
        predict_volume(lambda windows: windows, IMAGE, window=(6, 8, 8))


def test_progress_counts_windows(capsys, monkeypatch):
    monkeypatch.setattr("emlib.progress.SECONDS_BETWEEN_LINES", -1.0)
    predict_volume(Identity(), IMAGE, window=(12, 26, 12), overlap=0)
    assert "predicting: 2/2 windows (100 %)" in capsys.readouterr().out
    predict_volume(Identity(), IMAGE, window=(12, 26, 12), progress=False)
    assert capsys.readouterr().out == ""


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_equals_cpu():
    network = small_convolution()
    arguments = {"window": (6, 16, 16), "augment": 16, "batch_size": 3, "dtype": "float32", "progress": False}
    reference = predict_volume(network, IMAGE, **arguments)
    on_gpu = predict_volume(network, IMAGE, device="cuda", **arguments)
    np.testing.assert_allclose(on_gpu, reference, atol=1e-4)
