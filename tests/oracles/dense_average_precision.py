"""Average precision written out as plain loops over dense masks: the oracle for `average_precision`."""

import numpy as np

THRESHOLDS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)


def objects(labels, at_least=0):
    masks = {int(label): labels == label for label in np.unique(labels) if label != 0}
    return {label: mask for label, mask in masks.items() if mask.sum() >= at_least}


def dense_average_precision(segmentation, truth, limits, drop_below, scores=None, one_to_one=False):
    """Range name to the list of AP at the ten thresholds."""
    segments, truths = objects(segmentation), objects(truth, drop_below)
    scores = scores or {label: int(mask.sum()) for label, mask in segments.items()}
    iou = {(s, t): (segments[s] & truths[t]).sum() / (segments[s] | truths[t]).sum() for s in segments for t in truths}
    ranges = {"all": (0, 10**10), "small": (0, limits[0]), "medium": limits, "large": (limits[1], 10**10)}
    result = {}
    for name, (above, up_to) in ranges.items():
        inside = {t for t, mask in truths.items() if above < mask.sum() <= up_to}
        result[name] = []
        for threshold in THRESHOLDS:
            taken, outcomes = set(), []
            for s in sorted(segments, key=lambda label: (-scores[label], label)):
                near = [t for t in truths if iou[s, t] > 0]
                if one_to_one:
                    near = [t for t in near if t not in taken and iou[s, t] >= threshold]
                near = [t for t in near if t in inside] or near
                best = max(near, key=lambda t: (iou[s, t], -t), default=None)
                if best is not None and iou[s, best] >= threshold:
                    taken.add(best)
                    if best in inside:
                        outcomes.append(True)
                elif above < segments[s].sum() <= up_to:
                    outcomes.append(False)
            result[name].append(area(outcomes, len(inside)))
    return result


def area(outcomes, truth_count):
    if truth_count == 0:
        return -1.0
    points = [
        (sum(outcomes[:k]) / truth_count, sum(outcomes[:k]) / k) for k in range(1, len(outcomes) + 1)
    ]  # (recall, precision)
    total = 0.0
    for step in range(101):
        # The best precision at this recall or beyond; numpy's grid, so that ties at a grid point fall alike.
        total += max((p for r, p in points if r >= np.linspace(0, 1, 101)[step]), default=0.0)
    return total / 101
