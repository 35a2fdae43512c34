"""Extension points: what this package has of a kind, and what other installed packages add by entry points.

A package adds a design, say, with two lines of its ``pyproject.toml``::

    [project.entry-points."eos_platform.designs"]
    my-design = "my_package.my_design:DESIGN"

Entry points are found by name without importing anything, and loaded when first used, so that a broken one is an error
for whoever asks for it and for nobody else. A built-in name cannot be taken; of two packages with the same name, the
first by the package's name has it, on every machine. ``eos plugins`` lists all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from eos_platform.common.errors import EosError, did_you_mean, shown, unknown

T = TypeVar("T")
BUILT_IN = "eos-platform"
PREFIX = "eos_platform."  # of every group of entry points


@dataclass(frozen=True)
class Found:
    """One thing a registry knows.

    Attributes:
        kind: what it is ("design").
        name: by which it is asked for.
        package: that brings it, with its version.
        value: where it stands in that package; empty for what is built in.
        problem: why it cannot be used; empty: it can.
    """

    kind: str
    name: str
    package: str
    value: str = ""
    problem: str = ""


class Registry(Mapping[str, T], Generic[T]):
    """Things of one kind by name: those registered here, then those of entry points that can be loaded."""

    def __init__(self, kind: str, group: str, check: Callable[[Any], T], *, named: bool = False) -> None:
        """
        Args:
            kind: singular, as error messages name it.
            group: of the entry points, without ``eos_platform.``.
            check: turns what an entry point loads into a thing of this kind, or raises ``EosError``/``TypeError``.
            named: whether things have a ``name``, which must be their entry point's: files then find them again.
        """
        self.kind, self.group = kind, f"{PREFIX}{group}"
        self._check, self._named = check, named
        self._built_in: dict[str, T] = {}
        self._loaded: dict[str, T] = {}
        self._problems: dict[str, str] = {}
        self._points: dict[str, EntryPoint] | None = None
        self._second: list[EntryPoint] = []  # whose name another package has

    def register(self, name: str, thing: T) -> T:
        """Add a thing from inside this package, or for the life of this process; the latest of a name wins."""
        self._built_in[name] = thing
        return thing

    def points(self) -> dict[str, EntryPoint]:
        """Entry points by name, found once; of several with one name, the first package's."""
        if self._points is None:
            points: dict[str, EntryPoint] = {}
            # in an order that does not depend on where packages lie, which differs between the nodes of a cluster
            every = sorted(entry_points(group=self.group), key=lambda point: (package_of(point), point.value))
            self._second = [point for point in every if points.setdefault(point.name, point) is not point]
            self._points = points
        return self._points

    def loaded(self) -> tuple[T, ...]:
        """Things of other packages that have been loaded by now."""
        return tuple(self._loaded.values())

    def package(self, name: str) -> str:
        """The package that brings a thing, with its version; empty: it is built in, or there is none."""
        return "" if name in self._built_in or name not in self.points() else package_of(self.points()[name])

    def forget(self) -> None:
        """Look for entry points again when next asked: packages were installed or removed meanwhile."""
        self._points = None
        self._loaded.clear()
        self._problems.clear()

    def __getitem__(self, name: str) -> T:
        if name in self._built_in:
            return self._built_in[name]
        thing, problem = self._load(name)
        if problem:
            raise KeyError(name)
        assert thing is not None
        return thing

    def get_named(self, name: str) -> T:
        """The thing of that name.

        Raises:
            EosError: nothing is called so, or the plug-in that brings it cannot be loaded.
        """
        if name not in self._built_in and name in self.points():
            _, problem = self._load(name)
            if problem:
                raise EosError(f"{self.kind} '{name}' of {package_of(self.points()[name])} cannot be loaded: {problem}")
        try:
            return self[name]
        except KeyError:
            raise unknown(self.kind, name, self) from None

    def __iter__(self) -> Iterator[str]:
        yield from self._built_in
        for name in self.points():
            if name not in self._built_in and not self._load(name)[1]:
                yield name

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, name: object) -> bool:
        return name in self._built_in or (isinstance(name, str) and name in self.points() and not self._load(name)[1])

    def found(self) -> list[Found]:
        """Everything there is, plug-ins that cannot be used too, with the reason."""
        rows = [Found(self.kind, name, BUILT_IN) for name in self._built_in]
        for name, point in self.points().items():
            problem = f"the name is taken by {BUILT_IN}" if name in self._built_in else self._load(name)[1]
            rows.append(Found(self.kind, name, package_of(point), point.value, problem))
        for point in self._second:
            owner = BUILT_IN if point.name in self._built_in else package_of(self.points()[point.name])
            rows.append(Found(self.kind, point.name, package_of(point), point.value, f"the name is taken by {owner}"))
        return rows

    def _load(self, name: str) -> tuple[T | None, str]:
        """A plug-in's thing, or why there is none; loaded once."""
        if name in self._loaded:
            return self._loaded[name], ""
        if name not in self._problems:
            point = self.points().get(name)
            if point is None:
                return None, "there is no such plug-in"
            try:
                thing = point.load()
                checked = self._check(thing)
                if self._named and (own := getattr(thing, "name", name)) != name:
                    raise EosError(f"the entry point is called '{name}' and the {self.kind} {shown(own)}")
                self._loaded[name] = checked
                return checked, ""
            # whatever another package's code raises, an exit too, is its own fault, and stays there
            except (Exception, SystemExit) as error:
                first = (str(error).strip() or "no message").splitlines()[0][:200]
                self._problems[name] = f"{type(error).__name__}: {first} (in {point.value})"
        return None, self._problems[name]


def of_type(kind: type[T]) -> Callable[[Any], T]:
    """A check that something is an instance; a class is called without arguments first."""

    def check(thing: Any) -> T:
        made = thing() if isinstance(thing, type) and issubclass(thing, kind) else thing
        if not isinstance(made, kind):
            raise TypeError(f"expected a {kind.__name__}, found {type(made).__name__}")
        return made

    return check


def strangers(registries: Iterable[Registry[Any]]) -> list[Found]:
    """Entry points in groups of this package's that it does not have, misspelt ones say."""
    known = {registry.group for registry in registries}
    return [
        Found(group, point.name, package_of(point), point.value, f"no such group{did_you_mean(group, known)}")
        for group in sorted(entry_points().groups)
        if group.startswith(PREFIX) and group not in known
        for point in entry_points(group=group)
    ]


def package_of(point: EntryPoint) -> str:
    """Name and version of the package that brings an entry point."""
    return f"{point.dist.name} {point.dist.version}" if point.dist is not None else "an unnamed package"
