"""``eos serve``: what can be served is said, what cannot is refused, and the engine's command is right."""

import json
import shlex
from pathlib import Path

import pytest

from eos_platform.common.errors import EosError
from eos_platform.operators.spec import OperatorSpec, SiteSpec, Target
from eos_platform.serve.arguments import FAMILIES, served
from eos_platform.serve.vllm import CLASSES, patches
from eos_platform.serve.vllm.patches import PATCHES, check_version

PACKAGE = Path(patches.__file__).parent
SMALL, QWEN = Target(layers=6, grid=(12, 12), vision_layers=3), Target(layers=6, grid=(32, 32))
KEPT = SiteSpec(layer=0, keep=30, score={"norm": 1.0}, beta=0.5)


@pytest.fixture
def eos(monkeypatch, capsys):
    from eos_platform.cli import app

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["eos", *map(str, words)])
        with pytest.raises(SystemExit) as left:
            app.main()
        out, err = capsys.readouterr()
        return left.value.code, out, err

    return run


def saved(folder: Path, *sites: SiteSpec, target: Target = SMALL, name: str = "operator") -> Path:
    return OperatorSpec(name=name, target=target, sites=sites).save(folder / f"{name}.json")


def test_a_check_says_how_and_what_it_brings(eos, tmp_path) -> None:
    code, out, _ = eos("serve", "--check", saved(tmp_path, KEPT))
    assert code == 0
    assert "exact in vllm" in out
    assert "144 -> 30 visual tokens" in out
    assert "spare dimensions" in out


def test_a_check_writes_what_is_left_of_it(eos, tmp_path) -> None:
    later = SiteSpec(layer=4, keep=10, score={"last_text": 1.0})
    file, left = saved(tmp_path, KEPT, later), tmp_path / "left.json"
    code, out, _ = eos("serve", "--check", file, "--save", left, "--model", "bundled-small")
    assert code == 0
    assert "approximate in vllm" in out
    assert "because: sites.1 before layer 4" in out
    assert "eos evaluate" in out
    assert OperatorSpec.load(left).sites == (KEPT,)


@pytest.mark.parametrize(
    ("sites", "more", "says"),
    [
        ((SiteSpec(layer=0, keep=9, score={"last_text": 1.0}),), (), "refused by vllm"),
        ((KEPT,), ("--engine", "vlm"), "did you mean 'vllm'"),
        ((KEPT,), ("--model", "bundled"), "12x12 grid"),
        ((KEPT,), ("--model", "bundled-gemma"), "attend to each other in both directions"),
    ],
)
def test_what_cannot_be_is_one_line_and_code_2(eos, tmp_path, sites, more, says) -> None:
    code, _, err = eos("serve", "--check", saved(tmp_path, *sites), *more)
    assert code == 2
    assert says in err
    assert len(err.strip().splitlines()) == 1


def test_without_vllm_its_command_is_printed(eos, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(patches, "version", lambda: None)
    file = saved(tmp_path, KEPT)
    code, out, _ = eos("serve", "--model", "bundled-small", "--operator", file, "--print", "--", "--port", "8001")
    assert code == 0
    words = shlex.split(out)
    assert words[:2] == ["vllm", "serve"]
    assert words[-2:] == ["--port", "8001"]
    overrides = json.loads(words[words.index("--hf-overrides") + 1])
    assert overrides["architectures"] == ["EosLlavaForConditionalGeneration"]
    assert overrides["eos_operator"] == str(file)
    assert overrides["text_config"]["rope_parameters"]["mrope_section"] == [16, 0, 0]


def test_arguments_follow_from_the_operator(tmp_path) -> None:
    renumbered = KEPT.model_copy(update={"positions": "renumber"})
    assert "video_pruning_rate" not in served("bundled-small", saved(tmp_path, renumbered)).arguments
    assert "video_pruning_rate" in served("bundled-small", saved(tmp_path, KEPT)).arguments
    found = served("bundled-qwen", saved(tmp_path, KEPT, target=QWEN)).arguments
    assert found["limit_mm_per_prompt"] == {"video": 0}
    assert "text_config" not in found["hf_overrides"]
    with pytest.raises(EosError, match="several axes"):
        served("bundled-qwen", saved(tmp_path, renumbered, target=QWEN))
    assert served("bundled-small", None).arguments == {
        "hf_overrides": {"architectures": ["EosLlavaForConditionalGeneration"]}
    }


def test_every_family_has_a_class_and_every_class_a_family(tmp_path) -> None:
    assert {engine.architecture for engine in FAMILIES.values()} == set(CLASSES)
    assert all((PACKAGE / f"{place.split(':')[0].rpartition('.')[2]}.py").is_file() for place in CLASSES.values())
    target = Target(layers=6, grid=(6, 6))
    found = served("bundled-smolvlm", saved(tmp_path, KEPT.model_copy(update={"keep": 9}), target=target)).arguments
    # what transformers asks of the whole model, vLLM asks of its language model
    assert found["hf_overrides"]["text_config"]["tie_word_embeddings"] is True
    assert found["hf_overrides"]["text_config"]["rope_parameters"]["mrope_section"] == [20, 0, 0]


def test_only_versions_that_were_tried_are_taken() -> None:
    assert check_version("0.32.0+cpu") == "0.32.0+cpu"
    for other in ("0.31.1", "0.33.0", "1.0"):
        with pytest.raises(EosError, match=r"served by versions 0\.32 \(never tried with others\)"):
            check_version(other)
    assert {patch.name for patch in PATCHES} == {"pruning-on-cpu", "requests-told", "torchvision-of-another-torch"}


def test_a_load_test_without_vllm_is_one_line(eos, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(patches, "version", lambda: None)
    code, _, err = eos("bench", "--serve", saved(tmp_path, KEPT), "--model", "bundled-small", "--out", tmp_path)
    assert code == 2
    assert "vLLM is not installed" in err


@pytest.mark.parametrize("whole", [True, False])
def test_where_vllm_is_installed_it_is_started(eos, tmp_path, monkeypatch, whole) -> None:
    """The package for CPUs brings a command that does not work; its server does."""
    started = []
    monkeypatch.setattr(patches, "version", lambda: "0.32.0")
    monkeypatch.setattr(patches, "has_command", lambda: whole)
    monkeypatch.setattr("shutil.which", lambda name: f"/somewhere/{name}")
    monkeypatch.setattr("os.execv", lambda command, words: started.append((command, words)))
    code, _, err = eos("serve", "--model", "bundled-small", "--operator", saved(tmp_path, KEPT), "--", "--port", "8001")
    assert code == 0
    ((command, words),) = started
    assert words[-2:] == ["--port", "8001"]
    assert words[0] == command
    assert words[1] == ("serve" if whole else "-m")
    assert shlex.split(err) == words


def test_a_version_never_tried_is_not_started(eos, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(patches, "version", lambda: "0.33.1")
    code, _, err = eos("serve", "--model", "bundled-small", "--operator", saved(tmp_path, KEPT))
    assert code == 2
    assert "served by versions 0.32" in err
