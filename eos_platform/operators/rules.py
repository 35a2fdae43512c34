"""Rules of selection that only some selectors take, as data: what covers what, what bars what, how many stay of each
group, how a film is cut."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_serializer, model_validator

from eos_platform.common.strict_types import Bool, Int, Real

OF_FRAMES = {"groups": None, "feature": "", "temperature": 1.0, "weights": ()}  # what only a quota of frames says
Weight = Annotated[Real, Field(ge=0.0, le=1000.0)]


class Spec(BaseModel):
    """Frozen, validated data; misspelt keys are refused; infinity is written as a JSON string."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings", allow_inf_nan=True)


class Coverage(Spec):
    """What the selector ``coverage`` picks for: every row (a visual token, a text token) wants a kept token like it.

    Row r is covered by token j to the degree M_rj: the cosine, or with a temperature the softmax over j of cosine / it,
    divided by the number of such rows. The gain of j is sum_r max(0, M_rj - best_r), best_r being the most that those
    picked before cover of r (at first 0), visual rows times ``visual`` and text rows times ``text``. Picked is, one by
    one, the largest

    - gain_j m_j^power, with m the score brought to [0, 1] (weighing ``product``) or the features as they are (``raw``);
      without a score the gain alone;
    - weighing ``sum``: m_j + weight gain_j + spread far_j, gain and far (one minus the largest cosine to those picked)
      brought to [0, 1] over those not yet picked; the first has the best score.
    """

    visual: Weight = 1.0
    temperature: Real = Field(default=0.0, ge=0.0, le=100.0)  # of visual rows; 0: cosines
    text: Weight = 0.0
    text_temperature: Real = Field(default=0.0, ge=0.0, le=100.0)
    power: Weight = 1.0
    weight: Weight = 1.0

    @model_validator(mode="after")
    def _covers_something(self) -> Coverage:
        if self.visual == 0 and self.text == 0:
            raise ValueError("coverage of nothing: give 'visual' or 'text' a weight above 0")
        return self


class Suppression(Spec):
    """What the selector ``suppress`` leaves to the last: tokens too like a better one that stays.

    The best score stays and bars every token whose cosine with it is above ``theta`` (``relative``: above ``theta``
    times the mean cosine of all pairs); then the best of those not barred, and so on. Where fewer are left than are to
    stay, those barred follow, best score first.
    """

    theta: Real = Field(ge=0.0, le=1000.0)
    relative: Bool = False


class Quota(Spec):
    """How many stay of each of ``groups`` groups of the grid, best score first, before any others do.

    Groups are ``frames`` of a film, ``strips`` (runs of the tokens in raster order, as equal as can be), ``windows``,
    or ``components``: each token belongs to that of the leading principal components of the picture's tokens which it
    weighs most in. Each has a quota: ``equal``, or in proportion to its mean of the features as they are (``mean``),
    rounded down, what is left going one each to the largest shares; ``none`` guarantees nothing. No group keeps more
    than ``cap``, unless others have too few. Where quotas cannot be used up, the best scores elsewhere stay.
    ``survivors``: one each, the others by the number of tokens that nobody bars (``selectors/survivors.py``).

    Frames share by two rules more: ``softmax``, each in proportion to 1 + p - mean p, p being the softmax over frames
    of their mean of ``feature`` / ``temperature``; ``listed``, in proportion to ``weights``, which begin again behind
    the last.
    """

    groups: Int | None = Field(default=None, ge=1, le=100_000_000)
    kind: Literal["strips", "windows", "components", "frames"] = "windows"
    share: Literal["equal", "mean", "none", "survivors", "softmax", "listed"] = "equal"
    cap: Int | None = Field(default=None, ge=1)
    feature: str = ""
    temperature: Real = Field(default=1.0, ge=1e-6, le=1e6)
    weights: tuple[Weight, ...] = Field(default=(), max_length=10_000)

    @model_serializer(mode="wrap")
    def _as_before(self, write: Any) -> dict[str, Any]:
        """Without the fields that joined later, where they say nothing."""
        data: dict[str, Any] = write(self)
        return {
            name: value
            for name, value in data.items()
            if name not in OF_FRAMES or (tuple(value) if isinstance(value, list) else value) != OF_FRAMES[name]
        }  # a tuple is a list in JSON

    @model_validator(mode="after")
    def _says_something(self) -> Quota:
        if self.share == "none" and self.cap is None:
            raise ValueError("a quota of share 'none' needs a cap")
        if self.kind == "frames":
            if self.groups is not None:
                raise ValueError("a quota of frames has as many groups as the film has frames: leave 'groups' out")
            if self.share == "survivors":
                raise ValueError("share 'survivors' is of windows, strips or components")
        elif self.groups is None:
            raise ValueError(f"a quota of {self.kind} needs 'groups', how many there are")
        elif self.share in ("softmax", "listed"):
            raise ValueError(f"share '{self.share}' is of a quota of frames")
        if (self.share == "softmax") != bool(self.feature):
            raise ValueError("'feature' is given exactly when the share is 'softmax'")
        if (self.share == "listed") != any(self.weights):
            raise ValueError("'weights', one of them above 0, are given exactly when the share is 'listed'")
        return self

    @property
    def of_suppression(self) -> bool:
        """Whether it makes sense only where tokens bar others."""
        return self.kind == "components" or self.share == "survivors"


class Segments(Spec):
    """How the selector ``segments`` cuts a film into segments, and what stays of each (``films/segments.py``).

    Cuts: ``gaps``, between the ``parts - 1`` least similar neighbouring frames and wherever the cosine of neighbouring
    frames (their mean tokens) is below ``alike``; ``clusters``, wherever neighbouring frames belong to different
    clusters, of which there are ``share`` times as many as frames; ``static``, so that the most tokens are redundant:
    the sum over segments of (places that stand still) * (frames - 1) is largest.

    Places that stand still in a segment become one token each, their mean, in its first frame. ``each``: the cosine of
    every two neighbouring frames is above ``above``; ``mean``: the mean cosine of all pairs of frames is; ``none``: no
    place does.

    What stays is shared out in proportion to sizes: among the moving tokens of each frame, the share ``salient`` of
    which stays by score, and the rest as centres of clusters, in one frame of ``every``, counted from a segment's end;
    and among the still tokens of each segment, all of which are centres. Centres are dense (by their ``neighbours``
    nearest) and far from denser ones. Tokens that go join the most similar centre of their own frame (``reach``
    ``frame``), or one in each frame of their segment that has centres (``segment``). A centre becomes the mean of
    itself and all that join, or ``own`` times itself and the rest times their mean.
    """

    cut: Literal["gaps", "clusters", "static"]
    parts: Int = Field(default=1, ge=1, le=10_000)  # of gaps: segments at least, where there are as many frames
    alike: Real = Field(default=-1.0, ge=-1.0, le=1.0)  # of gaps
    share: Real = Field(default=0.25, gt=0.0, le=1.0)  # of clusters
    still: Literal["none", "each", "mean"] = "none"
    above: Real = Field(default=0.8, ge=-1.0, le=1.0)
    salient: Real = Field(default=0.0, ge=0.0, le=1.0)
    every: Int = Field(default=1, ge=1, le=10_000)
    reach: Literal["frame", "segment"] = "frame"
    neighbours: Int = Field(default=5, ge=1, le=10_000)
    own: Real | None = Field(default=None, ge=0.0, le=1.0)

    @model_validator(mode="after")
    def _belongs(self) -> Segments:
        if self.cut == "static" and self.still != "each":
            raise ValueError("cut 'static' goes by places that stand still from frame to frame: still 'each'")
        if self.reach == "segment" and self.still != "none":
            raise ValueError("reach 'segment' is of films in which no place stands still: still 'none'")
        return self
