"""Mask R-CNN with a feature pyramid (`mask_rcnn_*`): the objects of an image, each with box, score and mask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from emlib.models.layer_style import check_word
from emlib.models.mask_rcnn_anchors import PyramidAnchors
from emlib.models.mask_rcnn_backbones import ARCHITECTURES, NORMS, STRIDES, build_backbone, torchvision
from emlib.models.mask_rcnn_images import IMAGENET_MEAN, IMAGENET_STD, ImageBatch, check_images, prepare_images
from emlib.models.mask_rcnn_limits import LimitsReached, choose_limits
from emlib.models.mask_rcnn_rules import RULES
from emlib.models.mask_rcnn_targets import check_targets
from emlib.models.mask_rcnn_weights import load_backbone_weights, looks_fresh
from emlib.models.sizes import check_channels, check_whole

BOX_WIDTH, TINY_BOX_WIDTH = 1024, 256


class MaskRCNN(nn.Module):
    """Mask R-CNN: a residual network, a feature pyramid, region proposals, and heads for class, box and mask.

    Built of torchvision's parts, whose names its weights have. Where torchvision and Detectron2, in which the nuclei
    system was trained, calculate differently, `rules="published"` follows Detectron2: the loss of boxes is the absolute
    difference (torchvision: smooth below 1/9), the proposal losses are divided by the full `anchor_batch`, regions are
    aligned to pixel centres with as many samples as they are large (torchvision: unaligned, 2), anchors are not
    rounded and their strides are exact, masks are learned as 0 or 1, the last layers start near 0, images are shrunk
    smoothly. `rules="torchvision"` calculates as torchvision.

    What still differs from Detectron2: the residual network halves its size in the 3 x 3 convolutions (as the published
    X-101; the published R-101 in the 1 x 1 ones), takes RGB from 0 to 1 standardised by ImageNet's mean and standard
    deviation (published: BGR 0-255, mean only), background is class 0 (published: the last), boxes and masks are put
    out for background too, and masks are sampled from pixels, not rasterised from polygons, which lost holes and edges.

    Source: He et al., "Mask R-CNN", ICCV 2017; Lin et al., "Feature pyramid networks", CVPR 2017. The defaults are
    those of the CodaLab nuclei system: 43,922,395 parameters with "resnet50", 62,862,299 with "resnet101", 107,006,939
    with "resnext101_32x8d". "mask_rcnn_tiny" learns from fresh weights on a CPU.

    Args:
        architecture: "resnet50", "resnet101", "resnext101_32x8d" or "tiny".
        in_channels: channels of the image.
        out_channels: classes, with background.
        anchor_sizes: for each of the five levels (strides 4 to 64) a size in pixels of the resized image, or several.
        aspect_ratios: height / width of the anchors.
        anchor_batch: anchors an image in the proposal losses.
        roi_batch: regions an image in the losses of the heads.
        proposals_before_nms: best candidates of each level, one number or (training, testing); None: 2000 and 1000.
        proposals_after_nms: proposals of an image, one number or (training, testing); None: 1000.
        detections_per_image: the most objects reported; None: 600.
        objects_per_image: as many as the fullest image of the data has; the three limits above that are None then
            follow from it, see `limits_for`.
        score_threshold: detections of this score or less are dropped.
        nms_threshold: detections that overlap a better one more than this are dropped.
        proposal_nms_threshold: likewise for the candidates of a level.
        short_side: pixels to which the shorter side of an image is brought; several: one is drawn for each image when
            there are targets in training. None: images keep their size.
        long_side: where the longer side would become longer than this, it gets this length; None: it may.
        test_short_side: as `short_side` without targets or in evaluation; None: the last of `short_side`.
        norm: "frozen" (batch normalisation with the statistics of pretrained weights), "batch" or "group", whose
            statistics include the padding, so that images of one batch should be of one size.
        trainable_layers: stages of the backbone that are trained, 0 to 5; None: 3 with `norm="frozen"`, else 5.
        backbone_weights_file: see `load_backbone_weights`; None: fresh weights. A recipe's checkpoint repeats all
            options, so there call the function instead.
        mask_size: side of the masks, an even number.
        rules: "published" or "torchvision".
        image_mean, image_std: of each channel; None: ImageNet's.

    Shape: images, a list of (in_channels, Y, X) floats from 0 to 1 or one (N, in_channels, Y, X), of any size.

    Raises:
        FileNotFoundError: there is no such file of weights.
        ImportError: torchvision is not installed.
        ValueError: bad settings or weights of another backbone; later images or targets that do not fit.

    Example:
        >>> from emlib.models.mask_rcnn_targets import detection_target
        >>> model = MaskRCNN("tiny", anchor_sizes=(8, 16, 32, 64, 128), norm="group", short_side=None)
        >>> labels = torch.zeros(64, 64, dtype=torch.int64)
        >>> labels[10:30, 20:40] = 1
        >>> sorted(model([torch.rand(3, 64, 64)], [detection_target(labels)]))
        ['loss_box_reg', 'loss_classifier', 'loss_mask', 'loss_objectness', 'loss_rpn_box_reg']
        >>> found = model.eval()(torch.rand(1, 3, 64, 48))[0]
        >>> found["boxes"].shape[1], found["masks"].shape[1:]
        (4, torch.Size([28, 28]))
    """

    min_divisor = (1, 1)  # batches are padded to multiples of 32 inside
    tile_grid = STRIDES[-1]  # of two tiles that start so, all maps have the same points

    def __init__(
        self,
        architecture: str,
        in_channels: int = 3,
        out_channels: int = 2,
        anchor_sizes: Sequence[float | Sequence[float]] = (32, 64, 128, 256, 512),
        aspect_ratios: Sequence[float] = (0.5, 1.0, 2.0),
        anchor_batch: int = 256,
        roi_batch: int = 128,
        proposals_before_nms: int | Sequence[int] | None = None,
        proposals_after_nms: int | Sequence[int] | None = None,
        detections_per_image: int | None = None,
        objects_per_image: int | None = None,
        score_threshold: float = 0.05,
        nms_threshold: float = 0.5,
        proposal_nms_threshold: float = 0.7,
        short_side: int | Sequence[int] | None = 1200,
        long_side: int | None = 1500,
        test_short_side: int | None = None,
        norm: str = "frozen",
        trainable_layers: int | None = None,
        backbone_weights_file: str | Path | None = None,
        mask_size: int = 28,
        rules: str = "published",
        image_mean: Sequence[float] | None = None,
        image_std: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        torchvision()
        # These import torchvision, which is not wanted before a network needs it.
        from emlib.models.mask_rcnn_proposals import ProposalNetwork
        from emlib.models.mask_rcnn_regions import RegionHeads

        check_word("mask_rcnn", "architecture", architecture, ARCHITECTURES)
        self.name = name = f"mask_rcnn of {architecture}"
        check_channels(name, in_channels, out_channels)
        check_whole(name, "out_channels", out_channels, 2)
        for key, value in (("anchor_batch", anchor_batch), ("roi_batch", roi_batch), ("mask_size", mask_size)):
            check_whole(name, key, value, 2)
        if mask_size % 2:
            raise ValueError(f"{name}: mask_size is {mask_size}, but an even number was expected.")
        check_word(name, "norm", norm, NORMS)
        check_word(name, "rules", rules, tuple(RULES))
        shares = {
            "score_threshold": score_threshold,
            "nms_threshold": nms_threshold,
            "proposal_nms_threshold": proposal_nms_threshold,
        }
        for key, value in shares.items():
            if not isinstance(value, int | float) or not 0 <= value <= 1:
                raise ValueError(f"{name}: {key} is {value!r}, but a number from 0 to 1 was expected.")
        self.given_limits = (proposals_before_nms, proposals_after_nms, detections_per_image)
        limits = choose_limits(name, *self.given_limits, objects_per_image)
        if trainable_layers is None:
            trainable_layers = 3 if norm == "frozen" else 5
        check_whole(name, "trainable_layers", trainable_layers, 0)
        if trainable_layers > 5:
            raise ValueError(f"{name}: trainable_layers is {trainable_layers}, but at most 5 was expected.")
        self.in_channels, self.out_channels, self.norm, self.rules = in_channels, out_channels, norm, RULES[rules]
        self.short_sides, self.test_short_sides = _short_sides(name, short_side, test_short_side)
        if long_side is not None:
            check_whole(name, "long_side", long_side, 1)
        self.long_side = long_side
        self.image_mean = _per_channel(name, "image_mean", image_mean, in_channels, IMAGENET_MEAN)
        self.image_std = _per_channel(name, "image_std", image_std, in_channels, IMAGENET_STD)
        if min(self.image_std) <= 0:
            raise ValueError(f"{name}: image_std is {list(self.image_std)}, but numbers above 0 were expected.")

        anchors = PyramidAnchors(anchor_sizes, aspect_ratios, STRIDES, self.rules)
        self.backbone = build_backbone(architecture, in_channels, norm, trainable_layers)
        width = self.backbone.out_channels
        self.rpn = ProposalNetwork(
            width,
            anchors,
            anchor_batch=anchor_batch,
            before_nms=limits["before_nms"],
            after_nms=limits["after_nms"],
            nms_threshold=proposal_nms_threshold,
            rules=self.rules,
        )
        self.roi_heads = RegionHeads(
            width,
            out_channels,
            box_width=TINY_BOX_WIDTH if architecture == "tiny" else BOX_WIDTH,
            roi_batch=roi_batch,
            score_threshold=score_threshold,
            nms_threshold=nms_threshold,
            detections_per_image=limits["detections"],
            mask_size=mask_size,
            rules=self.rules,
        )
        self.limits_reached = LimitsReached()
        self._starts_fresh: bool | None = None
        if backbone_weights_file is not None:
            load_backbone_weights(self, backbone_weights_file)

    def forward(
        self,
        images: Sequence[torch.Tensor] | torch.Tensor,
        targets: list[Mapping[str, torch.Tensor]] | None = None,
    ) -> Any:
        """Losses where targets are given, detections where not.

        Args:
            images: see the class.
            targets: for each image "boxes" (n, 4) floats x0, y0, x1, y1 in pixels, "labels" (n,) int64 from 1, and
                "masks" (n, y, x) uint8 or "instances" (y, x) int32, see `detection_target`; n may be 0. Needed in
                training; in evaluation they give the same losses, for example of validation images.

        Returns:
            With targets a dict of five losses: loss_classifier, loss_box_reg, loss_mask, loss_objectness and
            loss_rpn_box_reg. The regions and anchors that they are calculated for are drawn from torch's generator.
            Without targets a list of one dict an image, best first: "boxes" (n, 4) in pixels of the image as it was
            given, "scores" (n,), "labels" (n,) and "masks" (n, mask_size, mask_size), the probability inside the box,
            which `paste_masks` draws; and "cut_off", whether there were more than `detections_per_image`.
            `limits_reached` counts the images whose limits cut something off.

        Raises:
            TypeError, ValueError: as `check_images` and `check_targets`; no targets in training; training fresh weights
            with frozen normalisation, which explodes.
        """
        images = check_images(self.name, images, self.in_channels)
        if targets is None and self.training:
            raise ValueError(f"{self.name}: training needs targets; call eval() first to detect.")
        if targets is not None:
            check_targets(self.name, targets, [tuple(image.shape[1:]) for image in images], self.out_channels)
            self._refuse_fresh()
        batch = self.prepare(images)
        features = self.backbone(batch.tensors)
        truth = None
        if targets is not None:
            truth = [batch.to_network(number, target["boxes"].float()) for number, target in enumerate(targets)]
        proposals, losses, cut_before = self.rpn(batch, features, truth)
        found, head_losses, cut_after = self.roi_heads(batch, features, proposals, targets)
        if targets is not None:
            return head_losses | losses
        self.limits_reached += cut_before + cut_after + LimitsReached(images=len(images))
        for number, one in enumerate(found):
            one["boxes"] = batch.to_image(number, one["boxes"])
        return found

    def prepare(self, images: list[torch.Tensor]) -> ImageBatch:
        """Images as the backbone takes them."""
        return prepare_images(
            images,
            mean=self.image_mean,
            std=self.image_std,
            short_sides=self.short_sides if self.training else self.test_short_sides,
            long_side=self.long_side,
            smooth_shrinking=self.rules.smooth_shrinking,
        )

    def follow_objects(self, objects_per_image: int) -> None:
        """Change the limits that were left to the data: as if built with this `objects_per_image`.

        Raises:
            ValueError: no whole number from 0.

        Example:
            >>> model = mask_rcnn_tiny(proposals_after_nms=500)
            >>> model.follow_objects(900)
            >>> model.rpn.most_proposals, model.roi_heads.detections_per_img
            ((500, 500), 1800)
        """
        limits = choose_limits(self.name, *self.given_limits, objects_per_image)
        self.rpn.limit(limits["before_nms"], limits["after_nms"])
        self.roi_heads.detections_per_img = limits["detections"]

    def _refuse_fresh(self) -> None:
        if self.norm == "frozen" and self.training and self._starts_fresh is None:
            self._starts_fresh = looks_fresh(self.backbone.body)
        if self._starts_fresh:
            self._starts_fresh = None  # weights may be loaded before the next try
            raise ValueError(
                f"{self.name} has fresh weights and norm 'frozen', with which it does not train: load pretrained "
                "weights of the backbone, or choose norm 'group' or 'batch'."
            )


mask_rcnn_r50_fpn = partial(MaskRCNN, "resnet50")
mask_rcnn_r101_fpn = partial(MaskRCNN, "resnet101")
mask_rcnn_x101_32x8d_fpn = partial(MaskRCNN, "resnext101_32x8d")
mask_rcnn_tiny = partial(
    MaskRCNN, "tiny", anchor_sizes=(8, 16, 32, 64, 128), short_side=None, long_side=None, norm="group"
)


def _short_sides(name: str, given: Any, test: int | None) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Lengths to draw from in training, and the one in evaluation; empty: no resizing."""
    sides = () if given is None else (given,) if isinstance(given, int) else tuple(given)
    if given is not None and not sides:
        raise ValueError(f"{name}: short_side is empty, but a length, several, or None was expected.")
    for side in sides:
        check_whole(name, "short_side", side, 1)
    if test is None:
        return sides, sides[-1:]
    check_whole(name, "test_short_side", test, 1)
    return sides, (test,)


def _per_channel(name: str, key: str, given: Any, channels: int, published: tuple[float, ...]) -> tuple[float, ...]:
    if given is None:
        # Of other channels than red, green and blue nothing is known but their usual brightness.
        return published if channels == 3 else (sum(published) / 3,) * channels
    values = tuple(given)
    if len(values) != channels or not all(isinstance(value, int | float) for value in values):
        raise ValueError(f"{name}: {key} is {list(values)}, but {channels} numbers, one a channel, were expected.")
    return values
