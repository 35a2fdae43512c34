"""A family of vision-language models: the parts that operators meet, and what is particular to it (see README.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import Tensor

from eos_platform.common.errors import EosError
from eos_platform.models.attention.rope import Rope, Turn, rotate, rotate_pairs, unturned
from eos_platform.models.loading.devices import moved
from eos_platform.models.runtime.visual_spans import Grid, MediaItem

Call = dict[str, Any]
FULL = "full_attention"
RECURRENT = ("linear_attention",)  # kinds of layers that read tokens one after another, and keep a state of them


@dataclass(frozen=True)
class Parts:
    """The modules of one model (never the top-level model itself, so that holding them does not keep it alive)."""

    body: Any  # images and text in, hidden states out
    language_model: Any
    layers: tuple[Any, ...]
    tower: Any
    image_token: int
    grid: tuple[int, int]  # of visual tokens; where images vary in size, of one taken as usual
    blocks: tuple[Any, ...] = ()  # of the vision tower
    used: int = 0  # so many of them lead to the visual tokens; the model runs the others for nothing
    states: int = 1  # of how many blocks the outputs are used
    family: Family | None = None
    kinds: tuple[str, ...] = ()  # of attention, a layer; layers of one kind share masks and rotary embeddings
    video_token: int | None = None
    recurrent: tuple[int, ...] = field(init=False)  # layers that read tokens one after another, instead of looking

    def __post_init__(self) -> None:
        recurrent = tuple(index for index in range(len(self.layers)) if self.kind(index) in RECURRENT)
        object.__setattr__(self, "recurrent", recurrent)

    @property
    def vision_layer(self) -> Any:
        """The last block of the vision tower whose output is used.

        Raises:
            EosError: there is none.
        """
        if self.used == 0:
            raise EosError("what is read inside the vision tower needs a layer of it, and this model uses none")
        return self.blocks[self.used - 1]

    @property
    def deepstack(self) -> int:
        """Behind how many layers the language model adds features of the vision tower (``deep.py``)."""
        return len(getattr(getattr(self.tower, "config", None), "deepstack_visual_indexes", None) or ())

    def kind(self, index: int) -> str:
        """The kind of attention of a layer."""
        return self.kinds[index] if self.kinds else FULL

    @property
    def counting(self) -> int:
        """The layer whose cache tells how many tokens went by: the first one that keeps keys."""
        return next((index for index in range(len(self.layers)) if index not in self.recurrent), 0)

    def reader(self, index: int) -> Any:
        """The layer whose attention is asked about what enters layer ``index``: itself, or the next that has any."""
        looking = [number for number in range(len(self.layers)) if number not in self.recurrent]
        return self.layers[next((number for number in looking if number >= index), looking[-1])]

    def turn(self, kind: str) -> Turn:
        """How layers of a kind turn their queries and keys."""
        if self.family is None:
            return rotate
        return unturned if kind in self.family.unturned else rotate_pairs if self.family.paired_rope else rotate

    def rope(self, x_bkd: Tensor, position: Tensor, kind: str = FULL) -> Rope:
        """Rotary embeddings at positions, which may have several axes (axes, b, k)."""
        if position.dim() == 3:
            position = position[-3:]  # a fourth axis in front is of plain text
        elif self.family is not None and self.family.axes > 1:  # plain positions are the same on every axis
            position = position.expand(self.family.axes, *position.shape)
        by_kind = self.family is not None and self.family.rope_by_kind
        extra = (kind,) if by_kind else ()
        # a module on a device of its own answers there
        return moved(Rope(*self.language_model.rotary_emb(x_bkd, position, *extra)), x_bkd.device)


class Family:
    """Where a family keeps its parts, and which images a call brings.

    Every image that comes is a ``Piece``: its units are reduced one by one, by the shares the operator keeps.
    """

    name: ClassVar[str]
    model_types: ClassVar[tuple[str, ...]]  # of configurations
    varies: ClassVar[bool] = False  # images differ in their number of visual tokens
    axes: ClassVar[int] = 1  # of a token's position
    reads_tower: ClassVar[bool] = False  # attention inside the vision tower, sites there, shrunk pictures
    rope_by_kind: ClassVar[bool] = False  # rotary embeddings differ by kind of attention
    paired_rope: ClassVar[bool] = False  # neighbouring dimensions of a head turn together, not those half a head apart
    unturned: ClassVar[tuple[str, ...]] = ()  # kinds of attention that know no positions
    relaxable: ClassVar[bool] = True  # a search can run on it
    answers_typed: ClassVar[Mapping[str, int]] = {}  # what inputs of types of token say of an answer's, if not 0
    answer_lead: ClassVar[str] = " "  # between a prompt without chat template and its answer
    whole: ClassVar[int] = 0  # of a prompt's units, the one that shows the whole picture
    sample: ClassVar[Any] = None  # of another package's family: its ``conformance.zoo.Sample``
    own_masks: ClassVar[bool] = False  # attention is not simply causal: windows, or both ways among some tokens
    both_ways: ClassVar[bool] = False  # among some tokens
    towers: ClassVar[tuple[str, ...]] = ("vision_tower", "visual", "vision_model")
    texts: ClassVar[tuple[str, ...]] = ("language_model", "text_model")
    projectors: ClassVar[tuple[str, ...]] = ("multi_modal_projector", "connector")

    def parts(self, model: Any) -> Parts:
        """The parts of a model of this family.

        Raises:
            EosError: it has not what operators need.
        """
        body: Any = model.model
        language_model, tower = _first(body, self.texts), _first(body, self.towers)
        layers = getattr(language_model, "layers", None)
        if layers is None or tower is None:
            raise EosError(f"{type(model).__name__} has no decoder layers or no vision tower where its family has them")
        if not all(hasattr(layer, "input_layernorm") for layer in layers) or not any(
            hasattr(layer, "self_attn") for layer in layers
        ):
            raise EosError(f"decoder layers of {type(language_model).__name__} are not Llama's")
        config = model.config
        return Parts(
            body=body,
            language_model=language_model,
            layers=tuple(layers),
            tower=tower,
            image_token=config.image_token_id,
            grid=self.grid(config),
            family=self,
            kinds=_kinds(language_model.config, len(layers)),
            video_token=getattr(config, "video_token_id", None),
        )

    def grid(self, config: Any) -> Grid:
        """Rows and columns of an image's visual tokens; where sizes vary, of an image taken as usual."""
        raise NotImplementedError

    def grid_module(self, parts: Parts) -> Any | None:
        """A module whose calls tell what images come (``heard``); None: the call of the whole model tells enough."""
        return None

    def captured_grids(self, call: Call) -> Any:
        """What a call of that module tells, on the host."""
        return None

    def media_items(
        self, parts: Parts, call: Call, captured: Sequence[Any]
    ) -> Mapping[str, Sequence[MediaItem] | None]:
        """The images of a call in order, and films likewise, by the kind of placeholder (``image``, ``video``).

        ``None`` for a kind: as many pieces of the usual grid as fill the placeholders.

        Args:
            parts: of the model.
            call: arguments of the model's body, by name.
            captured: what ``listens`` told lately, latest last.
        """
        return {"image": None}

    def sizes(self, call: Call) -> Sequence[Any]:
        """What ``heard`` would tell of a call of the body, from its own arguments."""
        return ()

    def logits(self, model: Any, hidden_bsd: Tensor) -> Tensor:
        """What the model itself makes of hidden states after the final norm: scaled or capped if it does so."""
        logits: Tensor = model.lm_head(hidden_bsd)
        return logits

    def tower_attention(self, parts: Parts) -> Any | None:
        """The attention of the vision tower's last block, of which ``received`` is read; None: it is not."""
        return None

    def received(self, parts: Parts, attention: Any, call: Call, tower: Call) -> tuple[Tensor, ...]:
        """How much attention each visual token's patches receive on average, one tensor (n,) a picture, float32.

        Args:
            parts: of the model.
            attention: ``tower_attention``.
            call: arguments of its call, by name.
            tower: arguments of the tower's call, by name.
        """
        raise NotImplementedError

    def sees_with(self, parts: Parts) -> list[Tensor]:
        """The weights that make visual tokens of pictures."""
        projector = _first(parts.body, self.projectors)
        return [*parts.tower.parameters(), *(() if projector is None else projector.parameters())]

    def single_image(self, parts: Parts, call: Call) -> bool:
        """Whether, as far as shapes tell, every prompt of a call has one image of the usual size and no more."""
        return False

    def positions_of(self, call: Call, position: Tensor) -> Tensor:
        """Positions that a later step lacks, counted from 0, as this family counts them."""
        return position


def encoded(call: Call, kind: str = "image") -> Any | None:
    """Features of images (or films) that were encoded before the call; None: there are none."""
    outputs = call.get("mm_encoder_outputs")
    features = outputs.get(kind) if isinstance(outputs, Mapping) else outputs if kind == "image" else None
    return None if features is None else getattr(features, "pooler_output", features)


def has_media(call: Call) -> bool:
    """Whether images or films come with a call."""
    given = any(call.get(name) is not None for name in ("pixel_values", "pixel_values_videos"))
    return given or encoded(call) is not None or encoded(call, "video") is not None


def _first(body: Any, names: tuple[str, ...]) -> Any:
    return next((features for name in names if (features := getattr(body, name, None)) is not None), None)


def _kinds(config: Any, layers: int) -> tuple[str, ...]:
    kinds = getattr(config, "layer_types", None)
    return tuple(kinds[:layers]) if kinds else (FULL,) * layers
