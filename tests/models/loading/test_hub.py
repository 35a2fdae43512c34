"""Models by their names on the Hub: out of its cache, laid out as the Hub does; and what is said where they are not."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import errors

from eos_platform.common.errors import EosError
from eos_platform.models import bundled
from eos_platform.models.loading import hub
from eos_platform.models.loading.hub import at_revision, downloaded
from eos_platform.models.loading.opening import place_of

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def in_cache(home: Path, name: str, source: Path, branch: str = "main") -> Path:
    """A model's files where the Hub's client keeps them: blobs, links to them by commit, branches that name one."""
    held = home / "hub" / f"models--{name.replace('/', '--')}"
    snapshot = held / "snapshots" / COMMIT
    for folder in (held / "blobs", snapshot, held / "refs"):
        folder.mkdir(parents=True)
    for number, file in enumerate(sorted(source.iterdir())):
        shutil.copy(file, held / "blobs" / f"{number:040x}")
        (snapshot / file.name).symlink_to(Path("../../blobs") / f"{number:040x}")
    (held / "refs" / branch).write_text(COMMIT)
    return snapshot


# in a process of their own, as the Hub's client reads the environment when it is imported; in one, which takes seconds
COMMANDS = """
import json, sys
from typer.testing import CliRunner
from eos_platform.cli.app import app

done = [CliRunner().invoke(app, words) for words in json.loads(sys.argv[1])]
print(json.dumps([[one.exit_code, one.stdout, one.stderr] for one in done]))
"""


def commands(home: Path, *lines: list[str]) -> list[tuple[int, str, str]]:
    """Exit code, output and errors of commands, with the Hub's cache in a folder."""
    env = {**os.environ, "HF_HOME": str(home), "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
    env.pop("HF_HUB_CACHE", None)
    run = [sys.executable, "-c", COMMANDS, json.dumps(lines)]
    done = subprocess.run(run, capture_output=True, text=True, env=env, cwd=home, check=False)
    assert done.returncode == 0, done.stderr
    return [(code, out, err) for code, out, err in json.loads(done.stdout.splitlines()[-1])]


def test_a_search_takes_a_name_out_of_the_cache(tmp_path: Path) -> None:
    in_cache(tmp_path, "somebody/small-1.5", bundled.folder("bundled-small"), "v2")
    few = ["--set", "portfolio=false", "--set", "search_questions=8", "--set", "eval_questions=8"]
    search = ["search", "--model", "somebody/small-1.5", "--steps", "4", *few, "-o", "operator.json"]
    done, lacking = commands(tmp_path, [*search, "--revision", "v2"], search)  # there is no main
    assert done[0] == 0, done
    assert "--model somebody/small-1.5@v2" in " ".join(done[1].split())  # how to measure it names the revision
    assert json.loads((tmp_path / "operator.json").read_text())["target"]["model"] == "somebody/small-1.5@v2"
    assert lacking[0] == 2
    (line,) = lacking[2].splitlines()
    assert "not in the Hub's cache" in line
    assert "HF_HUB_OFFLINE" in line


def test_names_are_told_from_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def download(name: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        asked.append((name, revision, allow_patterns[0]))
        return str(tmp_path / "owner" / "model")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    shutil.copytree(bundled.folder("bundled-small"), tmp_path / "owner" / "model")
    monkeypatch.chdir(tmp_path)
    assert place_of("owner/model") == Path("owner/model")  # a folder of that name comes first
    assert place_of("bundled-small") == bundled.folder("bundled-small")
    for name in ("bundled-smal", "a/b/c", "./a/b", "../b", "a/b@", "a b/c", "-a/b"):
        with pytest.raises(EosError, match="neither a bundled model, a folder nor a name on the Hub"):
            place_of(name)
    assert asked == []
    assert place_of("owner/other@refs/pr/3") == tmp_path / "owner" / "model"
    assert downloaded("owner/other", ("config.json",)) == tmp_path / "owner" / "model"
    assert asked == [("owner/other", "refs/pr/3", "*.json"), ("owner/other", None, "config.json")]
    assert at_revision("owner/other", None) == "owner/other"
    assert at_revision("owner/other", "main") == "owner/other@main"
    for model in ("owner/model", "bundled", "owner/other@v1"):
        with pytest.raises(EosError, match="goes with a name on the Hub"):
            at_revision(model, "main")


@pytest.mark.parametrize(
    ("error", "offline", "says"),
    [
        (errors.LocalEntryNotFoundError("nothing here"), False, "not in the Hub's cache .*the Hub cannot be reached"),
        (errors.LocalEntryNotFoundError("nothing here"), True, "HF_HUB_OFFLINE forbids to download"),
        (errors.OfflineModeIsEnabled("offline"), True, "HF_HUB_OFFLINE forbids to download"),
        (ConnectionError("no route"), False, "the Hub cannot be reached"),
        (RuntimeError("something\nelse"), False, "the Hub does not give it: something else|RuntimeError|something"),
    ],
)
def test_what_cannot_be_had_is_one_line(
    monkeypatch: pytest.MonkeyPatch, error: Exception, offline: bool, says: str
) -> None:
    def fails(*args: object, **kwargs: object) -> None:
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fails)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", offline)
    with pytest.raises(EosError, match=says) as found:
        downloaded("owner/name")
    assert "\n" not in str(found.value)
    assert str(found.value).startswith("model 'owner/name' is no folder here, and ")


def test_refusals_of_the_hub_say_what_helps() -> None:
    for kind, says in (
        (errors.GatedRepoError, "agreed at https://huggingface.co/owner/name"),
        (errors.RevisionNotFoundError, "has no revision 'v9'"),
        (errors.RepositoryNotFoundError, "shows no model of that name"),
    ):
        assert says in hub._why(kind.__new__(kind), "owner/name", "v9")
