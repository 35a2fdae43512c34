"""Names for everything that a prompt's inputs and features come from: another name, wherever anything is otherwise.

A name that changes without need costs a second encoding; one that stays where it should not would cost right answers.
So names cover weights, settings, words, library versions, and the code that made it all.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import PIL
import tokenizers
import transformers
from torch import Tensor

from eos_platform.common import strict_json
from eos_platform.models.adapters.adapter import Adapter
from eos_platform.tasks import cache as kept
from eos_platform.tasks import chats, prompts
from eos_platform.tasks.data import films, pictures
from eos_platform.tasks.prompting import encoder, once

LIBRARIES = (transformers.__version__, tokenizers.__version__, PIL.__version__)
OURS = (chats, prompts, films, pictures, once, encoder)
PLACES = ("name_or_path", "_name_or_path", "vocab_file", "tokenizer_file", "merges_file", "chat_template_file")
PLAIN = (str, int, float, bool, type(None))


def of_model(adapter: Adapter) -> str:
    """A name for a model's way of seeing: its weights but those of the language model, and its settings."""
    body, words = adapter.parts.body, adapter.parts.language_model
    others = {id(value) for value in (*words.parameters(), *words.buffers())}
    state: Iterable[Tensor] = (
        value for value in (*body.parameters(), *body.buffers()) if id(value) not in others and not value.is_meta
    )
    config = adapter.model.config
    settings = {name: value for name, value in config.to_dict().items() if name not in PLACES}
    ways = [getattr(one.config, "_attn_implementation", "") for one in body.modules() if hasattr(one, "config")]
    return kept.key_of(state, _text(settings), ways, _code(type(body)), LIBRARIES)


def of_processor(processor: Any) -> str | None:
    """A name for what a processor makes of questions; None: not everything about it can be told."""
    if isinstance(processor, chats.Published):
        inner = of_processor(processor.processor)
        return None if inner is None else _digest(processor.name, processor.chat_template, inner)
    tokenizer: Any = getattr(processor, "tokenizer", None)
    images: Any = getattr(processor, "image_processor", None)
    words = getattr(tokenizer, "backend_tokenizer", None)
    if words is None or not callable(getattr(images, "to_dict", None)):
        return None
    facts: list[object] = [LIBRARIES, *(_code(type(one)) for one in (processor, tokenizer, images))]
    facts += [_text(images.to_dict()), words.to_str(), _text(vars(tokenizer)), _text(tokenizer.special_tokens_map)]
    facts += [_text(getattr(tokenizer, "init_kwargs", {})), _text(vars(processor))]
    return _digest(*facts, *(_file(str(one.__file__)) for one in OURS))


def _digest(*facts: object) -> str:
    return hashlib.sha256(repr(facts).encode("utf-8", "surrogatepass")).hexdigest()


def _text(values: Mapping[str, Any]) -> str:
    """Settings, as far as they are plain; places of files tell nothing."""
    return strict_json.dumps(
        strict_json.plain(_plain({name: value for name, value in values.items() if name not in PLACES})), sort_keys=True
    )


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return value if isinstance(value, PLAIN) else type(value).__name__


def _code(kind: type) -> str:
    """The file that a class comes from; a model's folder may bring its own."""
    try:
        return _file(inspect.getsourcefile(kind) or "")
    except (OSError, TypeError):
        return kind.__qualname__


@cache
def _file(path: str) -> str:
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError:
        return path
