"""lmms-eval's model ``eos``: any family, an operator attached or not, several questions at a time (needs lmms-eval).

The operator's and the model's content hash must stand among the model arguments: lmms-eval's own cache is keyed by
these words, and would otherwise hand out one operator's answers for another that lies under the same path.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lmms_eval.api.instance import GenerationResult
from lmms_eval.api.model import lmms

from eos_platform.analysis.benchmark.run import operator_hash as hash_of
from eos_platform.analysis.benchmark.store import model_hash as hash_of_model
from eos_platform.common.errors import EosError
from eos_platform.lmms.asked import Request, batches, cut, kept_in, request
from eos_platform.models.loading.opening import opening
from eos_platform.models.runtime.attach import attach
from eos_platform.operators.spec import OperatorSpec
from eos_platform.tasks.answers.generate import load_pair, write
from eos_platform.tasks.prompts import prompt_text


class EosSimple(lmms):  # type: ignore[misc, unused-ignore]
    """Tasks that give a context and pictures; the prompt is one user turn by the model's own chat template."""

    is_simple = True

    def __init__(
        self,
        pretrained: str,
        operator: str | None = None,
        operator_hash: str | None = None,
        model_hash: str | None = None,
        batch_size: int | str = 1,
        device: str | None = None,
        answers: str | None = None,
        max_batch_size: int | None = None,
    ) -> None:
        """
        Args:
            pretrained: a bundled model's name, or a folder.
            operator: an operator file; None: unreduced.
            operator_hash: of the operator.
            model_hash: of the model's folder.
            batch_size: questions at a time.
            device: where to run.
            answers: a folder to keep answers in as they come, and go on from.
            max_batch_size: not used.

        Raises:
            EosError: a hash is missing or another one; no such model or operator.
        """
        super().__init__()
        spec = OperatorSpec.load(operator) if operator else None
        with opening(pretrained) as folder:
            wanted = {"operator_hash": hash_of(spec), "model_hash": hash_of_model(Path(folder))}
        given = {"operator_hash": operator_hash or ("none" if spec is None else None), "model_hash": model_hash}
        for name, value in wanted.items():
            if str(given[name]) != value:
                raise EosError(
                    f"--model_args: {name}={value} is expected, not {given[name]}; lmms-eval's cache needs it"
                )
        self._model, self._processor = load_pair(pretrained, device)
        if spec is not None:
            attach(self._model, spec)
        self._size = int(batch_size or 1)
        self._kept = kept_in(answers, wanted)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        result: torch.device = self._model.device
        return result

    @property
    def batch_size(self) -> int:
        """Questions at a time."""
        return self._size

    def clean(self) -> None:
        """Nothing: lmms-eval would delete the model, and a second evaluation fail."""

    def generate_until(self, requests: Sequence[Any]) -> list[str]:
        """Greedy answers, in the order of the requests."""
        asked = [self._asked(one.args) for one in requests]
        known = {} if self._kept is None else self._kept.known
        answer = {number: known[one.key][0] for number, one in enumerate(asked) if one.key in known}
        for some in batches(asked, [number for number in range(len(asked)) if number not in answer], self._size):
            held = [asked[number] for number in some]
            texts = write(
                *(self._model, self._processor, [], [one.pictures for one in held], held[0].most),
                prompts=[one.text for one in held],
            )
            answer |= {number: cut(text, one.until) for number, one, text in zip(some, held, texts, strict=True)}
            if self._kept is not None:
                self._kept.add([(asked[number].key, answer[number], 0.0) for number in some])
        return [answer[number] for number in range(len(asked))]

    def _asked(self, args: tuple[Any, ...]) -> Request:
        context, settings, to_pictures, number, task, part = args
        pictures = list(to_pictures(self.task_dict[task][part][number]) or [])
        text = prompt_text(self._processor, context, len(pictures))
        return request(text, pictures, settings, f"{task}/{part}/{number}")

    @torch.no_grad()
    def loglikelihood(self, requests: Sequence[Any]) -> list[Any]:
        """The mean loss of each continuation, and whether it is the greedy one.

        lmms-eval takes the *lowest* value as the choice, whatever its docstring says; its evaluator turns a bare pair
        into a string, so that the pair is wrapped.
        """
        result = []
        for one in requests:
            context, continuation, to_pictures, number, task, part = one.args
            document = self.task_dict[task][part][number]
            continuation = continuation(document) if callable(continuation) else continuation
            pictures = list(to_pictures(document) or [])
            text = prompt_text(self._processor, context, len(pictures))
            before, whole = (
                self._processor(text=[words], images=pictures or None, return_tensors="pt")
                for words in (text, text + continuation)
            )
            count = whole["input_ids"].shape[1] - before["input_ids"].shape[1]
            if count < 1 or not torch.equal(before["input_ids"], whole["input_ids"][:, :-count]):
                raise EosError(f"task '{task}': a continuation's first word runs into the prompt's last")
            whole = whole.to(self._model.device, self._model.dtype)
            goal_1a = whole["input_ids"][:, -count:]
            labels = torch.full_like(whole["input_ids"], -100)
            labels[:, -count:] = goal_1a
            logits_av = self._model(**whole, labels=labels).logits[0, -count - 1 : -1].float()
            loss = torch.nn.functional.cross_entropy(logits_av, goal_1a[0])
            greedy = bool((logits_av.argmax(-1) == goal_1a[0]).all())
            result.append(GenerationResult(text=(float(loss), greedy)))
        return result

    def generate_until_multi_round(self, requests: Sequence[Any]) -> list[str]:
        """Not there.

        Raises:
            EosError: always.
        """
        raise EosError("the model 'eos' answers one round only")


class EosChat(EosSimple):
    """Tasks that give messages."""

    is_simple = False

    def _asked(self, args: tuple[Any, ...]) -> Request:
        _, to_messages, settings, number, task, part = args
        messages = to_messages(self.task_dict[task][part][number])
        parts = [one for turn in messages for one in turn["content"] if isinstance(one, dict)]
        if any(one["type"] not in ("text", "image") for one in parts):
            raise EosError(f"task '{task}': the model 'eos' takes text and pictures only")
        pictures = [one["url"] for one in parts if one["type"] == "image"]
        if getattr(self._processor, "chat_template", None):
            text = self._processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        else:
            text = prompt_text(self._processor, "".join(one["text"] for one in parts if "text" in one), len(pictures))
        return request(str(text), pictures, settings, f"{task}/{part}/{number}")
