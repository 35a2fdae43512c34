"""A processor that prepares every picture once, however many questions there are about it.

What a prompt's text becomes depends on a picture's size alone, so later questions go through the processor with a blank
picture of that size, and what its image processor made of the true one is handed out again, without the pixels.
Nothing is taken on trust: the first such prompts are made both ways, and a processor that does otherwise is given the
true pictures every time.
"""

from __future__ import annotations

import copy
from collections import UserDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from eos_platform.protocols import Example
from eos_platform.tasks.chats import Published, published

PIXELS = ("pixel_values", "pixel_attention_mask")  # of no use once a picture is seen
TRIED = 3  # prompts made both ways before blank pictures are trusted
HELD = 256 << 20  # bytes of other things that are kept of pictures
REMEMBERED = 1024  # texts, and what was made of them
Inputs = dict[str, Any]


class _MissError(Exception):
    """The processor asks for something else than it did when the true picture was there."""


@dataclass(frozen=True)
class _Call:
    """What the image processor was called with, and what it made, without pixels."""

    form: Any
    settings: Mapping[str, Any]
    output: Any


@dataclass
class Ready:
    """Pictures of a question, opened, and prepared as the processor asks for it; None: not yet."""

    pictures: list[Any]
    call: _Call | None = None


class Once:
    """A processor, and what it made of the pictures so far.

    Attributes:
        numbers: of pictures, by what names them.
    """

    def __init__(self, processor: Any) -> None:
        self._true = processor
        self.numbers: dict[Any, int] = {}
        self._calls: dict[int, list[_Call]] = {}
        self._recording: list[_Call] | None = None
        self._replayed: Iterator[_Call] | None = None
        self._ready: Ready | None = None
        self._usual: dict[int, _Call] = {}  # by the number of pictures: how the image processor is called
        self._tried = self._held = 0
        self._remembered: dict[Any, Any] = {}
        self._processor = self._wrapped(processor)

    def number(self, example: Example) -> int:
        """The number of an example's picture."""
        return self.numbers.setdefault(example.key or id(example.image), len(self.numbers))

    def knows(self, number: int) -> bool:
        """Whether the picture of that number need not be opened again."""
        return self._tried >= TRIED and number in self._calls

    def __call__(self, number: int, text: str, ready: Callable[[], Ready]) -> Inputs:
        """A prompt's inputs; those of pixels only for the first about a picture.

        Args:
            number: of the picture, or of several that are shown together.
            text: the prompt.
            ready: opens them, where they must be.
        """
        if self._tried >= TRIED and number in self._calls:
            # what a prompt becomes depends on the pictures' sizes, and on what is told of them beside their pixels
            form = repr([call.form for call in self._calls[number]])
            calls, blank = self.remembered((text, form), lambda: (self._calls.get(number), self._blank(number, text)))
            if blank is not None and calls is not None and _told_alike(calls, self._calls.get(number)):
                return dict(blank)
        blank = self._blank(number, text)
        if blank is not None and self._tried >= TRIED:
            return blank
        opened = ready()
        result = self.whole(number, text, opened)
        if blank is not None:
            self._tried += 1
            if not _same(blank, result):
                self._processor = None
                self._calls.clear()
        return result

    def remembered(self, key: Any, make: Callable[[], Any]) -> Any:
        """What ``make`` made under that key before, or makes now: many questions are put in the same words."""
        if key not in self._remembered:
            if len(self._remembered) >= REMEMBERED:
                self._remembered.clear()
            self._remembered[key] = make()
        return self._remembered[key]

    def count(self, number: int) -> int:
        """How many pictures those of a known number are."""
        return sum(len(_sizes(call.form)) for call in self._calls[number])

    def prepared(self, pictures: list[Any]) -> Ready:
        """Pictures prepared as those before; in any thread."""
        usual, images = self._usual.get(len(pictures)), getattr(self._processor, "image_processor", None)
        if usual is None or not isinstance(images, _Images) or not images.own or _form(pictures) is None:
            return Ready(pictures)
        nested = _nested(usual.form, iter(pictures))
        try:
            return Ready(pictures, _Call(_form(nested), usual.settings, images.true(nested, **usual.settings)))
        except Exception:  # the same is raised again where it can be told
            return Ready(pictures)

    def _blank(self, number: int, text: str) -> Inputs | None:
        """The prompt with blank pictures; None: it must be made with the true ones."""
        calls = self._calls.get(number)
        if calls is None or self._processor is None:
            return None
        self._replayed = iter(calls)
        try:
            pictures = [_empty(size) for call in calls for size in _sizes(call.form)]
            inputs = _inputs(self._processor, text, pictures)
            if next(self._replayed, None) is not None:
                return None
        except Exception:  # the true pictures may do; if not, their error is the one to tell
            return None
        finally:
            self._replayed = None
        return {name: value for name, value in inputs.items() if name not in PIXELS}

    def whole(self, number: int, text: str, ready: Ready) -> Inputs:
        """A prompt's inputs, those of pixels too.

        Args:
            number: of the picture.
            text: the prompt.
            ready: the picture; what is prepared of it here serves the next prompt about it.
        """
        if self._processor is None:
            return _inputs(self._true, text, ready.pictures)
        self._recording, self._ready = [], ready
        try:
            result = _inputs(self._processor, text, ready.pictures)
            calls = self._recording
            if calls and None not in calls and self._held < HELD:
                self._calls[number] = calls
                self._held += sum(_bytes(call.output) for call in calls)
                if len(calls) == 1:
                    self._usual.setdefault(len(ready.pictures), calls[0])
            return result
        finally:
            self._recording = self._ready = None

    def _called(self, run: Callable[..., Any], images: Any, settings: Mapping[str, Any]) -> Any:
        """The image processor at work: again, or for the first time."""
        if self._replayed is not None:
            call = next(self._replayed, None)
            if call is None or call.form != _form(images) or not _equal(call.settings, settings):
                raise _MissError
            return _copied(call.output)
        ready = self._ready
        if ready is not None and ready.call is not None and _fits(ready, images, settings):
            output = ready.call.output
        else:
            output = run(images, **settings)
            if ready is not None and isinstance(output, (UserDict, dict)):
                ready.call = _Call(_form(images), dict(settings), output)
        if self._recording is not None:
            form, kept = _form(images), _without_pixels(output)
            self._recording.append(None if form is None or kept is None else _Call(form, dict(settings), kept))  # type: ignore[arg-type]
        return _copied(output) if isinstance(output, (UserDict, dict)) else output

    def _wrapped(self, processor: Any) -> Any:
        """The processor with an image processor that tells of every call; None: it has none."""
        if isinstance(processor, Published):
            inner = self._wrapped(processor.processor)
            return None if inner is None else published(inner, processor.name)
        if not callable(getattr(processor, "image_processor", None)):
            return None
        result = copy.copy(processor)
        result.image_processor = _Images(self, processor.image_processor)
        return result


class _Images:
    """An image processor that tells of every call."""

    def __init__(self, once: Once, true: Any) -> None:
        self._once, self.true = once, true
        self.own = type(true).__module__.startswith("transformers.")  # others may not stand several threads

    def __call__(self, images: Any, **settings: Any) -> Any:
        return self._once._called(self.true, images, settings)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.true, name)


def _inputs(processor: Any, text: str, pictures: list[Any]) -> Inputs:
    return dict(processor(text=[text], images=pictures if len(pictures) == 1 else [pictures], return_tensors="pt"))


def _form(images: Any) -> Any:
    """How pictures lie in lists, and their sizes; None: they are something else."""
    if isinstance(images, Image.Image):
        return images.size
    if isinstance(images, (list, tuple)):
        forms = [_form(one) for one in images]
        return None if None in forms else forms
    return None


def _sizes(form: Any) -> list[tuple[int, int]]:
    return [form] if isinstance(form, tuple) else [size for one in form for size in _sizes(one)]


def _nested(form: Any, pictures: Iterator[Any]) -> Any:
    """Pictures in lists as they lay before."""
    return next(pictures) if isinstance(form, tuple) else [_nested(one, pictures) for one in form]


def _flat(images: Any) -> list[Any]:
    return [one for some in images for one in _flat(some)] if isinstance(images, (list, tuple)) else [images]


def _fits(ready: Ready, images: Any, settings: Mapping[str, Any]) -> bool:
    """Whether just this was prepared."""
    assert ready.call is not None
    same = len(flat := _flat(images)) == len(ready.pictures) and all(map(_is, flat, ready.pictures))
    return same and ready.call.form == _form(images) and _equal(ready.call.settings, settings)


def _is(one: object, other: object) -> bool:
    return one is other


def _equal(one: Any, other: Any) -> bool:
    try:
        return bool(one == other)
    except Exception:  # arrays among them
        return False


@lru_cache(16)
def _empty(size: tuple[int, int]) -> Image.Image:
    return Image.new("RGB", size)


def _without_pixels(output: Any) -> Any:
    """What an image processor made, its pixels stood for by tensors of their shapes; None: that cannot be."""
    if not isinstance(output, (UserDict, dict)):
        return None
    result = _copied(output)
    for name in PIXELS:
        if name in result:
            stub = _stub(result[name])
            if stub is None:
                return None
            result[name] = stub
    return result


def _stub(value: Any) -> Any:
    if isinstance(value, Tensor):
        return torch.zeros((), dtype=value.dtype).expand(value.shape)
    if isinstance(value, (list, tuple)):
        stubs = [_stub(one) for one in value]
        return None if any(one is None for one in stubs) else type(value)(stubs)
    return None


def _copied(output: Any) -> Any:
    """The same in a mapping of its own, as some processors take things out of it."""
    result = copy.copy(output)
    for name, value in output.items():
        if isinstance(value, list):
            result[name] = list(value)
    return result


def _bytes(output: Mapping[str, Any]) -> int:
    tensors = [one for name, value in output.items() if name not in PIXELS for one in _flat(value)]
    return sum(one.numel() * one.element_size() if isinstance(one, Tensor) else 64 for one in tensors)


def _told_alike(some: Sequence[_Call], others: Sequence[_Call] | None) -> bool:
    """Whether an image processor was called alike, and made the same but for the pixels, whose shapes are the same."""
    if some is others:
        return True
    if others is None or len(some) != len(others):
        return False
    return all(
        one.form == other.form
        and _equal(one.settings, other.settings)
        and one.output.keys() == other.output.keys()
        and all(
            _shapes(value) == _shapes(other.output[name]) if name in PIXELS else _alike(value, other.output[name])
            for name, value in one.output.items()
        )
        for one, other in zip(some, others, strict=True)
    )


def _shapes(value: Any) -> Any:
    return value.shape if isinstance(value, Tensor) else [_shapes(one) for one in value]


def _same(blank: Inputs, whole: Inputs) -> bool:
    """Whether a prompt made with blank pictures is the true one, but for the pixels."""
    rest = {name: value for name, value in whole.items() if name not in PIXELS}
    return blank.keys() == rest.keys() and all(_alike(blank[name], value) for name, value in rest.items())


def _alike(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, Sequence) and not isinstance(one, str) and type(one) is type(other):
        return len(one) == len(other) and all(map(_alike, one, other))
    return _equal(one, other)
