"""What ``eos.search`` gives: a search's result that can be saved, attached and looked at."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from eos_platform.common.files import as_path
from eos_platform.models.runtime.attach import attach
from eos_platform.models.runtime.operator_source import FILE
from eos_platform.search.run import SearchResult

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

Model = TypeVar("Model")


@dataclass(frozen=True, repr=False)
class Found(SearchResult):
    """A search's result. Accuracies are on validation questions; ``eos.evaluate`` asks held-out ones."""

    @classmethod
    def of(cls, result: SearchResult) -> Found:
        """The same result."""
        return cls(**{one.name: getattr(result, one.name) for one in fields(result)})

    def save(self, path: str | os.PathLike[str] = FILE) -> Path:
        """Write the operator file; into a folder, as ``operator.json``, where ``eos.attach`` finds it.

        Raises:
            EosError: it cannot be written.
        """
        place = as_path(path)
        return self.operator.save(place / FILE if place.is_dir() else place)

    def attach(self, model: Model, **options: Any) -> Model:
        """Put the operator on a model, as ``eos.attach``."""
        return attach(model, self.operator, **options)

    def plot(self) -> Figure:
        """The visual tokens layer by layer, and the sites where they go."""
        from eos_platform.dashboard_data.describe import layers_of, sites_of
        from eos_platform.dashboards.operator import operator_figure

        return operator_figure(layers_of(self.operator), sites_of(self.operator), self.operator.name)

    def told(self) -> str:
        """The result in a line."""
        searched: Any = self.operator.provenance.get("search") or {}
        questions = searched.get("eval_questions")
        asked = f" on {questions} validation questions" if questions else ""
        return f"accuracy {100 * self.accuracy:.1f} %{asked} at {self.paid()}, {self.seconds:.0f} s"

    def __repr__(self) -> str:
        return f"{self.told()}\n{self.operator!r}"

    def _repr_html_(self) -> str:
        from eos_platform.api.html import result_html

        return result_html(self.told(), self.operator)
