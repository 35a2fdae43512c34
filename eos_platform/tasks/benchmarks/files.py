"""Files of a benchmark's download, and rows of the hub's tables, with errors that say what is missing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from eos_platform.common import strict_json
from eos_platform.common.errors import EosError, shown
from eos_platform.common.files import MEGABYTE, read_text, shown_path
from eos_platform.tasks.data.find import find
from eos_platform.tasks.data.media import Source, Spill
from eos_platform.tasks.data.readers.cells import from_base64
from eos_platform.tasks.data.rows import Bad, Raw

LARGEST = 8192 * MEGABYTE


class Tables:
    """What is under a benchmark's root."""

    def __init__(self, root: Path, name: str, layout: str) -> None:
        self.root, self.name, self.layout = root, name, layout
        self._spill = Spill()

    def fault(self, what: str) -> EosError:
        """The error of a layout that is another one."""
        return EosError(f"task '{self.name}': {what}: {shown_path(self.root)} should hold {self.layout}")

    def there(self, *names: str) -> Path | None:
        """The first of these files or folders that is there, here or a folder below."""
        for name in names:
            for path in (self.root / name, *sorted(self.root.glob(f"*/{name}"))):
                if path.exists():
                    return path
        return None

    def file(self, *names: str) -> Path:
        """The same.

        Raises:
            EosError: none is.
        """
        result = self.there(*names)
        if result is None:
            raise self.fault(f"no {' or '.join(names)}")
        return result

    def json(self, path: Path) -> Any:
        """What a JSON file says.

        Raises:
            EosError: it is no JSON.
        """
        return strict_json.loads(read_text(path, "benchmark file", LARGEST), shown_path(path))

    def rows(self, path: Path) -> Iterator[Mapping[str, Any]]:
        """Rows of a table, a list or JSON lines.

        Raises:
            EosError: one is unreadable.
        """
        for row in find(str(path)).rows:
            if isinstance(row, Bad):
                raise EosError(f"task '{self.name}': {row}")
            yield row.values

    def hub(self) -> Iterator[Mapping[str, Any]] | None:
        """Rows of Parquet files or of a ``datasets`` folder, where that is what the root holds."""
        saved = any((self.root / name).is_file() for name in ("dataset_dict.json", "state.json"))
        if not saved and next(self.root.rglob("*.parquet"), None) is None:
            return None
        result = find(str(self.root)).rows
        return (self._good(row) for row in result)

    def _good(self, row: Raw | Bad) -> Mapping[str, Any]:
        if isinstance(row, Bad):
            raise EosError(f"task '{self.name}': {row}")
        return row.values

    def image(self, *names: str) -> Source:
        """A picture below the root, by the first of these names that is there; the first, where none is.

        Raises:
            EosError: a name leaves the root.
        """
        top = self.root.resolve()
        for name in names:
            path = self.root / name
            if not path.resolve().is_relative_to(top):
                raise EosError(f"task '{self.name}': picture {shown(name)} leaves {shown_path(self.root)}")
            if path.is_file():
                return path
        return self.root / names[0]

    def base64(self, text: str, name: str) -> Source:
        """A picture that came as base64."""
        return self._spill.keep(from_base64(text, name), name)

    def cell(self, row: Mapping[str, Any], column: str = "image") -> Source:
        """A picture of a table: in a cell, or in a list of one.

        Raises:
            EosError: there is none.
        """
        value: Any = row.get(column)
        if isinstance(value, list) and value:
            value = value[0]
        if isinstance(value, bytes):
            return self._spill.keep(value, column)
        if isinstance(value, dict) and isinstance(value.get("bytes"), bytes):
            return self._spill.keep(value["bytes"], column)
        if isinstance(value, str):
            return self.image(value)
        if value is None:
            raise self.fault(f"a row without '{column}'")
        result: Source = value
        return result

    def text(self, row: Mapping[str, Any], *keys: str) -> str:
        """A field as text, by the first of these names that a row has; numbers of ids as they are written.

        Raises:
            EosError: it has none.
        """
        for key in keys:
            value = row.get(key)
            if isinstance(value, str):
                return value
            if isinstance(value, int) and not isinstance(value, bool):
                return str(value)
        raise self.fault(f"a row without '{keys[0]}' as text")
