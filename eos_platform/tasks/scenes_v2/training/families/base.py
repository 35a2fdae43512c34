"""What training needs to know about a family.

Legend: b pictures, n visual tokens, d width, p tokens before the question, s tokens in all, k cells a side of a token.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

Size = tuple[int, int]  # width, height
MEAN = STD = (0.5, 0.5, 0.5)  # pixels reach every tower in [-1, 1]
TEXT: dict[str, Any] = {"hidden_size": 160, "intermediate_size": 416, "num_hidden_layers": 6, "num_attention_heads": 4}
TURNS = (  # a question is asked without a word around it; a space stands before the answer
    "{% for m in messages %}{% if m['role'] == 'assistant' %} {% endif %}"
    "{% if m['content'] is string %}{{ m['content'] }}{% else %}{% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}IMAGE{% else %}{{ c['text'] }}{% endif %}{% endfor %}{% endif %}"
    "{% if m['role'] == 'assistant' %}</s>{% endif %}{% endfor %}"
)
SHARED: dict[str, Any] = {"num_key_value_heads": 2, "max_position_embeddings": 2048}


class Family(ABC):
    """A small model of one family, its prompts and how its tower sees a batch of pictures of one size."""

    sizes: tuple[Size, ...]  # of training pictures, in turn; the first is examined
    specials: tuple[str, ...] = ()  # further special tokens
    two_way = False  # visual tokens see each other in both directions
    cost = 1.0  # of a picture, for sharing out GPUs
    image_words = "<image>"  # what stands for a picture in a prompt, as its processor takes it

    def chat_template(self) -> str:
        """A conversation as the model is trained to see it: a picture and a question, then the answer."""
        return TURNS.replace("IMAGE", self.image_words)

    @abstractmethod
    def new_model(self, vocabulary: int, ids: Mapping[str, int]) -> Any:
        """Randomly initialised, float32. ``ids``: numbers of ``<image>`` and the family's specials."""

    @abstractmethod
    def new_image_processor(self) -> Any:
        """Pictures to what the model sees."""

    @abstractmethod
    def new_processor(self, tokenizer: PreTrainedTokenizerFast) -> Any:
        """Pictures and prompts to model inputs. Those that know films too need torchvision."""

    @abstractmethod
    def prompt(self, size: Size) -> str:
        """The text before the question, with every visual token's placeholder."""

    @abstractmethod
    def features(self, model: Any, pixels_bchw: Tensor) -> Tensor:
        """Visual tokens (b, n, d) of pictures in [-1, 1], in the placeholders' order."""

    @abstractmethod
    def grid(self, size: Size) -> tuple[Tensor, int]:
        """Numbers of the tokens that see the picture at its finest (rows, columns), and k: cells a side of each."""

    def placeholder(self, ids: Mapping[str, int]) -> int:
        """The visual tokens' number."""
        return ids["<image>"]

    def decoder(self, model: Any) -> Any:
        """The language model without its head."""
        return model.model.language_model

    def layers(self, model: Any) -> list[Any]:
        """What is worth compiling: the layers of tower and decoder."""
        return [*self.tower_layers(model), *self.decoder(model).layers]

    @abstractmethod
    def tower_layers(self, model: Any) -> list[Any]:
        """The layers of the vision tower."""

    def positions(self, prefix_p: Tensor, placeholder: int, size: Size) -> tuple[Tensor, int]:
        """Positions of the tokens before the question, (p,) or (axes, p), and that of the first after them."""
        return torch.arange(len(prefix_p)), len(prefix_p)

    def window(self, model: Any) -> int | None:
        """How far back the local layers see; None: there are none."""
        return None


def through(layers: Any, x_bnd: Tensor) -> Tensor:
    """Run a tower's layers without a mask."""
    for layer in layers:
        x_bnd = layer(x_bnd, attention_mask=None)
        x_bnd = x_bnd[0] if isinstance(x_bnd, tuple) else x_bnd
    return x_bnd


def inner(tower: nn.Module) -> Any:
    """The tower itself where a class wraps it."""
    return getattr(tower, "vision_model", tower)


def ended(model: Any) -> Any:
    """A model that stops at ``</s>``."""
    model.generation_config.update(bos_token_id=1, eos_token_id=2, pad_token_id=0, do_sample=False)
    return model
