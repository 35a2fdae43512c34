"""Prompts as a model's authors published them, where the processor in its folder makes others.

``llava-1.5``: Vicuna's system sentence, ``USER: <image>`` and a line break before the question, ``ASSISTANT:``, and
pictures padded to a square in the mean colour of CLIP's pictures, as LLaVA's own evaluation has it (vicuna_v1).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PIL import Image

from eos_platform.common.errors import EosError, unknown

VICUNA = (
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, detailed, "
    "and polite answers to the user's questions. "
)
LLAVA = (
    "{{ '" + VICUNA.replace("'", "\\'") + "' }}"
    "{% for m in messages %}"
    "{% if m['role'] == 'user' %}{{ 'USER: ' }}"
    "{% for c in m['content'] %}{% if c['type'] == 'image' %}{{ '<image>\\n' }}{% else %}{{ c['text'] }}{% endif %}"
    "{% endfor %}{{ ' ' }}"
    "{% else %}{{ 'ASSISTANT: ' }}{% for c in m['content'] %}{{ c['text'] }}{% endfor %}{{ '</s>' }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)
CHATS: Mapping[str, str] = {"llava-1.5": LLAVA}
CLIP_MEAN = (122, 116, 104)


class Published:
    """A processor with a published prompt: its template is another, and pictures are squares.

    Attributes:
        name: of the prompt.
        chat_template: its text.
    """

    def __init__(self, processor: Any, name: str) -> None:
        """Take a processor, whose own template is left as it is.

        Args:
            processor: a model's own.
            name: of the prompt.

        Raises:
            EosError: there is no such prompt, or the processor knows another word for a picture.
        """
        if name not in CHATS:
            raise unknown("published prompt", name, CHATS)
        word = str(getattr(processor, "image_token", None) or "<image>")
        if word != "<image>":
            raise EosError(f"the published prompt '{name}' has <image> for a picture; this model's word is {word}")
        self._processor, self.name, self.chat_template = processor, name, CHATS[name]

    @property
    def processor(self) -> Any:
        """The model's own."""
        return self._processor

    def __call__(self, *, text: Any, images: Any = None, **options: Any) -> Any:
        """The processor's inputs."""
        return self._processor(text=text, images=_squares(images), **options)

    def apply_chat_template(self, conversation: Any, **options: Any) -> Any:
        """The text of turns."""
        return self._processor.apply_chat_template(conversation, chat_template=self.chat_template, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._processor, name)


def published(processor: Any, name: str | None) -> Any:
    """The processor with a published prompt; None: itself.

    Raises:
        EosError: see ``Published``.
    """
    return Published(processor, name) if name else processor


def square(picture: Image.Image) -> Image.Image:
    """A picture in the middle of a square of CLIP's mean colour."""
    side = max(picture.size)
    if picture.size == (side, side):
        return picture
    result = Image.new("RGB", (side, side), CLIP_MEAN)
    result.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
    return result


def _squares(images: Any) -> Any:
    if isinstance(images, (list, tuple)):
        return [_squares(one) for one in images]
    return square(images) if isinstance(images, Image.Image) else images
