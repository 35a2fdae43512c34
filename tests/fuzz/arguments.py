"""Command lines with words that mean nothing: numbers, names, paths and addresses."""

from __future__ import annotations

import random
from pathlib import Path

from . import mutations
from .runner import Case

NUMBERS = (
    *(
        "0",
        "-1",
        "nan",
        "inf",
        "-inf",
        "1e400",
        "1e-400",
        "x",
        "",
        " ",
        "0x10",
        "1_000",
        "١",
        "½",
        "1,5",
        "--",
        "+",
        "True",
    ),
    *("9" * 30, "9" * 5000, "1.5", "2", "-0.0", "\x1b[31m", "1e309"),
)
WORDS = (
    *(
        "",
        " ",
        "x",
        "nonsense",
        "bundled-smal",
        "\x1b[31mred",
        "a" * 5000,
        "\u202eabc",
        "é",
        "../..",
        "/",
        ".",
        "~",
        "-",
        "none",
    ),
    *(
        "{0}",
        "%s",
        "$HOME",
        "`id`",
        "a b",
        "a\nb",
        "null",
        "[]",
        "models:/x@y",
        "cuda",
        "cuda:99",
        "cpu:x",
        "meta",
        "mps",
    ),
    *("\udcff", "*", "?", "#", "[bold]x[/bold]", "[/x]", "a\\", "'", '"'),
)
PATHS = (
    *("", ".", "..", "/", "/dev/null", "/dev/null/x", "/dev/zero", "/dev/full", "/proc/self/mem", "/proc/self/environ"),
    *(
        "/root/../etc/shadow/x",
        "nowhere/x",
        "a" * 300,
        "a/" * 2500 + "x",
        "with space",
        "\x1b[2Jx",
        "é",
        "\udcff",
        "?x",
        "%41",
    ),
    *(
        "fifo",
        "folder",
        "socket",
        "file",
        "file/x",
        "loop",
        "sparse",
        "a\nb",
        "http://x/y",
        "s3://b/k",
        "[bold]",
        "{0}",
    ),
)
LISTS = (
    "",
    ",",
    ",,",
    "x",
    "nan",
    "inf",
    "0",
    "-1",
    "2",
    "1e400",
    ".2,x",
    ".2;.1",
    "9" * 400,
    ".1," * 3000,
    "é",
    "1,1",
    " ",
)
SETS = (
    *("", "=", "x", "=3", "steps", "steps=", "steps=x", "steps=1e9", "steps=-1", "steps=[1", "steps={a: 1}", "stepz=3"),
    *(
        "steps=" + "9" * 5000,
        "budget=nan",
        "budget=.inf",
        "seed=1.5",
        "layers=[-1]",
        "layers=x",
        "probe=maybe",
        "a.b.c=1",
    ),
    *(
        "search.steps=0",
        "search=3",
        "search.x.y=1",
        "space=",
        "space.budget=3",
        "trials=0",
        "stores.optuna=x",
        "=" * 3000,
    ),
    *("a" * 5000 + "=1", "\x1b[31m=1", "steps=!!python/object:x y", "steps=*a", "steps=&a [*a]", "steps=" + "[" * 3000),
    *(
        "resources.memory=" + "9" * 400 + "GiB",
        "resources.cpu=1e400",
        "name=..",
        "name=a/b",
        "name=\x00",
        "name=" + "a" * 300,
    ),
    *(
        "temperature_start=1e-9",
        "search_questions=99999999999",
        "batch_size=999999999999",
        "steering_rank=-1",
        "selector=grid",
    ),
)
ADDRESSES = (
    *(
        "",
        "x",
        "sqlite://",
        "sqlite:///",
        "sqlite:////",
        "sqlite:///nowhere/x.db",
        "sqlite:///folder",
        "sqlite:///fifo",
    ),
    *(
        "sqlite:///file",
        "sqlite:///:memory:",
        "sqlite:///a%00b.db",
        "sqlite:///dev/null",
        "sqlite:////dev/full",
        "http://",
    ),
    *(
        "http://127.0.0.1:9",
        "http://[::1",
        "http://127.0.0.1:99999",
        "http://a:b:c",
        "https://:@/",
        "ftp://x/y",
        "file:///dev/null",
    ),
    *(
        "postgresql://u:p@127.0.0.1:9/x",
        "postgresql://",
        "mysql://x",
        "mssql://x",
        "nonsense://x",
        "databricks",
        "a" * 3000,
    ),
    *(
        "sqlite:///" + "a" * 300,
        "redis://x",
        "sqlite:///x?mode=ro",
        "://",
        "http://\x1b[31m",
        "sqlite:///sparse",
        "uc:x",
    ),
)
# what each option takes; {} stands for the value
COMMANDS: dict[str, tuple[list[str], dict[str, tuple[str, ...]]]] = {
    "search": (
        ["--model", "bundled-small", "-o", "x.json"],
        {"--budget": NUMBERS, "--steps": NUMBERS, "--seed": NUMBERS, "--set": SETS, "-o": PATHS, "--model": WORDS}
        | {"--task": WORDS, "--state": PATHS},
    ),
    "evaluate": (["--questions", "4"], {"": PATHS, "--model": WORDS + PATHS, "--task": WORDS, "--questions": NUMBERS}),
    "bench": (
        ["--shape", "tiny"],
        {"": WORDS + PATHS, "--shape": WORDS, "--tokens": LISTS, "--batch": LISTS, "--text": NUMBERS, "--modes": WORDS}
        | {"--new": NUMBERS, "--repeats": NUMBERS, "--out": PATHS, "--device": WORDS, "--model": WORDS},
    ),
    "compare": (
        ["--model", "bundled-small", "--mlflow", "none", "--questions", "4", "--ratios", ".3", "--designs", "tome"],
        {"": PATHS, "--model": WORDS, "--ratios": LISTS, "--designs": WORDS, "--tune": NUMBERS, "--questions": NUMBERS}
        | {
            "--seeds": NUMBERS,
            "--set": SETS,
            "--out": PATHS,
            "--mlflow": ADDRESSES,
            "--task": WORDS,
            "--batch": NUMBERS,
        }
        | {"--pictures": NUMBERS, "--device": WORDS},
    ),
    "explain": (
        ["--model", "bundled-small"],
        {"": PATHS, "--model": WORDS, "--questions": NUMBERS, "--pictures": NUMBERS, "--out": PATHS, "--device": WORDS},
    ),
    "front": (
        ["--model", "bundled-small"],
        {"--budgets": LISTS, "--out": PATHS, "--model": WORDS, "--task": WORDS, "--seed": NUMBERS, "--set": SETS},
    ),
    "dashboard": (
        ["--port", "0"],
        {"--studies": PATHS, "--tracking": ADDRESSES, "--port": NUMBERS, "--host": WORDS, "--mlflow-ui": ADDRESSES},
    ),
    "report": (
        [],
        {
            "": WORDS + PATHS,
            "--out": PATHS,
            "--studies": PATHS,
            "--tracking": ADDRESSES,
            "--figures": PATHS,
            "--format": WORDS,
        },
    ),
    "study run": (["quickstart"], {"": WORDS + PATHS, "--set": SETS, "--runs": PATHS, "--address": ADDRESSES}),
    "study resume": (["quickstart"], {"": WORDS + PATHS, "--set": SETS, "--runs": PATHS, "--address": ADDRESSES}),
    "study status": (["quickstart"], {"": WORDS + PATHS, "--runs": PATHS}),
    "study check": (["quickstart"], {"": WORDS + PATHS, "--runs": PATHS}),
    "study list": ([], {"--runs": PATHS, "": WORDS}),
    "cluster check": ([], {"--address": ADDRESSES, "--storage": ADDRESSES + PATHS}),
    "cluster env": ([], {"": WORDS, "--nonsense": WORDS}),
    "designs": ([], {"": WORDS, "--x": WORDS}),
    "": ([], {"": WORDS, "--x": WORDS, "--version": WORDS}),
}
NEEDED = {"explain": "operator.json", "report": "small"}  # an argument that must be there


def scene(folder: Path) -> None:
    """The odd places that ``PATHS`` names."""
    rng = random.Random(0)
    (folder / "folder").mkdir()
    (folder / "file").write_text("x")
    for name in ("fifo", "socket", "loop", "sparse"):
        while mutations.special(rng, folder / name) != name:
            path = folder / name
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)


def arguments(rng: random.Random, originals: Path, folder: Path) -> Case:
    scene(folder)
    name = rng.choice([name for name in COMMANDS for _ in range(1 + len(COMMANDS[name][1]))])
    usual, options = COMMANDS[name]
    option = rng.choice(sorted(options))
    value = rng.choice(options[option]).replace("\x00", "")
    words = list(usual)
    if option in words:
        place = words.index(option)
        del words[place : place + 2]
    if name in NEEDED and option:
        (folder / "operator.json").write_bytes((originals / "operator.json").read_bytes())
        words.insert(0, NEEDED[name])
    if not option and words[:1] == ["quickstart"]:
        words = words[1:]
    if rng.random() < 0.1:
        words.append(rng.choice(("--nonsense", "-x", "--", "extra", "--questions")))
    # a value that looks like an option is one to every command line
    given = [option, value] if option else [value]
    command = [*name.split(), *words, *given]
    shown = value if len(value) <= 60 else value[:40] + "..."
    return Case("arguments", f"{option or 'argument'} {shown!r}", command)


def address(rng: random.Random, originals: Path, folder: Path) -> Case:
    scene(folder)
    value = rng.choice(ADDRESSES)
    (folder / "study.yaml").write_bytes((originals / "study.yaml").read_bytes())
    store = rng.choice(("optuna", "mlflow", "storage"))
    if rng.random() < 0.5:
        command = ["study", rng.choice(("run", "status", "resume")), "study.yaml", "--set", f"stores.{store}={value}"]
        return Case("address", f"{store} {value[:40]!r}", command)
    command = ["study", rng.choice(("run", "status")), "study.yaml"]
    return Case("address", f"${store} {value[:40]!r}", command, environment={f"EOS_STORES_{store.upper()}": value})
