"""What MLflow runs for a registered operator: the base model with the operator on it, asked about pictures.

MLflow keeps a copy of this file with each model ("models from code"); the operator itself is data beside it.

    answers = mlflow.pyfunc.load_model("models:/quickstart@champion").predict(frame)  # columns image, text

``image`` is a file or base64 of one; ``text`` the question. The base model is loaded at the first question; code in
its folder is run only after ``load_model(..., model_config={"trust_remote_code": True})``.
"""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel

OPERATOR = "operator"
LONGEST = 16  # tokens of an answer, by default


class OperatorModel(PythonModel):
    """A vision-language model with an operator."""

    def load_context(self, context: Any) -> None:
        """Read the operator; raises EosError when it is none."""
        from eos_platform.operators.spec import OperatorSpec

        self.operator = OperatorSpec.load(context.artifacts[OPERATOR])
        self.base = str((context.model_config or {}).get("model", ""))
        self.trusted = (context.model_config or {}).get("trust_remote_code") is True
        self._loaded: tuple[Any, Any] | None = None

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> list[str]:
        """The answers, in the rows' order."""
        from eos_platform.tasks.prompts import prompt_text

        model, processor = self._model()
        limit = int((params or {}).get("max_new_tokens", LONGEST))
        answers = []
        for image, text in zip(model_input["image"], model_input["text"], strict=True):
            prompt = text if "<image>" in text else prompt_text(processor, text)
            inputs = processor(images=_picture(image), text=prompt, return_tensors="pt").to(model.device)
            out = model.generate(**inputs, max_new_tokens=limit, do_sample=False)
            answers.append(processor.decode(out[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True).strip())
        return answers

    def _model(self) -> tuple[Any, Any]:
        if self._loaded is None:
            from transformers import AutoModelForImageTextToText

            from eos_platform.models.loading.opening import opening
            from eos_platform.models.loading.pretrained import load_model
            from eos_platform.models.loading.processors import load_processor
            from eos_platform.models.runtime.attach import attach

            with opening(self.base) as place:
                model = load_model(AutoModelForImageTextToText, place, trust_remote_code=self.trusted).eval()
                processor = load_processor(place, trust_remote_code=self.trusted)
            self._loaded = attach(model, self.operator), processor
        return self._loaded


def _picture(given: str) -> Any:
    from PIL import Image

    try:
        if Path(given).is_file():
            return Image.open(given).convert("RGB")
    except OSError:  # base64 is longer than a name may be
        pass
    return Image.open(io.BytesIO(base64.b64decode(given.partition(",")[2] or given))).convert("RGB")


set_model(OperatorModel())
