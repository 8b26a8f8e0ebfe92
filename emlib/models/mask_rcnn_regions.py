"""The heads of Mask R-CNN: class, box and mask of every region. Imports torchvision."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn
from torch.nn import functional
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.ops import clip_boxes_to_image, remove_small_boxes, roi_align

from emlib.models.mask_rcnn_backbones import STRIDES
from emlib.models.mask_rcnn_images import ImageBatch
from emlib.models.mask_rcnn_limits import LimitsReached
from emlib.models.mask_rcnn_rules import DetectionRules
from emlib.models.mask_rcnn_suppression import suppress
from emlib.models.mask_rcnn_targets import sample_masks

FOREGROUND, FOREGROUND_SHARE = 0.5, 0.25
BOX_SIZE = 7
CANONICAL_SIDE, CANONICAL_LEVEL = 224, 4
FINEST_LEVEL, COARSEST_LEVEL = 2, 5
SMALLEST = 1e-2
# Regions that are classified at a time when detecting, and whose masks are calculated: memory does not grow with the
# number of regions.
_REGIONS_AT_ONCE, _MASKS_AT_ONCE = 2048, 256


def pyramid_level(boxes: torch.Tensor, rules: DetectionRules) -> torch.Tensor:
    """The level of the pyramid, 2 (stride 4) to 5 (stride 32), that a region is cut from: a side of 224 belongs to 4.

    Args:
        boxes: (n, 4), x0, y0, x1, y1.
        rules: the number that keeps a side of exactly 224, 112 ... from falling to the level below.

    Returns:
        (n,) int64.

    Example:
        >>> from emlib.models.mask_rcnn_rules import PUBLISHED
        >>> sides = torch.tensor([20.0, 56, 112, 224, 448, 2000])
        >>> pyramid_level(torch.stack([sides * 0, sides * 0, sides, sides], 1), PUBLISHED).tolist()
        [2, 2, 3, 4, 5, 5]
    """
    side = ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).sqrt()
    if rules.level_epsilon < 1e-7:
        level = CANONICAL_LEVEL + torch.log2(side / CANONICAL_SIDE + rules.level_epsilon)
    else:
        level = CANONICAL_LEVEL + torch.log2(side / CANONICAL_SIDE) + rules.level_epsilon
    return level.floor().clamp(FINEST_LEVEL, COARSEST_LEVEL).to(torch.int64)


class PyramidRoIAlign(nn.Module):
    """Cuts regions of `size` x `size` bins out of the level of a pyramid that fits their area.

    The strides are known, where torchvision's pooling guesses them from the sizes of its first batch (and is wrong for
    good where that was smaller than its padding).
    """

    def __init__(self, size: int, rules: DetectionRules) -> None:
        super().__init__()
        self.size, self.rules = size, rules

    def forward(self, features: list[torch.Tensor], boxes: list[torch.Tensor]) -> torch.Tensor:
        """Maps, finest first, and the boxes of each image -> (all boxes, channels, size, size)."""
        images = [torch.full_like(one[:, :1], number) for number, one in enumerate(boxes)]
        regions = torch.cat([torch.cat(images), torch.cat(boxes)], 1)
        level = pyramid_level(regions[:, 1:], self.rules) - FINEST_LEVEL
        output = features[0].new_zeros((len(regions), features[0].shape[1], self.size, self.size))
        for number, (maps, stride) in enumerate(zip(features[:4], STRIDES, strict=False)):
            here = torch.nonzero(level == number)[:, 0]
            if len(here):
                cut = roi_align(
                    maps,
                    regions[here].to(maps.dtype),
                    self.size,
                    1 / stride,
                    self.rules.sampling_ratio,
                    self.rules.aligned,
                )
                output = output.index_put((here,), cut.to(output.dtype))
        return output


class RegionHeads(RoIHeads):
    """torchvision's box and mask heads, with the published losses and with a count of what the limit cut off.

    Against torchvision's: pooling, losses and targets of the masks follow `rules`; masks of a training image are never
    turned into floating point as a whole; masks of detections are calculated in portions; and losses are calculated
    when targets are given, in training and in evaluation.

    Args:
        channels: of the feature maps.
        classes: with background.
        box_width: width of the box head's two layers.
        roi_batch: regions an image that the losses are calculated for, at most a quarter of them objects.
        score_threshold: detections of this score or less are dropped.
        nms_threshold: intersection over union above which the lower-scored detection of a class is dropped.
        detections_per_image: the most that are reported.
        mask_size: side of the masks.
        rules: see `DetectionRules`.
    """

    def __init__(
        self,
        channels: int,
        classes: int,
        *,
        box_width: int,
        roi_batch: int,
        score_threshold: float,
        nms_threshold: float,
        detections_per_image: int,
        mask_size: int,
        rules: DetectionRules,
    ) -> None:
        super().__init__(
            PyramidRoIAlign(BOX_SIZE, rules),
            TwoMLPHead(channels * BOX_SIZE**2, box_width),
            FastRCNNPredictor(box_width, classes),
            FOREGROUND,
            FOREGROUND,
            roi_batch,
            FOREGROUND_SHARE,
            None,
            score_threshold,
            nms_threshold,
            detections_per_image,
            PyramidRoIAlign(mask_size // 2, rules),
            MaskRCNNHeads(channels, (channels,) * 4, 1),
            MaskRCNNPredictor(channels, channels, classes),
        )
        self.mask_size, self.rules = mask_size, rules
        if rules.small_first_weights:
            _draw_published_weights(self)

    def forward(
        self,
        images: ImageBatch,
        features: list[torch.Tensor],
        proposals: list[torch.Tensor],
        targets: list[Mapping[str, torch.Tensor]] | None = None,
    ) -> tuple[list[dict[str, torch.Tensor]], dict[str, torch.Tensor], LimitsReached]:
        """Detections (without targets) or losses (with them), and limits reached.

        Boxes are in pixels of the resized images, those of the targets in pixels of the original ones.
        """
        if targets is not None:
            return [], self._losses(images, features, proposals, targets), LimitsReached()
        logits, deltas = self._classify_in_portions(features, proposals)
        found = self._select(logits, deltas, proposals, images.sizes)
        for number, one in enumerate(found):
            one["masks"] = self._masks(features, number, one)
        return found, {}, LimitsReached(detections=sum(one["cut_off"] for one in found))

    def _classify(self, features: list[torch.Tensor], boxes: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        logits, deltas = self.box_predictor(self.box_head(self.box_roi_pool(features, boxes)))
        return logits.float(), deltas.float()

    def _classify_in_portions(
        self, features: list[torch.Tensor], proposals: list[torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if sum(len(one) for one in proposals) <= _REGIONS_AT_ONCE:
            return self._classify(features, proposals)
        portions = [
            self._classify([level[image : image + 1] for level in features], [part])
            for image, boxes in enumerate(proposals)
            for part in boxes.split(_REGIONS_AT_ONCE)
        ]
        logits, deltas = zip(*portions, strict=True)
        return torch.cat(logits), torch.cat(deltas)

    def _losses(
        self,
        images: ImageBatch,
        features: list[torch.Tensor],
        proposals: list[torch.Tensor],
        targets: list[Mapping[str, torch.Tensor]],
    ) -> dict[str, torch.Tensor]:
        with torch.no_grad():
            truth = [images.to_network(number, target["boxes"].float()) for number, target in enumerate(targets)]
            boxes = self.add_gt_proposals(proposals, truth)
            matched, labels = self.assign_targets_to_proposals(boxes, truth, [target["labels"] for target in targets])
            chosen = self.subsample(labels)
            boxes, matched, labels = (
                [one[places] for one, places in zip(each, chosen, strict=True)] for each in (boxes, matched, labels)
            )
        logits, deltas = self._classify(features, boxes)
        label = torch.cat(labels)
        positive = torch.nonzero(label > 0)[:, 0]
        objective = [
            self.box_coder.encode_single(one[match[of > 0]], box[of > 0])
            for one, match, box, of in zip(truth, matched, boxes, labels, strict=True)
        ]
        box_loss = functional.smooth_l1_loss(
            deltas.unflatten(1, (-1, 4))[positive, label[positive]],
            torch.cat(objective),
            beta=self.rules.smooth_l1_beta,
            reduction="sum",
        )
        # An image without objects, and proposals, leaves nothing to take the mean of.
        class_loss = functional.cross_entropy(logits, label, reduction="sum") / max(len(label), 1)
        losses = {"loss_classifier": class_loss, "loss_box_reg": box_loss / max(len(label), 1)}

        with torch.no_grad():
            objects = [match[of > 0] for match, of in zip(matched, labels, strict=True)]
            boxes = [box[of > 0] for box, of in zip(boxes, labels, strict=True)]
            wanted = [
                sample_masks(
                    target,
                    place,
                    images.to_image(number, box),
                    self.mask_size,
                    aligned=self.rules.aligned,
                    binary=self.rules.binary_masks,
                )
                for number, (target, place, box) in enumerate(zip(targets, objects, boxes, strict=True))
            ]
        masks = self.mask_predictor(self.mask_head(self.mask_roi_pool(features, boxes))).float()
        if len(positive):
            masks = masks[torch.arange(len(positive), device=masks.device), label[positive]]
            losses["loss_mask"] = functional.binary_cross_entropy_with_logits(masks, torch.cat(wanted))
        else:
            losses["loss_mask"] = masks.sum()
        return losses

    def _select(
        self, logits: torch.Tensor, deltas: torch.Tensor, proposals: list[torch.Tensor], sizes: tuple
    ) -> list[dict]:
        """Boxes, scores and classes of the detections of each image, best first, and whether some were cut off."""
        counts = [len(one) for one in proposals]
        scores_of = functional.softmax(logits, 1)[:, 1:].split(counts)
        deltas_of = deltas.split(counts)
        found = []
        for scores, one, box, size in zip(scores_of, deltas_of, proposals, sizes, strict=True):
            boxes = self.box_coder.decode_single(one, box).unflatten(1, (-1, 4))[:, 1:]
            boxes = clip_boxes_to_image(boxes, size)
            good = torch.isfinite(boxes).all(2) & (scores > self.score_thresh)
            place, label = torch.nonzero(good, as_tuple=True)
            boxes, scores = boxes[place, label], scores[place, label]
            large = remove_small_boxes(boxes, SMALLEST)
            boxes, scores, label = boxes[large], scores[large], label[large] + 1
            keep = suppress(boxes, scores, label, self.nms_thresh)
            cut_off = len(keep) > self.detections_per_img
            keep = keep[: self.detections_per_img]
            found.append({"boxes": boxes[keep], "scores": scores[keep], "labels": label[keep], "cut_off": cut_off})
        return found

    def _masks(self, features: list[torch.Tensor], image: int, found: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """(n, mask_size, mask_size) probabilities of the detections of one image."""
        maps = [level[image : image + 1] for level in features]
        masks = [found["boxes"].new_zeros((0, self.mask_size, self.mask_size))]
        for boxes, labels in zip(
            found["boxes"].split(_MASKS_AT_ONCE), found["labels"].split(_MASKS_AT_ONCE), strict=True
        ):
            if len(boxes):
                logits = self.mask_predictor(self.mask_head(self.mask_roi_pool(maps, [boxes]))).float()
                masks.append(logits[torch.arange(len(labels), device=labels.device), labels].sigmoid())
        return torch.cat(masks)


def _draw_published_weights(heads: RegionHeads) -> None:
    """Detectron2's first weights, where torchvision's differ."""
    for layer in (heads.box_head.fc6, heads.box_head.fc7):
        nn.init.kaiming_uniform_(layer.weight, a=1)
        nn.init.zeros_(layer.bias)
    last = (heads.box_predictor.cls_score, heads.box_predictor.bbox_pred, heads.mask_predictor.mask_fcn_logits)
    for layer, deviation in zip(last, (0.01, 0.001, 0.001), strict=True):
        nn.init.normal_(layer.weight, std=deviation)
        nn.init.zeros_(layer.bias)
    nn.init.zeros_(heads.mask_predictor.conv5_mask.bias)
