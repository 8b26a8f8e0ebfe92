"""torchvision beside a CPU-only torch: the import hook, and the operators in plain torch."""

import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from emlib import torchvision_operators
from emlib.torchvision_operators import non_maximum_suppression, roi_align


def run(code: str, **environment: str) -> str:
    """What `code` prints in a fresh interpreter."""
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, env={**os.environ, **environment}
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_import_emlib_imports_nothing_heavy():
    modules = run("import emlib, sys; print([m for m in ('torch', 'numpy', 'torchvision') if m in sys.modules])")
    assert modules == "[]"


def test_torchvision_and_what_builds_on_it_import_and_work():
    printed = run(
        """
        import emlib, torchvision, timm, segmentation_models_pytorch, torch
        from torchvision.extension import _has_ops
        from torchvision.ops import batched_nms, roi_align, nms
        boxes = torch.tensor([[0.0, 0, 10, 10], [1, 0, 11, 10], [20, 0, 30, 10]])
        scores = torch.tensor([0.5, 0.9, 0.1])
        print(_has_ops(), nms(boxes, scores, 0.5).tolist(), batched_nms(boxes, scores, torch.arange(3), 0.5).tolist())
        with torch.autocast("cpu", dtype=torch.bfloat16):
            print(roi_align(torch.ones(1, 1, 8, 8, dtype=torch.bfloat16), [boxes[:2] / 2], 2).flatten().tolist())
        """
    )
    assert printed.splitlines() == ["True [1, 2] [1, 0, 2]", str([1.0] * 8)]


def test_mask_rcnn_trains_and_predicts():
    printed = run(
        """
        import emlib, torch, torchvision
        torch.manual_seed(0)
        model = torchvision.models.detection.maskrcnn_resnet50_fpn(
            weights=None, weights_backbone=None, num_classes=2, min_size=64, max_size=64,
            norm_layer=torch.nn.BatchNorm2d, trainable_backbone_layers=5)
        target = {"boxes": torch.tensor([[8.0, 8, 40, 48]]), "labels": torch.tensor([1]),
                  "masks": torch.ones(1, 64, 64, dtype=torch.uint8)}
        losses = model([torch.rand(3, 64, 64)], [target])
        sum(losses.values()).backward()
        heads = [model.roi_heads.box_head.fc6.weight, model.backbone.body.conv1.weight]
        print(sorted(losses), all(bool(w.grad.abs().sum() > 0) for w in heads))
        print(sorted(model.eval()([torch.rand(3, 64, 64)])[0]))
        """
    )
    losses, outputs = printed.splitlines()
    assert losses.endswith(" True")
    assert "'loss_mask'" in losses
    assert outputs == "['boxes', 'labels', 'masks', 'scores']"


def test_operators_without_replacement_raise_torchvisions_own_error():
    if torchvision_operators.load_compiled(sys_torchvision_folders()):
        pytest.skip("the compiled operators of this torchvision load")
    printed = run(
        """
        import emlib, torch, torchvision.ops as ops
        image, rois = torch.zeros(1, 4, 8, 8), torch.tensor([[0.0, 1, 1, 6, 5]])
        calls = [
            lambda: ops.deform_conv2d(image, torch.zeros(1, 18, 6, 6), torch.zeros(1, 4, 3, 3)),
            lambda: ops.roi_pool(image, rois, 2),
            lambda: ops.ps_roi_pool(image, rois, 2),
            lambda: ops.ps_roi_align(image, rois, 2),
            lambda: ops.box_iou(torch.zeros(2, 5), torch.zeros(2, 5), fmt="cxcywhr"),
        ]
        for call in calls:
            try:
                call()
            except RuntimeError as error:
                print(str(error)[:30].strip())
        """
    )
    assert printed.splitlines() == ["Couldn't load custom C++ ops."] * 5


def sys_torchvision_folders() -> list[str]:
    import importlib.util

    return list(importlib.util.find_spec("torchvision").submodule_search_locations)


def test_absent_torchvision_stays_a_plain_import_error():
    printed = run(
        """
        import importlib.util, sys

        class WithoutTorchvision:
            def __init__(self, finder):
                self.finder = finder

            def find_spec(self, name, path=None, target=None):
                return None if name == "torchvision" else self.finder.find_spec(name, path, target)

        sys.meta_path = [WithoutTorchvision(finder) for finder in sys.meta_path]
        import emlib
        try:
            import torchvision
        except ModuleNotFoundError as error:
            print(error, importlib.util.find_spec("torchvision"), "torch" in sys.modules)
        """
    )
    assert printed == "No module named 'torchvision' None False"


@pytest.mark.parametrize("works", [True, False])
def test_working_build_is_left_alone(tmp_path, works):
    """A made-up torchvision: the hook replaces operators only where the compiled ones do not load."""
    package = tmp_path / "torchvision"
    package.mkdir()
    for name, text in {"__init__": "from . import extension, ops", "extension": "def _has_ops(): return 'own'"}.items():
        (package / f"{name}.py").write_text(text)
    (package / "ops").mkdir()
    (package / "ops" / "__init__.py").write_text("from . import roi_align")
    (package / "ops" / "roi_align.py").write_text("from ..extension import _has_ops")
    printed = run(
        f"""
        import sys
        sys.path.insert(0, {str(tmp_path)!r})
        import emlib, torch
        from emlib import torchvision_operators
        torchvision_operators.load_compiled = lambda folders: {works}
        import torchvision, importlib.util
        print(torchvision.extension._has_ops(), torchvision.ops.roi_align._has_ops())
        print(hasattr(torch.ops.torchvision, "nms"))
        print(type(torchvision.__spec__.loader).__name__)
        """
    )
    expected = ["own own", "False"] if works else ["True True", "True"]
    assert printed.splitlines() == [*expected, "SourceFileLoader"]


def test_torchvision_imported_or_failed_before_emlib():
    printed = run(
        """
        import sys
        try:
            import torchvision
            state = "worked"
        except RuntimeError:
            state = "failed"
        import emlib
        finders = [f for f in sys.meta_path if type(f).__name__ == "TorchvisionFinder"]
        import torchvision
        print(len(finders) == (state == "failed"), callable(torchvision.ops.nms))
        import importlib
        importlib.reload(emlib)
        print(len([f for f in sys.meta_path if type(f).__name__ == "TorchvisionFinder"]) == len(finders))
        """
    )
    assert printed.splitlines() == ["True True", "True"]


def greedy(boxes: np.ndarray, scores: np.ndarray, threshold: float) -> list[int]:
    """Non-maximum suppression one box at a time."""
    kept: list[int] = []
    for i in sorted(range(len(boxes)), key=lambda i: -scores[i]):
        overlaps = []
        for j in kept:
            size = np.clip(np.minimum(boxes[i, 2:], boxes[j, 2:]) - np.maximum(boxes[i, :2], boxes[j, :2]), 0, None)
            both = size[0] * size[1]
            areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (boxes[i], boxes[j])]
            union = areas[0] + areas[1] - both
            overlaps.append(both / union if union > 0 else 0)
        if all(overlap <= threshold for overlap in overlaps):
            kept.append(i)
    return kept


@given(st.integers(0, 60), st.integers(0, 9999), st.sampled_from([0.0, 0.25, 0.5, 0.7, 1 / 3]), st.integers(1, 70))
def test_suppression_equals_one_box_at_a_time(count, seed, threshold, block):
    """Whole-number boxes make exact ties at the threshold, few scores make equal scores; blocks must not show."""
    rng = np.random.default_rng(seed)
    corners = rng.integers(0, 12, (count, 2))
    boxes = np.concatenate([corners, corners + rng.integers(0, 8, (count, 2))], 1).astype(np.float64)
    scores = rng.integers(0, 9, count) / 8
    expected = greedy(boxes, scores, threshold)
    usual = torchvision_operators._BOXES_PER_BLOCK
    torchvision_operators._BOXES_PER_BLOCK = block
    try:
        result = non_maximum_suppression(torch.from_numpy(boxes), torch.from_numpy(scores), threshold)
    finally:
        torchvision_operators._BOXES_PER_BLOCK = usual
    assert result.tolist() == expected
    assert result.dtype == torch.int64


def test_threshold_is_compared_in_double_precision():
    """0.7 in float32 is below 0.7: an overlap of exactly float32's 0.7 is not above the threshold 0.7."""
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 7]])
    assert non_maximum_suppression(boxes, torch.tensor([1.0, 0.5]), 0.7).tolist() == [0, 1]
    assert non_maximum_suppression(boxes, torch.tensor([1.0, 0.5]), 0.6999999).tolist() == [0]


def test_suppression_of_many_boxes_in_a_chain():
    """Every box overlaps the next: every second one stays, through all blocks."""
    left = torch.arange(3000.0) * 5
    boxes = torch.stack([left, left * 0, left + 10, left * 0 + 10], 1)
    kept = non_maximum_suppression(boxes, torch.linspace(1, 0, 3000), 0.3)
    assert kept.tolist() == list(range(0, 3000, 2))


def test_suppression_refuses_wrong_shapes():
    with pytest.raises(RuntimeError, match=r"\(n, 4\)"):
        non_maximum_suppression(torch.zeros(3, 5), torch.zeros(3), 0.5)
    with pytest.raises(RuntimeError, match="Scores must have shape"):
        non_maximum_suppression(torch.zeros(3, 4), torch.zeros(2), 0.5)


@pytest.mark.parametrize("sampling", [2, 0, -1])
@pytest.mark.parametrize(
    ("roi", "aligned", "expected"),
    [
        ((1, 1, 6, 5), True, (13.75, 16.25, 29.75, 32.25)),
        ((1, 1, 6, 5), False, (18.25, 20.75, 34.25, 36.75)),
        ((2.5, 3.25, 7.5, 7.75), True, (34.25, 36.75, 52.25, 54.75)),
    ],
)
def test_roi_align_figures(sampling, roi, aligned, expected):
    features = torch.arange(64.0).reshape(1, 1, 8, 8)
    result = roi_align(features, torch.tensor([[0.0, *roi]]), 1.0, 2, 2, sampling, aligned)
    assert result.shape == (1, 1, 2, 2)
    torch.testing.assert_close(result.flatten(), torch.tensor(expected), atol=2e-5, rtol=0)


def align_point_by_point(features, rois, scale, height, width, sampling, aligned):
    """RoIAlign with plain loops."""
    rows, columns = features.shape[2:]
    output = np.zeros((len(rois), features.shape[1], height, width))
    for number, (image, *box) in enumerate(rois):
        x1, y1, x2, y2 = (value * scale - (0.5 if aligned else 0) for value in box)
        size_x, size_y = (x2 - x1, y2 - y1) if aligned else (max(x2 - x1, 1), max(y2 - y1, 1))
        per_y = sampling if sampling > 0 else int(np.ceil(size_y / height))
        per_x = sampling if sampling > 0 else int(np.ceil(size_x / width))
        for i, j, a, b in np.ndindex(height, width, max(per_y, 0), max(per_x, 0)):
            y = y1 + size_y / height * (i + (a + 0.5) / per_y)
            x = x1 + size_x / width * (j + (b + 0.5) / per_x)
            if y < -1 or y > rows or x < -1 or x > columns:
                continue
            y, x = min(max(y, 0), rows - 1), min(max(x, 0), columns - 1)
            low_y, low_x = int(y), int(x)
            high_y, high_x = min(low_y + 1, rows - 1), min(low_x + 1, columns - 1)
            fy, fx = y - low_y, x - low_x
            values = features[int(image)]
            top = values[:, low_y, low_x] * (1 - fx) + values[:, low_y, high_x] * fx
            bottom = values[:, high_y, low_x] * (1 - fx) + values[:, high_y, high_x] * fx
            output[number, :, i, j] += (top * (1 - fy) + bottom * fy) / (per_y * per_x)
    return output


@given(
    st.integers(0, 9999), st.sampled_from([-1, 1, 2, 3]), st.booleans(), st.sampled_from([1.0, 0.25]),
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
)  # fmt: skip
def test_roi_align_equals_point_by_point(seed, sampling, aligned, scale, size):
    """Regions inside, across the border, far outside, and empty ones."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(2, 3, *size))
    corners = rng.uniform(-6, 12, (5, 2)) / scale
    sides = rng.uniform(0, 9, (5, 2)) / scale
    sides[4] = 0
    rois = np.concatenate([rng.integers(0, 2, (5, 1)), corners, corners + sides], 1)
    result = roi_align(torch.from_numpy(features), torch.from_numpy(rois), scale, 2, 3, sampling, aligned)
    expected = align_point_by_point(features, rois, scale, 2, 3, sampling, aligned)
    np.testing.assert_allclose(result.numpy(), expected, atol=1e-9)


@pytest.mark.parametrize("sampling", [2, -1])
@pytest.mark.parametrize("aligned", [True, False])
def test_roi_align_gradient(sampling, aligned):
    features = torch.rand(2, 2, 7, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    rois = torch.tensor([[1, 1, 1, 6, 5], [0, -3, 2, 4, 12.5], [0, 0, 0, 0.3, 0.2]], dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda values: roi_align(values, rois, 1.0, 3, 2, sampling, aligned), features.requires_grad_()
    )


def test_roi_align_in_chunks_and_in_half_precision(monkeypatch):
    features = torch.rand(2, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    corners = torch.rand(20, 2, generator=torch.Generator().manual_seed(1)) * 8
    rois = torch.cat([torch.arange(20.0)[:, None] % 2, corners, corners + 6], 1)
    whole = roi_align(features, rois, 1.0, 3, 3, 2, True)
    half = roi_align(features.half(), rois.half(), 1.0, 3, 3, 2, True)
    assert half.dtype == torch.float16
    torch.testing.assert_close(half.float(), whole, atol=2e-2, rtol=0)
    monkeypatch.setattr(torchvision_operators, "_SAMPLES_PER_CHUNK", 500)
    torch.testing.assert_close(roi_align(features, rois, 1.0, 3, 3, 2, True), whole)


def test_figures_of_whatever_torchvision_runs():
    """torchvision's own operators where they load, ours where they do not: the same reference figures."""
    printed = run(
        """
        import emlib, torch
        from torchvision.ops import batched_nms, nms, roi_align
        features = torch.arange(64.0).reshape(1, 1, 8, 8)
        for box, aligned in (((1, 1, 6, 5), True), ((1, 1, 6, 5), False), ((2.5, 3.25, 7.5, 7.75), True)):
            for sampling in (2, -1):
                rois = torch.tensor([[0.0, *box]])
                values = roi_align(features, rois, 2, sampling_ratio=sampling, aligned=aligned).flatten()
                print([round(value, 4) for value in values.tolist()])
        boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 7], [0, 0, 10, 6], [50, 50, 60, 60], [51, 51, 61, 61]])
        scores = torch.tensor([0.9, 0.8, 0.7, 0.6, 0.95])
        print(nms(boxes, scores, 0.65).tolist(), nms(boxes, scores, 0.5).tolist())
        print(batched_nms(boxes, scores, torch.tensor([0, 1, 1, 0, 0]), 0.5).tolist())
        """
    )
    *aligned, kept, by_level = printed.splitlines()
    first, second, third = ([13.75, 16.25, 29.75, 32.25], [18.25, 20.75, 34.25, 36.75], [34.25, 36.75, 52.25, 54.75])
    assert aligned == [str(figures) for figures in (first, first, second, second, third, third)]
    # Overlaps: 0.7, 0.6 and 6 / 7 among the first three, 81 / 119 of the last two.
    assert (kept, by_level) == ("[4, 0, 2] [4, 0]", "[4, 0, 1]")


def test_roi_align_refuses_wrong_regions():
    with pytest.raises(RuntimeError, match=r"\(k, 5\)"):
        roi_align(torch.zeros(1, 1, 4, 4), torch.zeros(2, 4), 1.0, 2, 2, 2, True)
    with pytest.raises(RuntimeError, match="image 3, but there are 1"):
        roi_align(torch.zeros(1, 1, 4, 4), torch.tensor([[3.0, 0, 0, 2, 2]]), 1.0, 2, 2, 2, True)


def test_no_regions_give_no_output():
    assert roi_align(torch.zeros(1, 3, 4, 4), torch.zeros(0, 5), 1.0, 2, 2, 2, True).shape == (0, 3, 2, 2)
    assert non_maximum_suppression(torch.zeros(0, 4), torch.zeros(0), 0.5).tolist() == []
