"""What happens with a trained network: inference, post-processing, evaluation."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from emlib.recipe_schema.section import Count, Fraction, Margin, Positive, Section, Triple


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
    classify: Literal["nearest_prototype"] | None = Field(
        None, description="an embedding with a mask becomes, in every window, one probability of being foreground"
    )
    prior: str | None = Field(
        None,
        description="a network that wants a first guess: checkpoint, or training's folder, of the one that guesses",
    )

    def settings(self) -> dict[str, Any]:
        """The keyword arguments of `emlib.inference.predict_volume`."""
        return self.model_dump(exclude={"classify", "prior"})


class PostprocessingRecipe(Section):
    """Prediction to instances. None leaves a value at the default of the method's function."""

    method: str = "contour_watershed"
    seed_mask: Fraction | None = None
    seed_contour: Fraction | None = None
    foreground: Fraction | None = None
    seed: Fraction | None = Field(None, description="heatmap: value above which voxels are seeds")
    min_size: Count | None = None
    min_seed_size: Count | None = Field(None, description="voxels below which a seed is left out")
    unseeded: Literal["drop", "keep"] | None = Field(None, description="heatmap: foreground that no seed reaches")
    rule: Literal["mean_shift", "prototypes"] | None = Field(None, description="how embeddings are grouped")
    bandwidth: Annotated[float, Field(gt=0)] | None = Field(None, description="of the mean shift of embeddings")
    connected: bool | None = Field(None, description="embeddings: pieces of a group that do not touch are objects")
    threshold: Fraction | None = Field(None, description="agglomeration: regions are merged below this boundary score")
    thresholds: tuple[Fraction, ...] | None = Field(
        None, min_length=1, description="agglomeration: those of a sweep, rising; not a parameter of the method"
    )
    scoring: str | None = Field(None, description="boundary score of two regions, for example aff50_his256")
    fragments: Literal["nearest", "seeded"] | None = Field(
        None, description="seeded: they grow from the points farthest from any boundary"
    )
    fragment_dimensions: Literal[2, 3] | None = Field(None, description="fragments per section, or in the volume")
    size_threshold: Count | None = Field(None, description="voxels below which a region is merged by its size")
    dust_size: Count | None = Field(None, description="voxels below which a region that is left over is removed")
    merge: Fraction | None = Field(None, description="affinity from which a region is merged by its size")
    low: Fraction | None = Field(None, description="affinity up to which a voxel is background")
    high: Fraction | None = Field(None, description="affinity from which two voxels are always joined")

    def parameters(self) -> dict[str, Any]:
        """The keyword arguments of the method's function that the recipe sets."""
        values = self.model_dump(exclude={"method", "thresholds"})
        fragments = values.pop("fragments")
        values["seeded"] = None if fragments is None else fragments == "seeded"
        return {key: value for key, value in values.items() if value is not None}


class EvaluationRecipe(Section):
    """How a segmentation is compared with the truth: by average precision, or neurites by Rand error and VOI."""

    rules: Literal["challenge", "one-to-one"] = "challenge"
    size_limits: tuple[Positive, Positive] = Field((5000, 30000), description="voxels: small | medium | large")
    drop_truth_below: Count = Field(2000, description="voxels")
    match_threshold: Fraction = 0.5
    measure: Literal["instances", "foreground"] = Field(
        "instances",
        description="of a training every evaluate_every iterations; foreground: voxelwise F1, precision and recall",
    )
    border: tuple[Count, Annotated[float, Field(ge=0)]] = Field(
        (0, 0.0), description="neurites: distance from true borders that does not count, voxels (z, xy)"
    )
    convention: Literal["snemi3d", "cremi", "scikit-image"] = Field("snemi3d", description="of the adapted Rand error")
