"""No file that came from elsewhere can run code: nothing in the package reads a pickle, or anything like one."""

import ast
import os
from pathlib import Path

import eos_platform

PACKAGE = Path(eos_platform.__file__).parent
MODULES = {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
CALLS = {"eval", "exec", "torch.load", "yaml.load", "yaml.unsafe_load", "np.load", "numpy.load", "Tuner.restore"}


def dotted(node):
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join(reversed([*parts, node.id])) if isinstance(node, ast.Name) else ""


def dangers(text):
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] in MODULES)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in MODULES:
            yield node.module
        elif isinstance(node, ast.Call):
            name = dotted(node.func)
            if name in CALLS or name.endswith("Tuner.restore"):
                yield name
            for key in node.keywords:
                # handed on from somebody who was asked, or off; tests/models/test_pretrained.py runs a folder's code
                given = isinstance(key.value, (ast.Name, ast.Attribute)) and ast.unparse(key.value).split(".")[-1] in (
                    "trust_remote_code",
                    "trusted",
                )
                off = given or (isinstance(key.value, ast.Constant) and not key.value.value)
                if key.arg in ("trust_remote_code", "allow_pickle") and not off:
                    yield key.arg


def test_dangers_are_seen():
    text = "import pickle\ntorch.load(x)\ntune.Tuner.restore(y)\nf(trust_remote_code=True)\ng(allow_pickle=False)\n"
    assert sorted(dangers(text)) == ["pickle", "torch.load", "trust_remote_code", "tune.Tuner.restore"]


def test_nothing_is_unpickled():
    found = []
    for folder, _, files in os.walk(PACKAGE, followlinks=True):
        for file in files:
            if file.endswith(".py"):
                path = Path(folder, file)
                found += [f"{path.relative_to(PACKAGE)}: {danger}" for danger in dangers(path.read_text("utf-8"))]
    assert sorted(found) == [
        "engine/safe_yaml.py: yaml.load",  # with a loader of its own that knows plain data only
        "models/conformance/attachment.py: torch.load",  # of bytes that the check itself has just written, in memory
    ]
