"""What a node of the cluster has, reported by a task that must run even where this package is missing."""

from __future__ import annotations

from collections.abc import Callable

PLUGIN = "plug-in "  # before a package's name
GROUPS = ("families", "tasks", "costs")  # what workers load; designs and samplers are the driver's affair


def reporter() -> Callable[[str, str, str], dict[str, str]]:
    """The task: a function within a function, which Ray sends whole and not by the name of a module.

    It takes the storage of the search states, the name of a mark the driver put there, and the model's folder (either
    may be empty), and tells: python, ray, torch, package (versions), code (a digest of this package's source and
    weights), token (whether Ray's token is on), storage ("shared", or what went wrong) and model (a digest); and the
    version of every package that adds families, tasks or costs, under its name behind ``PLUGIN``.
    """

    groups, plugin = GROUPS, PLUGIN  # sent along

    def report(place: str, mark: str, model: str) -> dict[str, str]:
        import hashlib
        import importlib.metadata
        import importlib.util
        import os
        import platform
        from contextlib import suppress

        def digest(path: str) -> str:
            with open(path, "rb") as stream:
                return hashlib.sha256(stream.read()).hexdigest()[:16]

        facts = {"python": platform.python_version(), "package": "of no known version"}
        for name, distribution in (("ray", "ray"), ("torch", "torch"), ("package", "eos-platform")):
            with suppress(importlib.metadata.PackageNotFoundError):
                # CPU and CUDA builds of one version agree
                facts[name] = importlib.metadata.version(distribution).partition("+")[0]
        with suppress(ImportError):
            from ray._private.authentication.authentication_utils import is_token_auth_enabled

            facts["token"] = "yes" if is_token_auth_enabled() else "no"

        for group in groups:
            for point in importlib.metadata.entry_points(group=f"eos_platform.{group}"):
                if point.dist is not None:
                    facts[plugin + point.dist.name] = point.dist.version

        spec = importlib.util.find_spec("eos_platform")
        if spec is not None and spec.submodule_search_locations:
            package = next(iter(spec.submodule_search_locations))
            files = [
                os.path.relpath(os.path.join(folder, file), package)
                for folder, _, names in os.walk(package, followlinks=True)
                for file in names
                if file.endswith((".py", ".safetensors"))
            ]
            lines = [f"{file} {digest(os.path.join(package, file))}" for file in sorted(files)]
            facts["code"] = hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]

        if place:
            try:
                from pyarrow import fs

                there, path = fs.FileSystem.from_uri(place) if "://" in place else (fs.LocalFileSystem(), place)
                with there.open_input_stream(f"{path}/{mark}") as stream:
                    facts["storage"] = "shared" if stream.read() == mark.encode() else "the driver's mark is not there"
                trial = f"{path}/{mark}-{os.getpid()}"
                with there.open_output_stream(trial) as stream:
                    stream.write(b"")
                there.delete_file(trial)
            except FileNotFoundError:
                facts["storage"] = "what the driver wrote is not there"
            except Exception as error:
                facts["storage"] = (str(error).strip() or type(error).__name__).splitlines()[0]
        if model:
            facts["model"] = "missing"
            with suppress(OSError):
                facts["model"] = digest(os.path.join(model, "config.json"))
        return facts

    return report
