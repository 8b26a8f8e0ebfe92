"""The sections of a recipe: every value that a run can vary, with its type, its range and its meaning."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Positive = Annotated[int, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Triple = tuple[Positive, Positive, Positive]
Margin = tuple[Count, Count, Count]
Nanometres = tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]]
Range = tuple[Count, Positive]


class Section(BaseModel):
    """Base of every section: immutable, no unknown key, no silent conversion of text to numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class SplitRecipe(Section):
    """Which sections (z, first and one past the last) train, validate and test.

    Training sections take part in nothing else. Validation and test are disjoint, or identical where the published
    system picks its checkpoint on the very sections that it reports (MitoEM, whose test labels are not public).
    """

    train: Range
    validation: Range
    test: Range

    @model_validator(mode="after")
    def _ordered(self) -> SplitRecipe:
        for name in ("train", "validation", "test"):
            start, stop = getattr(self, name)
            if start >= stop:
                raise ValueError(f"split.{name} is ({start}, {stop}), but its start must lie before its end")
        for one, other in (("train", "validation"), ("train", "test"), ("validation", "test")):
            a, b = getattr(self, one), getattr(self, other)
            if a[0] < b[1] and b[0] < a[1] and (one == "train" or a != b):
                raise ValueError(f"split.{one} {a} overlaps split.{other} {b}")
        return self


class DataRecipe(Section):
    """Where images and labels come from and how they are divided."""

    source: Literal["phantom", "registry", "files"] = "phantom"
    name: str | None = Field(None, description="registry: the data set's name in data/registry.yaml")
    image: str | None = Field(None, description="files: path of the image volume")
    labels: str | None = Field(None, description="files: path of the label volume")
    image_key: str | None = None
    labels_key: str | None = None
    structure: Literal["mitochondria", "neurites"] = "mitochondria"
    instances: Literal["as_labelled", "components"] = Field(
        "as_labelled", description="components: labels are a mask; instances are its 3-D 26-connected components"
    )
    voxel_size: Nanometres | None = Field(None, description="nm (z, y, x); None takes what the file says")
    shape: Triple | None = Field(None, description="phantom: voxels (z, y, x)")
    downsample: Triple = Field((1, 1, 1), description="coarser voxels: factors (z, y, x); the split counts coarse ones")
    min_object_size: Count = Field(0, description="objects with fewer voxels are dropped from the truth")
    split: SplitRecipe
    chunks: Triple | None = Field(None, description="chunk plan (z, y, x) of the tile data set; None loads crops")
    chunk_iterations: Positive = Field(2500, description="iterations that one chunk serves")
    chunk_overlap: bool = Field(True, description="chunks overlap by one half")
    pad: Margin = Field((0, 0, 0), description="reflected margin around the volume or each chunk, voxels (z, y, x)")
    shuffle_labels: bool = Field(False, description="control run: moves the truth away from its image; must fail")

    @model_validator(mode="after")
    def _complete(self) -> DataRecipe:
        needs = {"phantom": ("shape", "voxel_size"), "registry": ("name",), "files": ("image", "labels")}
        missing = [f"data.{key}" for key in needs[self.source] if getattr(self, key) is None]
        if missing:
            raise ValueError(f"data.source is '{self.source}', which also needs {' and '.join(missing)}")
        return self


class LossTerm(Section):
    """One loss of one target channel group."""

    name: str = Field(description="a name of emlib.losses, for example WeightedBCE")
    weight: Annotated[float, Field(ge=0)] = 1.0
    class_weight: str = Field("0", description="option of emlib.targets.class_weights: '0' none, '1' balanced")


class TargetOutput(Section):
    """One target: what the network learns, and how it is scored in training."""

    name: str = Field(description="name of the channel(s) in prediction.zarr, for example mask")
    option: str = Field(description="option of emlib.targets.build_target, for example 4-2-1")
    losses: tuple[LossTerm, ...]


class TargetRecipe(Section):
    """The targets, in the order of the network's output channels."""

    label_erosion: Count = 0
    outputs: tuple[TargetOutput, ...] = Field(min_length=1)


class Augment(Section):
    """An augmentation applied with this probability."""

    probability: Fraction = 0.0


class Rotate(Augment):
    right_angles: bool = Field(False, description="multiples of 90 degrees only")


class Rescale(Augment):
    low: Annotated[float, Field(gt=0)] = 0.8
    high: Annotated[float, Field(gt=0)] = 1.25


class Flip(Augment):
    z: bool = True
    transpose: bool = True


class Elastic(Augment):
    amplitude: Annotated[float, Field(ge=0)] = Field(16.0, description="voxels")
    sigma: Annotated[float, Field(gt=0)] = Field(4.0, description="voxels")


class Grayscale(Augment):
    contrast: Annotated[float, Field(ge=0)] = 0.3
    brightness: Annotated[float, Field(ge=0)] = 0.3
    per_section: Fraction = Field(0.5, description="share of samples in which every section gets its own change")


class MissingParts(Augment):
    section_probability: Fraction = 0.1


class MissingSection(Augment):
    sections: Positive = 2


class Misalign(Augment):
    displacement: Positive = Field(16, description="voxels")
    rotation: Fraction = Field(0.5, description="share of rotations, the rest are shifts")


class MotionBlur(Augment):
    sections: Positive = 2
    size: Positive = 11


class CutBlur(Augment):
    extent: Fraction = Field(0.4, description="side length as a share of the sample")
    factors: tuple[Positive, Positive] = (2, 8)


class CutNoise(Augment):
    extent: Fraction = 0.4
    amplitude: Fraction = 0.3


class AugmentationRecipe(Section):
    """EM augmentations (VIDAR / PyTorch Connectomics v1); a probability of 0 switches one off."""

    rotate: Rotate = Rotate()
    rescale: Rescale = Rescale()
    elastic: Elastic = Elastic()
    grayscale: Grayscale = Grayscale()
    missing_parts: MissingParts = MissingParts()
    missing_section: MissingSection = MissingSection()
    misalign: Misalign = Misalign()
    motion_blur: MotionBlur = MotionBlur()
    cut_blur: CutBlur = CutBlur()
    cut_noise: CutNoise = CutNoise()
    flip: Flip = Flip()


class ModelRecipe(Section):
    name: str = Field(description="a name of emlib.models.list_models()")
    in_channels: Positive = 1
    widths: tuple[Positive, ...] | None = Field(None, description="feature maps per level; None: as published")
    input_mean: float = Field(0.0, description="intensity (0 to 1) that the network sees as 0")
    input_std: Annotated[float, Field(gt=0)] = Field(1.0, description="intensity difference that it sees as 1")
    pretrained: str | None = Field(None, description="checkpoint folder whose weights training starts from")

    def options(self) -> dict[str, Any]:
        """The keyword arguments of `emlib.models.build_model` that differ from the published network."""
        options: dict[str, Any] = {} if self.widths is None else {"widths": list(self.widths)}
        if (self.input_mean, self.input_std) != (0.0, 1.0):
            options |= {"input_mean": self.input_mean, "input_std": self.input_std}
        return options


class OptimizerRecipe(Section):
    name: Literal["adam", "adamw", "sgd"] = "adam"
    learning_rate: Annotated[float, Field(gt=0)] = 1e-4
    weight_decay: Annotated[float, Field(ge=0)] = Field(1e-4, description="0 is used for norms and biases")
    momentum: Fraction = Field(0.9, description="sgd only")


class ScheduleRecipe(Section):
    name: Literal["warmup_multistep", "warmup_cosine", "constant"] = "warmup_multistep"
    warmup_iterations: Count = 1000
    warmup_factor: Fraction = 0.001
    milestones: tuple[Positive, ...] = ()
    gamma: Annotated[float, Field(gt=0, le=1)] = 0.1


class RejectionRecipe(Section):
    min_foreground: Fraction = Field(0.0, description="share of object voxels below which a patch is rejected")
    probability: Fraction = Field(0.95, description="share of such patches that are rejected")


class TrainingRecipe(Section):
    """How the network is trained."""

    iterations: Positive
    window: Triple = Field(description="voxels (z, y, x) of one sample")
    batch_size: Positive = Field(2, description="samples per step and process")
    accumulate: Positive = Field(1, description="steps whose gradients are added before one update")
    precision: Literal["32", "16", "bf16"] = "32"
    optimizer: OptimizerRecipe = OptimizerRecipe()
    schedule: ScheduleRecipe = ScheduleRecipe()
    clip_norm: Annotated[float, Field(gt=0)] | None = None
    clip_value: Annotated[float, Field(gt=0)] | None = None
    rejection: RejectionRecipe = RejectionRecipe()
    sync_batchnorm: bool = True
    workers: Count = 0
    log_every: Positive = 10
    image_every: Count = Field(200, description="iterations between image grids in TensorBoard; 0 switches off")
    save_every: Positive = 1000
    keep_last: Positive = 2
    validate_every: Count = Field(1000, description="iterations between validation losses; 0 switches off")
    validation_samples: Positive = 8
    evaluate_every: Count = Field(0, description="iterations between whole inference + AP on validation; 0 is off")


class InferenceRecipe(Section):
    """How the trained network is applied."""

    window: Triple
    overlap: Annotated[float, Field(ge=0, lt=1)] = 0.5
    stride: Triple | None = Field(None, description="voxels (z, y, x); takes the place of overlap")
    pad: Margin = (0, 0, 0)
    blending: Literal["gaussian", "bump", "constant"] = "gaussian"
    augment: Literal[4, 8, 16] | str | None = Field(None, description="test-time augmentation")
    reduce: Literal["mean", "min", "max"] = "mean"
    batch_size: Positive = 1
    precision: Literal["32", "16", "bf16"] = "32"
    dtype: Literal["uint8", "float16", "float32"] = "uint8"
    memory: str = "2GiB"


class PostprocessingRecipe(Section):
    """Prediction to instances. None leaves a value at the default of the method's function."""

    method: str = "contour_watershed"
    seed_mask: Fraction | None = None
    seed_contour: Fraction | None = None
    foreground: Fraction | None = None
    min_size: Count | None = None

    def parameters(self) -> dict[str, float | int]:
        """The keyword arguments of the method's function that the recipe sets."""
        return {key: value for key, value in self.model_dump(exclude={"method"}).items() if value is not None}


class EvaluationRecipe(Section):
    rules: Literal["challenge", "one-to-one"] = "challenge"
    size_limits: tuple[Positive, Positive] = Field((5000, 30000), description="voxels: small | medium | large")
    drop_truth_below: Count = Field(2000, description="voxels")
    match_threshold: Fraction = 0.5
