"""A model that is saved with an operator on it: the operator lies beside the weights, and is found there again."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from eos_platform.common.errors import EosError
from eos_platform.models.runtime.operator_source import FILE, save_operator
from eos_platform.operators.spec import OperatorSpec

METHOD = "save_pretrained"


class Saving:
    """``model.save_pretrained`` while an operator is attached: an attribute of this one model, not of its class.

    It goes with a copied or pickled model, as the hooks do.
    """

    def __init__(self, model: Any, operator: OperatorSpec) -> None:
        self.model, self.operator = model, operator

    def __call__(self, save_directory: str | os.PathLike[str], *args: Any, **options: Any) -> Any:
        """As the model's own, and ``operator.json``."""
        done = getattr(type(self.model), METHOD)(self.model, save_directory, *args, **options)
        if options.get("is_main_process", True):
            save_operator(self.operator, save_directory)
        return done


def saves_with(model: Any, operator: OperatorSpec) -> None:
    """Let ``model.save_pretrained`` write the operator, too; what somebody else put in its place is left alone."""
    if hasattr(type(model), METHOD) and METHOD not in vars(model):
        setattr(model, METHOD, Saving(model, operator))


def saves_alone(model: Any) -> None:
    """Undo it."""
    if isinstance(vars(model).get(METHOD), Saving):
        delattr(model, METHOD)


def saved_beside(model: Any) -> Path:
    """The operator file in the folder that a model was loaded from.

    Raises:
        EosError: there is none.
    """
    name = str(getattr(model, "name_or_path", "") or "")
    if name and (Path(name) / FILE).is_file():
        return Path(name) / FILE
    place = f"no {FILE} in {name}, where this model was loaded from" if name else "this model was loaded from no folder"
    raise EosError(f"operator: {place}; say which one to attach")
