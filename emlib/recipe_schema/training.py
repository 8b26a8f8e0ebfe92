"""The network and its training."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue, model_validator

from emlib.recipe_schema.section import Count, Fraction, Positive, Section, Triple


class ModelRecipe(Section):
    name: str = Field(description="a name of emlib.models.list_models()")
    in_channels: Positive = 1
    widths: tuple[Positive, ...] | None = Field(None, description="feature maps per level; None: as published")
    input_mean: float = Field(0.0, description="intensity (0 to 1) that the network sees as 0")
    input_std: Annotated[float, Field(gt=0)] = Field(1.0, description="intensity difference that it sees as 1")
    settings: dict[str, JsonValue] = Field(
        {}, description="further arguments of this network's builder, for example {norm: gn}; another name drops them"
    )
    pretrained: str | None = Field(
        None, description="weights that training starts from: a checkpoint, a training's folder, .safetensors or .pth"
    )
    pretrained_match: Literal["exact", "partial"] = Field(
        "exact", description="partial: layers that are missing there or of another shape keep their fresh weights"
    )

    @model_validator(mode="after")
    def _named_once(self) -> ModelRecipe:
        for key in self.settings:
            if key == "out_channels":
                raise ValueError("model.settings holds 'out_channels', but these follow from the targets")
            if key in type(self).model_fields:
                raise ValueError(f"model.settings holds '{key}', which is a key of its own: model.{key}")
        return self

    def options(self) -> dict[str, Any]:
        """The keyword arguments of `emlib.models.build_model` that differ from the published network."""
        options: dict[str, Any] = dict(self.settings)
        if self.widths is not None:
            options["widths"] = list(self.widths)
        if (self.input_mean, self.input_std) != (0.0, 1.0):
            options |= {"input_mean": self.input_mean, "input_std": self.input_std}
        return options


Momentum = Annotated[float, Field(ge=0, lt=1)]


class OptimizerRecipe(Section):
    name: Literal["adam", "adamw", "sgd"] = "adam"
    learning_rate: Annotated[float, Field(gt=0)] = 1e-4
    weight_decay: Annotated[float, Field(ge=0)] = Field(1e-4, description="0 is used for norms and biases")
    momentum: Fraction = Field(0.9, description="sgd only")
    betas: tuple[Momentum, Momentum] = Field((0.9, 0.999), description="adam and adamw: decay of the two moments")
    amsgrad: bool = Field(False, description="adam and adamw: the largest second moment so far counts")


class PlateauRecipe(Section):
    """The learning rate is multiplied by `factor` when the loss no longer gets better."""

    every: Positive = Field(10, description="iterations whose mean loss is one look")
    patience: Count = Field(1000, description="looks without a better one before the rate goes down")
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.1
    threshold: Annotated[float, Field(ge=0, lt=1)] = Field(1e-4, description="share by which a better loss is lower")
    lowest_rate: Annotated[float, Field(ge=0)] = 1e-7


class ScheduleRecipe(Section):
    name: Literal["warmup_multistep", "warmup_cosine", "constant", "plateau"] = "warmup_multistep"
    warmup_iterations: Count = 1000
    warmup_factor: Fraction = 0.001
    milestones: tuple[Positive, ...] = ()
    gamma: Annotated[float, Field(gt=0, le=1)] = 0.1
    plateau: PlateauRecipe | None = Field(None, description="plateau: when and how far the rate goes down")

    @model_validator(mode="after")
    def _plateau_of_its_own(self) -> ScheduleRecipe:
        if (self.name == "plateau") != (self.plateau is not None):
            wanted = "needs training.schedule.plateau" if self.plateau is None else "has no training.schedule.plateau"
            raise ValueError(f"training.schedule.name is '{self.name}', which {wanted}")
        return self


class RejectionRecipe(Section):
    min_foreground: Fraction = Field(0.0, description="share of object voxels below which a patch is rejected")
    min_voxels: Count | None = Field(None, description="the same as a number of object voxels; both must be reached")
    min_valid: Fraction | None = Field(
        None, description="with data.valid: patches are rejected unless a larger share than this is valid"
    )
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
    evaluate_every: Count = Field(0, description="iterations between whole inference + score on validation; 0 is off")
    patience: Positive | None = Field(
        None, description="measurements on validation without a better one, after which training stops; None: never"
    )

    @model_validator(mode="after")
    def _something_to_be_patient_about(self) -> TrainingRecipe:
        if self.patience is not None and not (self.validate_every or self.evaluate_every):
            raise ValueError(
                "training.patience is set, but training.validate_every and training.evaluate_every are 0, so that "
                "nothing is measured that could stop getting better"
            )
        return self
