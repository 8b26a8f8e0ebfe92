"""Arrays that cannot be written to, such as memory maps opened for reading, are as good as any other."""

import numpy as np
import pytest

from emlib import data, diffusion, evaluation, postprocessing, targets
from emlib.augmentation.cells import exclude_boundaries
from emlib.visualization.cells import cell_outlines, measure_cells


def _frozen(array):
    array.flags.writeable = False
    return array


LABELS = np.zeros((16, 18), np.uint32)
LABELS[2:8, 3:9], LABELS[2:8, 9:15], LABELS[11:14, 2:16] = 3, 900, 70
LABELS[12, 8] = 0
FLOW = diffusion.diffusion_flow(LABELS)
PROBABILITY = (LABELS > 0).astype(np.float32)
VOLUME = np.stack([LABELS] * 4)
AFFINITIES = (255 * targets.affinities(VOLUME, [(-1, 0, 0), (0, -1, 0), (0, 0, -1)])[0]).astype(np.uint8)

CALLS = {
    "gradient_flow": (targets.gradient_flow, LABELS),
    "cell_classes": (targets.cell_classes, LABELS),
    "erode_labels": (lambda volume: targets.erode_labels(volume, 1), VOLUME),
    "affinities": (lambda volume: targets.affinities(volume, [(0, 0, -1)])[0], VOLUME),
    "build_target": (lambda volume: targets.build_target(volume, "4-1-1"), VOLUME),
    "diffusion_flow": (diffusion.diffusion_flow, LABELS),
    "diffusion_steps": (lambda labels: diffusion.diffusion_steps(labels).heat, LABELS),
    "separate_pieces": (lambda labels: data.separate_pieces(labels, keep="largest"), LABELS),
    "exclude_boundaries": (exclude_boundaries, LABELS),
    "masks_from_flows": (postprocessing.masks_from_flows, FLOW, PROBABILITY),
    "follow_flows": (postprocessing.follow_flows, FLOW, PROBABILITY > 0),
    "flow_errors": (postprocessing.flow_errors, LABELS, FLOW),
    "fill_object_holes": (postprocessing.fill_object_holes, LABELS),
    "remove_small_objects": (lambda labels: postprocessing.remove_small_objects(labels, 40), LABELS),
    "relabel_sequential": (postprocessing.relabel_sequential, LABELS),
    "cells_from_classes": (postprocessing.cells_from_classes, targets.cell_classes(LABELS)),
    "contour_watershed": (
        postprocessing.contour_watershed,
        np.uint8(255 * (VOLUME > 0)),
        np.zeros_like(VOLUME, np.uint8),
    ),
    "affinity_fragments": (postprocessing.affinity_fragments, AFFINITIES),
    "agglomerate_affinities": (lambda a: postprocessing.agglomerate_affinities(a, thresholds=(0.5,))[0], AFFINITIES),
    "cell_f1": (lambda a: evaluation.cell_f1(a, a).f1, LABELS),
    "cell_errors": (lambda a: len(evaluation.cell_errors(a, np.roll(a, 2, 0))), LABELS),
    "match_instances": (lambda a: evaluation.match_instances(a, a).f1, LABELS),
    "average_precision": (lambda a: evaluation.average_precision(a, a).ap, VOLUME),
    "adapted_rand_error": (lambda a: evaluation.adapted_rand_error(a, a).error, VOLUME),
    "aggregated_jaccard_index": (lambda a: evaluation.aggregated_jaccard_index(a, a).aji, LABELS),
    "object_geometry": (lambda a: evaluation.object_geometry(a).sizes, LABELS),
    "measure_cells": (lambda a: measure_cells(a).to_csv(), LABELS),
    "cell_outlines": (lambda a: len(cell_outlines(a)), LABELS),
}


@pytest.mark.parametrize("name", CALLS)
def test_read_only_arrays_give_the_same_result(name):
    function, *arguments = CALLS[name]
    expected = function(*(argument.copy() for argument in arguments))
    found = function(*(_frozen(argument.copy()) for argument in arguments))
    np.testing.assert_array_equal(found, expected)
