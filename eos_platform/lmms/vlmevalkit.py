"""VLMEvalKit with operators: its own benchmarks, prompts and scores, any family, an operator attached or not.

    LMUData=tables python -m eos_platform.lmms.vlmevalkit --model bundled-small --operator operator.json --data mine

VLMEvalKit has no entry points: a model is an object with ``generate``, handed to its ``infer_data_job``. It keeps
answers by the model's name, and goes on from them; so the name here holds the operator's and the model's content hash.
Tables (``DATA.tsv``: index, image in base64 or image_path, question, and A, B, ... or answer) lie in ``$LMUData``.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from eos_platform.analysis.benchmark.run import operator_hash
from eos_platform.analysis.benchmark.store import model_hash
from eos_platform.common import console as terminal
from eos_platform.common.errors import EosError, shown
from eos_platform.models.loading.opening import opening
from eos_platform.models.runtime.attach import attach
from eos_platform.operators.spec import OperatorSpec
from eos_platform.tasks.answers.generate import load_pair, write
from eos_platform.tasks.chats import published
from eos_platform.tasks.data.pictures import opened
from eos_platform.tasks.data.question import MARK
from eos_platform.tasks.prompts import prompt_text

MOST = 64  # tokens of an answer


class EosVlm:
    """What VLMEvalKit asks: one message of texts and pictures at a time, answered greedily.

    Attributes:
        name: with the hashes of model and operator, by which VLMEvalKit keeps answers.
    """

    is_api = False
    INTERLEAVE = True

    def __init__(
        self,
        model: str,
        operator: Path | None = None,
        *,
        device: str | None = None,
        chat: str | None = None,
        most: int = MOST,
    ) -> None:
        """Load a model and put an operator on it.

        Args:
            model: a bundled model's name, or a folder.
            operator: its file; None: unreduced.
            device: where to run.
            chat: a published prompt, instead of the processor's own.
            most: tokens of an answer.

        Raises:
            EosError: no such model or operator.
        """
        spec = OperatorSpec.load(operator) if operator else None
        with opening(model) as folder:
            hashes = model_hash(Path(folder)), operator_hash(spec)
        self.name = "-".join(["eos", *hashes, *([chat] if chat else [])])
        self._model, processor = load_pair(model, device)
        self._processor, self._most = published(processor, chat), most
        if spec is not None:
            attach(self._model, spec)

    def set_dump_image(self, dump_image_func: Any) -> None:
        """VLMEvalKit's way to pictures, for prompts of a model's own; here are none."""

    def use_custom_prompt(self, dataset: str) -> bool:
        """No: prompts are the benchmark's."""
        return False

    def generate(self, message: Any, dataset: str | None = None) -> str:
        """The answer to a message.

        Args:
            message: text, or a list of texts and of mappings with ``type`` (text or image) and ``value``.
            dataset: whose it is.

        Raises:
            EosError: a film, or what is no message.
        """
        question, pictures = asked(message)
        images = [opened(path) for path in pictures]
        text = prompt_text(self._processor, question, len(images))
        return write(self._model, self._processor, [], [images], self._most, prompts=[text])[0]


def asked(message: Any) -> tuple[str, list[Path]]:
    """The text of a message, ``<image>`` where a picture stands among texts, and its pictures.

    Raises:
        EosError: a film, or what is no message.
    """
    parts = message if isinstance(message, (list, tuple)) else [message]
    texts: list[str] = []
    pictures: list[Path] = []
    for part in parts:
        if isinstance(part, str):
            part = {"type": "image" if _is_picture(part) else "text", "value": part}
        kind, value = (part.get("type"), part.get("value")) if isinstance(part, Mapping) else (None, None)
        if kind not in ("text", "image") or not isinstance(value, str):
            raise EosError(f"VLMEvalKit: a message of texts and pictures is expected, not {shown(part)}")
        if kind == "image":
            pictures.append(Path(value))
        texts.append(MARK if kind == "image" else value)
    front = all(one == MARK for one in texts[: len(pictures)])
    return "\n".join(one for one in texts if one != MARK) if front else "\n".join(texts), pictures


def _is_picture(text: str) -> bool:
    return Path(text).suffix.lower() in Image.registered_extensions() and len(text) < 1024 and Path(text).is_file()


def run(model: EosVlm, data: str, out: Path, limit: int | None = None) -> Any:
    """Answers and scores of one of VLMEvalKit's benchmarks; answers that are kept are not asked for again.

    Args:
        model: that is asked.
        data: the benchmark's name, or that of a table in ``$LMUData``.
        out: a folder for answers and scores.
        limit: questions, the first ones.

    Returns:
        What VLMEvalKit's ``evaluate`` gives; for a table of its own without a metric, nothing.

    Raises:
        EosError: VLMEvalKit is not installed, or does not know the benchmark.
    """
    dataset = _module("vlmeval.dataset").build_dataset(data)
    if dataset is None:
        raise EosError(f"VLMEvalKit knows no benchmark {shown(data)}, and there is no table of that name in $LMUData")
    out.mkdir(parents=True, exist_ok=True)
    before = set(out.rglob("*"))
    infer = _module("vlmeval.inference").infer_data_job
    infer(model, work_dir=str(out), model_name=model.name, dataset=dataset, limit=limit)
    files = [path for path in out.glob(f"{model.name}_{data}.*") if path.suffix in (".xlsx", ".tsv", ".json")]
    if not files:
        raise EosError(f"VLMEvalKit left no answers in {out} ({len(set(out.rglob('*')) - before)} new files)")
    try:
        return dataset.evaluate(str(files[0]), model="exact_matching")
    except NotImplementedError:
        return None


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise EosError(
            f"VLMEvalKit cannot be imported ({str(error)[:80]}): pip install ms-vlmeval (as ModelScope packs it), "
            "or its repository, in an environment of its own"
        ) from None


def main(words: Sequence[str] | None = None) -> None:
    """See the module's first lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="a bundled model or a folder")
    parser.add_argument("--operator", type=Path, help="none: unreduced")
    parser.add_argument("--data", required=True, help="VLMEvalKit's name, or that of a table in $LMUData")
    parser.add_argument("--out", type=Path, default=Path("eos-vlmevalkit"))
    parser.add_argument("--limit", type=int)
    parser.add_argument("--chat", help="a published prompt: llava-1.5")
    parser.add_argument("--device")
    given = parser.parse_args(words)
    model = EosVlm(given.model, given.operator, device=given.device, chat=given.chat)
    result = run(model, given.data, given.out, given.limit)
    terminal.say(
        f"{given.data}: " + ("answers kept; VLMEvalKit has no metric for it" if result is None else str(result))
    )


if __name__ == "__main__":
    main()
