"""The region proposal network: where objects may be. Imports torchvision."""

from __future__ import annotations

import math

import torch
from torch.nn import functional
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead
from torchvision.ops import clip_boxes_to_image, remove_small_boxes

from emlib.models.mask_rcnn_anchors import NOTHING, UNDECIDED, PyramidAnchors, match_boxes
from emlib.models.mask_rcnn_images import ImageBatch
from emlib.models.mask_rcnn_limits import LimitsReached
from emlib.models.mask_rcnn_rules import DetectionRules
from emlib.models.mask_rcnn_suppression import suppress

FOREGROUND, BACKGROUND = 0.7, 0.3
SMALLEST = 1e-3
# A candidate of this probability is taken for an object; a proposal of this probability may become one.
LIKELY, POSSIBLE = 0.5, 0.05


class ProposalNetwork(RegionProposalNetwork):
    """torchvision's region proposal network, with the published losses and with a count of what its limits cut off.

    Against torchvision's: the losses and anchors follow `rules`; candidates are ranked by their logit, so that those
    whose probability is 1 in float32 keep their order; only the candidates that are kept are turned into boxes; anchors
    and objects are compared in blocks; boxes that are not finite are dropped; and losses are calculated when targets
    are given, in training and in evaluation.

    Where `score_thresh` is set, proposals of this objectness or less are dropped in testing.

    Args:
        channels: of the feature maps.
        anchors: the anchors of the levels.
        anchor_batch: anchors an image that the losses are calculated for, at most half of them on objects.
        before_nms, after_nms: candidates a level, proposals an image, each for training and for testing.
        nms_threshold: intersection over union above which the lower-scored candidate of a level is dropped.
        rules: see `DetectionRules`.
    """

    def __init__(
        self,
        channels: int,
        anchors: PyramidAnchors,
        *,
        anchor_batch: int,
        before_nms: tuple[int, int],
        after_nms: tuple[int, int],
        nms_threshold: float,
        rules: DetectionRules,
    ) -> None:
        super().__init__(
            anchors,
            RPNHead(channels, anchors.per_point),
            FOREGROUND,
            BACKGROUND,
            anchor_batch,
            0.5,
            dict(zip(("training", "testing"), before_nms, strict=True)),
            dict(zip(("training", "testing"), after_nms, strict=True)),
            nms_threshold,
        )
        self.anchor_batch, self.rules = anchor_batch, rules

    @property
    def most_candidates(self) -> tuple[int, int]:
        """Candidates of a level, for training and for testing."""
        return self._pre_nms_top_n["training"], self._pre_nms_top_n["testing"]

    @property
    def most_proposals(self) -> tuple[int, int]:
        """Proposals of an image, for training and for testing."""
        return self._post_nms_top_n["training"], self._post_nms_top_n["testing"]

    def limit(self, before_nms: tuple[int, int], after_nms: tuple[int, int]) -> None:
        """Change the numbers of candidates and proposals, each for training and for testing."""
        self._pre_nms_top_n = dict(zip(("training", "testing"), before_nms, strict=True))
        self._post_nms_top_n = dict(zip(("training", "testing"), after_nms, strict=True))

    def forward(
        self,
        images: ImageBatch,
        features: list[torch.Tensor],
        truth: list[torch.Tensor] | None = None,
    ) -> tuple[list[torch.Tensor], dict[str, torch.Tensor], LimitsReached]:
        """Proposals, losses and limits reached.

        Args:
            images: a batch.
            features: its feature maps, finest first.
            truth: the boxes of each image's objects, (n, 4), in pixels of the resized image.

        Returns:
            (n, 4) float32 boxes of each image, best first; with `truth` the losses, else {}; what limits cut off.
        """
        logits, deltas = self.head(features)
        grids = [tuple(level.shape[2:]) for level in features]
        anchors = self.anchor_generator(tuple(images.tensors.shape[2:]), grids, features[0].device)
        # In float32 also under mixed precision: half-precision coordinates are pixels wrong.
        logits = torch.cat([_flatten(level, 1) for level in logits], 1)[:, :, 0].float()
        deltas = torch.cat([_flatten(level, 4) for level in deltas], 1).float()
        counts = self.anchor_generator.counts(grids)
        with torch.no_grad():
            mode = "testing" if truth is None else "training"
            found = [
                self._propose(one_logits, one_deltas, anchors, counts, size, mode)
                for one_logits, one_deltas, size in zip(logits, deltas, images.sizes, strict=True)
            ]
        reached = sum((one for _, one in found), LimitsReached())
        losses = {} if truth is None else self._losses(logits, deltas, anchors, truth)
        return [boxes for boxes, _ in found], losses, reached

    def _propose(
        self,
        logits: torch.Tensor,
        deltas: torch.Tensor,
        anchors: torch.Tensor,
        counts: list[int],
        size: tuple[int, int],
        mode: str,
    ) -> tuple[torch.Tensor, LimitsReached]:
        most, start, places, levels, cut = self._pre_nms_top_n[mode], 0, [], [], 0
        for level, part in enumerate(logits.split(counts)):
            best = part.topk(min(most, len(part))).indices
            cut += (part > _logit(LIKELY)).sum() > most
            places.append(best + start)
            levels.append(torch.full_like(best, level))
            start += len(part)
        place, level = torch.cat(places), torch.cat(levels)
        boxes = self.box_coder.decode_single(deltas[place], anchors[place])
        scores = logits[place]
        boxes = clip_boxes_to_image(boxes, size)
        finite = torch.isfinite(boxes).all(1) & torch.isfinite(scores)
        if mode == "testing" and self.score_thresh:
            finite &= torch.sigmoid(scores) > self.score_thresh
        boxes, scores, level = boxes[finite], scores[finite], level[finite]
        large = remove_small_boxes(boxes, SMALLEST)
        boxes, scores, level = boxes[large], scores[large], level[large]
        keep = suppress(boxes, scores, level, self.nms_thresh)
        dropped = scores[keep[self._post_nms_top_n[mode] :]]
        keep = keep[: self._post_nms_top_n[mode]]
        possible, likely = (int((dropped > _logit(share)).any()) for share in (POSSIBLE, LIKELY))
        reached = LimitsReached(before_nms=int(cut > 0), after_nms=possible, likely=likely)
        return boxes[keep], reached

    def _losses(
        self, logits: torch.Tensor, deltas: torch.Tensor, anchors: torch.Tensor, truth: list[torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        matched = [match_boxes(boxes, anchors, low=BACKGROUND, high=FOREGROUND) for boxes in truth]
        classes = [_classes(one) for one in matched]
        on_objects, beside = self.fg_bg_sampler(classes)
        total_box, total_object, sampled = deltas.new_zeros(()), logits.new_zeros(()), 0
        for number, boxes in enumerate(truth):
            positive = torch.nonzero(on_objects[number])[:, 0]
            used = torch.cat([positive, torch.nonzero(beside[number])[:, 0]])
            objective = self.box_coder.encode_single(boxes[matched[number][positive]], anchors[positive])
            total_box = total_box + functional.smooth_l1_loss(
                deltas[number, positive], objective, beta=self.rules.smooth_l1_beta, reduction="sum"
            )
            total_object = total_object + functional.binary_cross_entropy_with_logits(
                logits[number, used], classes[number][used], reduction="sum"
            )
            sampled += len(used)
        divisor = self.anchor_batch * len(truth) if self.rules.fixed_normalizer else max(sampled, 1)
        return {"loss_objectness": total_object / divisor, "loss_rpn_box_reg": total_box / divisor}


def _logit(probability: float) -> float:
    return math.log(probability / (1 - probability))


def _classes(matched: torch.Tensor) -> torch.Tensor:
    """What the sampler reads: 1 for objects, 0 for nothing, -1 for what is not used."""
    classes = (matched >= 0).float()
    classes[matched == NOTHING] = 0.0
    classes[matched == UNDECIDED] = -1.0
    return classes


def _flatten(level: torch.Tensor, values: int) -> torch.Tensor:
    """(n, anchors x values, rows, columns) -> (n, rows x columns x anchors, values)."""
    return level.unflatten(1, (-1, values)).permute(0, 3, 4, 1, 2).flatten(1, 3)
