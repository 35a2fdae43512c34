"""Every kind of input there is, spoilt in one way: the files it lies in, and a command that reads them."""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import yaml

from . import mutations
from .arguments import address, arguments
from .runner import Case

SMALL = ["--model", "bundled-small"]


def _spoil_text(rng: random.Random, path: Path) -> tuple[str, bool]:
    """Bytes of the file, or the file itself; whether nothing but a refusal can be right."""
    if rng.random() < 0.3:
        return mutations.special(rng, path), True
    given = path.read_bytes()
    spoilt, what = mutations.text(rng, given)
    path.write_bytes(spoilt)
    return what, what not in ("bits flipped", "truncated", "twice", "controls", "NUL inside", "Latin-1")


def _spoil_json(rng: random.Random, path: Path) -> tuple[str, str, bool]:
    """Also returns the key."""
    if rng.random() < 0.35:
        what, refuse = _spoil_text(rng, path)
        return what, "", refuse
    data, what, key = mutations.structure(rng, json.loads(path.read_text()), rng.choice((1, 1, 1, 2)))
    text = mutations.to_json(data)
    if rng.random() < 0.1 and isinstance(data, dict) and data:
        name = rng.choice(sorted(data))
        text = "{" + f"{json.dumps(name)}:{mutations.to_json(data[name])}," + text[1:]
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        return f"key {name} twice, {what}", str(name), True
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    if path.is_file() and not text.strip():
        return what, str(key), True
    return what, str(key), False


def operator(rng: random.Random, originals: Path, folder: Path) -> Case:
    path = folder / "operator.json"
    shutil.copy(originals / "operator.json", path)
    what, _, refuse = _spoil_json(rng, path)
    command = rng.choice(
        (
            ["evaluate", path.name, *SMALL, "--questions", "4"],
            ["explain", path.name, *SMALL, "--out", "explained"],
            ["compare", path.name, *SMALL, "--mlflow", "none", "--questions", "4"],
            ["bench", path.name, *SMALL],
        )
    )
    return Case("operator file", what, command, (path.name, "operator"), refuse)


def study(rng: random.Random, originals: Path, folder: Path) -> Case:
    path = folder / "study.yaml"
    shutil.copy(originals / "study.yaml", path)
    how = rng.random()
    refuse = False
    if how < 0.25:
        what, refuse = _spoil_text(rng, path)
        refuse = refuse and what not in ("an archive",)
    elif how < 0.45:
        text, what = mutations_of_yaml(rng, path.read_text())
        path.write_text(text)
    else:
        data, what, _ = mutations.structure(rng, yaml.safe_load(path.read_text()), rng.choice((1, 1, 2)))
        # JSON is YAML, and says what YAML's writer would not
        path.write_bytes(mutations.to_json(data).encode("utf-8", "surrogatepass"))
    word = rng.choice(("run", "status", "check", "resume"))
    return Case("study file", what, ["study", word, path.name], (path.name, "stud"), refuse)


def mutations_of_yaml(rng: random.Random, text: str) -> tuple[str, str]:
    bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10)
    )
    tags = ("!!python/object/apply:os.system [id]", "!!binary x", "!!set {a}", "!!timestamp x", "!!omap [a: 1]", "!x y")
    added = {
        "alias bomb": bomb,
        "bomb in a value": bomb + "name: *a9\n",
        "itself": "search: &s {steps: *s}\n",
        "merge": "base: &b {steps: 3}\nsearch:\n  <<: *b\n",
        "tag": f"name: {rng.choice(tags)}\n",
        "date": "name: 2024-01-01\n",
        "bad date": "name: 2024-99-99\n",
        "digits": f"trials: {'9' * rng.choice((20, 400, 5000))}\n",
        "hexadecimal": f"trials: 0x{'f' * 5000}\n",
        "memory": f"resources: {{memory: {'9' * 400}GiB}}\n",
        "negative memory": "resources: {memory: -5}\n",
        "layers": "search: {layers: [1000000000000]}\n",
        "seconds": "trials: 1:30:00\n",
        "two documents": "---\nname: x\n",
        "tab": "\tname: x\n",
        "wide space": "space: {budget: {int: [0, 1000000000000000000]}}\n",
        "many choices": f"space: {{budget: {{choice: [{', '.join(f'0.{n}' for n in range(1, 4000))}]}}}}\n",
        "huge grid": "sampler: grid\nspace: {seed: {int: [0, 4000000000]}}\n",
    }
    name = rng.choice(sorted(added))
    keys = {line.partition(":")[0] for line in added[name].splitlines() if line and line[0].isalpha()}
    data = {key: value for key, value in yaml.safe_load(text).items() if key not in keys}
    return yaml.safe_dump(data, sort_keys=False) + added[name], name


def model(rng: random.Random, originals: Path, folder: Path) -> Case:
    place = folder / "model"
    place.mkdir()
    for file in (originals / "model").iterdir():
        os.link(file, place / file.name)
    name = rng.choice(
        [
            *("config.json", "config.json", "config.json", "tokenizer.json", "tokenizer_config.json"),
            *("processor_config.json", "generation_config.json", "model.safetensors", "chat_template.jinja"),
        ]
    )
    path = place / name
    data = path.read_bytes()
    path.unlink()  # a link to the original
    path.write_bytes(data)
    what, refuse = "", False
    if rng.random() < 0.12:
        path.unlink()
        what = "missing"
    elif name == "model.safetensors":
        what = _weights(rng, path)
        refuse = what in ("empty", "renamed", "reshaped", "fewer", "header")
    elif name.endswith(".json") and rng.random() < 0.75:
        what, refuse = _model_json(rng, path)
    else:
        what, _ = _spoil_text(rng, path)
    command = rng.choice(
        (
            ["evaluate", "--model", "model", "--questions", "4"],
            ["evaluate", "--model", "model", "--questions", "4"],
            ["search", "--model", "model", "-o", "x.json"],
            ["bench", "--model", "model"],
        )
    )
    return Case("model folder", f"{name}: {what}", command, ("model",), refuse)


def _model_json(rng: random.Random, path: Path) -> tuple[str, bool]:
    data = json.loads(path.read_text())
    known = {
        "quantized": {"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}},
        "quantized otherwise": {"quantization_config": {"quant_method": "gptq", "bits": 4}},
        "unknown quantization": {"quantization_config": {"quant_method": "nothing"}},
        "own code": {"auto_map": {"AutoConfig": "code.Config", "AutoModel": "code.Model"}},
        "another type": {"model_type": rng.choice(("qwen2_vl", "bert", "nonsense", None, 3, [], "gpt2"))},
        "another processor": {"processor_class": rng.choice(("Nothing", None, "BertTokenizer", 3))},
        "another tokenizer": {"tokenizer_class": rng.choice(("Nothing", None, "BertTokenizer", "LlamaTokenizer", 3))},
    }
    if path.name == "config.json" and rng.random() < 0.35:
        part = data[rng.choice(("text_config", "vision_config"))]
        key = rng.choice([key for key, value in part.items() if isinstance(value, int)])
        part[key] = rng.choice((0, -1, 10**9, None, [], 3, 10**6, "x", 1.5, True))
        what = f"{key}={part[key]!r}"
    elif rng.random() < 0.25:
        what = rng.choice(sorted(known))
        data.update(known[what])
    else:
        data, what, _ = mutations.structure(rng, data, rng.choice((1, 1, 2)))
    path.write_bytes(mutations.to_json(data).encode("utf-8", "surrogatepass"))
    return what, False


def _weights(rng: random.Random, path: Path) -> str:
    from safetensors.torch import load_file, save_file

    how = rng.choice(("bytes", "special", "empty", "renamed", "reshaped", "fewer", "header", "other dtype"))
    if how == "special":
        return mutations.special(rng, path)
    if how == "bytes":
        spoilt, what = mutations.text(rng, path.read_bytes())
        path.write_bytes(spoilt)
        return what
    if how == "header":
        path.write_bytes(rng.choice((2**62, 10**6, 3)).to_bytes(8, "little") + path.read_bytes()[8:])
        return how
    tensors = load_file(path)
    some = rng.sample(sorted(tensors), 5)
    if how == "empty":
        tensors = {}
    for name in some if tensors else ():
        value = tensors.pop(name)
        if how == "renamed":
            tensors[f"x.{name}"] = value
        elif how == "reshaped":
            tensors[name] = value.flatten()[:7].clone()
        elif how == "other dtype":
            tensors[name] = value.int()
    save_file(tensors, path)
    return how


def comparison(rng: random.Random, originals: Path, folder: Path) -> Case:
    place = folder / "compare"
    shutil.copytree(originals / "compare", place, ignore=shutil.ignore_patterns("searches"))
    name = rng.choice(("comparison.json", "results.jsonl", "results.jsonl"))
    path = place / name
    if name == "comparison.json":
        what, _, _ = _spoil_json(rng, path)
    else:
        what = _spoil_records(rng, path)
    command = rng.choice(
        (
            ["report", "compare", "--out", "report.html"],
            ["compare", "--report-only", "--out", "compare", "--mlflow", "none"],
            [
                *("compare", "operator.json", *SMALL, "--out", "compare", "--mlflow", "none", "--questions", "24"),
                *("--designs", "tome,vtw", "--batch", "1", "--pictures", "1"),
            ],
        )
    )
    shutil.copy(originals / "operator.json", folder / "operator.json")
    return Case("comparison folder", f"{name}: {what}", command, (name, "compar", "result"), False)


def _spoil_records(rng: random.Random, path: Path) -> str:
    if rng.random() < 0.3:
        return _spoil_text(rng, path)[0]
    lines = path.read_text().splitlines()
    place = rng.randrange(len(lines))
    data, what, _ = mutations.structure(rng, json.loads(lines[place]), rng.choice((1, 1, 2)))
    lines[place] = mutations.to_json(data)
    path.write_bytes(("\n".join(lines) + "\n").encode("utf-8", "surrogatepass"))
    return f"line {place + 1}: {what}"


def checkpoint(rng: random.Random, originals: Path, folder: Path) -> Case:
    shutil.copytree(originals / "state", folder / "state")
    path = folder / "state" / "search.safetensors"
    how = rng.random()
    if how < 0.4:
        what, _ = _spoil_text(rng, path)
    else:
        what = _header(rng, path)
    sets = [
        word
        for pair in ("steps=4", "batch_size=4", "search_questions=16", "eval_questions=16", "portfolio=false")
        for word in ("--set", pair)
    ]
    command = ["search", *SMALL, "--budget", "0.3", *sets, "--state", "state", "-o", "found.json"]
    return Case("checkpoint", what, command, ("search.safetensors", "state"), False, {"EOS_FUZZ_REAL": "1"})


def _header(rng: random.Random, path: Path) -> str:
    from safetensors import safe_open
    from safetensors.torch import save_file

    with safe_open(path, framework="pt") as saved:
        header, tensors = dict(saved.metadata()), {key: saved.get_tensor(key) for key in saved.keys()}  # noqa: SIM118
    if rng.random() < 0.4:
        name = rng.choice(sorted(tensors))
        value = tensors.pop(name)
        if rng.random() < 0.6:
            tensors[name] = value.flatten()[:1].clone().repeat(3)
        what = f"tensor {name}"
    else:
        name = rng.choice(("progress", "config", "format", "workload"))
        data = json.loads(header[name]) if name in ("progress", "config") else header[name]
        data, what, _ = mutations.structure(rng, {"it": data})
        header[name] = mutations.to_json(data.get("it"))
        what = f"{name}: {what}"
    save_file(tensors, path, header)
    return what


def cache(rng: random.Random, originals: Path, folder: Path) -> Case:
    shutil.copytree(originals / "cache", folder / "cache")
    what = ""
    for path in sorted((folder / "cache").glob("*.features")):
        what, _ = _spoil_text(rng, path)
    command = ["evaluate", *SMALL, "--questions", "24"]
    return Case("feature cache", what, command, ("cache",), False, {"EOS_CACHE": str(folder / "cache")})


def tracking(rng: random.Random, originals: Path, folder: Path) -> Case:
    shutil.copytree(originals / "runs", folder / "runs")
    path = folder / "runs" / "mlflow.db"
    how = rng.random()
    if how < 0.35:
        what, _ = _spoil_text(rng, path)
    elif how < 0.75:
        what = _spoil_table(rng, path, ("tags", "params", "latest_metrics", "runs", "experiments"))
    else:
        files = sorted(file for file in (folder / "runs" / "artifacts").rglob("*.json"))
        database = sqlite3.connect(path)  # the copy's own files, not the originals'
        database.execute("UPDATE runs SET artifact_uri = replace(artifact_uri, ?, ?)", (str(originals), str(folder)))
        database.commit()
        database.close()
        file = rng.choice(files)
        what = f"{file.name}: {_spoil_json(rng, file)[0]}"
    command = rng.choice(
        (
            ["report", "small", "--studies", "runs"],
            ["report", "small", "--tracking", "sqlite:///runs/mlflow.db"],
            ["dashboard", "--studies", "runs", "--port", "0"],
        )
    )
    return Case("MLflow store", what, command, ("MLflow", "mlflow.db", "operator", "study", "small"), False)


def _spoil_table(rng: random.Random, path: Path, tables: tuple[str, ...]) -> str:
    database = sqlite3.connect(path)
    table = rng.choice(tables)
    columns = [row[1] for row in database.execute(f"PRAGMA table_info({table})")]
    column = rng.choice([name for name in columns if not name.endswith(("uuid", "_id")) or rng.random() < 0.2])
    value = rng.choice((None, "", "x", -1, 1e308, "9" * 5000, b"\xff\xfe", "\x1b[31m", 10**15, "{}", "[1", "null"))
    try:
        rows = [row[0] for row in database.execute(f"SELECT rowid FROM {table}")]
        for row in rng.sample(rows, max(1, len(rows) // 4)):
            database.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (value, row))
        if rng.random() < 0.15:
            database.execute(f"DROP TABLE {table}")
    except sqlite3.Error:
        pass
    database.commit()
    database.close()
    return f"{table}.{column}={str(value)[:20]!r}"


def optuna_store(rng: random.Random, originals: Path, folder: Path) -> Case:
    shutil.copytree(originals / "runs", folder / "runs")
    home = folder / "runs" / "tiny"
    name = rng.choice(("optuna.db", "optuna.db", "study.yaml", "points.csv", "experiment_state-1.json"))
    path = home / "storage" / "tune-1" / name if name.startswith("experiment") else home / name
    if name == "optuna.db" and rng.random() < 0.6:
        tables = ("trials", "trial_values", "trial_params", "trial_user_attributes", "study_user_attributes", "studies")
        what = _spoil_table(rng, path, (*tables, "study_directions", "alembic_version", "version_info"))
    elif name.endswith(".json"):
        what = _spoil_json(rng, path)[0]
    else:
        what, _ = _spoil_text(rng, path)
    command = rng.choice(
        (["study", "status", "tiny"], ["study", "check", "tiny"], ["study", "list"], ["study", "run", "tiny"])
    )
    names = ("tiny", "optuna", "Optuna", "study", name)
    return Case("study folder", f"{name}: {what}", [*command, "--runs", "runs"], names, False)


KINDS: dict[str, tuple[int, Callable[[random.Random, Path, Path], Case]]] = {
    "operator file": (18, operator),
    "study file": (18, study),
    "model folder": (16, model),
    "comparison folder": (12, comparison),
    "arguments": (18, arguments),
    "address": (4, address),
    "MLflow store": (5, tracking),
    "study folder": (5, optuna_store),
    "checkpoint": (3, checkpoint),
    "feature cache": (1, cache),
}  # with how many of a hundred inputs are of the kind
