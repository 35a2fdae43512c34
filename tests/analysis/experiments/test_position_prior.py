"""A prior measured on a bundled model, and what it does to attention."""

from __future__ import annotations

import pytest
import torch

from eos_platform.analysis.experiments.position_prior import debiased, main, shown
from eos_platform.common.errors import EosError
from eos_platform.models.runtime import site_step
from eos_platform.operators.designs import get_design
from eos_platform.operators.prior import Prior
from eos_platform.operators.spec import OperatorSpec
from eos_platform.tasks import load_workload
from eos_platform.tasks.batch import ask


def test_a_prior_of_a_bundled_model(tmp_path, monkeypatch, capsys):
    """It is the mean attention of every place; divided by it, no place is favoured any more."""
    path = tmp_path / "d2pruner.json"
    words = [
        "--model",
        "bundled-small",
        "--design",
        "d2pruner",
        "--tokens",
        "40",
        "--questions",
        "96",
        "--device",
        "cpu",
    ]
    assert main([*words, "--out", str(path)]) == 0
    printed = capsys.readouterr().out.splitlines()
    operator = OperatorSpec.load(path)
    assert [len(line) for line in printed[:12]] == [12] * 12
    subject = load_workload("bundled-small", device="cpu")
    encoded, seen = subject.encoded("search", 96), []
    own = site_step.reduce

    def spy(site, tokens, given, grid):
        seen.append(given["last_text"])
        return own(site, tokens, given, grid)

    monkeypatch.setattr(site_step, "reduce", spy)
    ask(encoded, operator)
    attention_bn = torch.cat(seen)
    prior_n = torch.tensor(operator.sites[0].prior.numbers)
    torch.testing.assert_close(attention_bn.mean(0) / attention_bn.mean(), prior_n, rtol=2e-3, atol=1e-4)
    assert prior_n.std() > 0.05
    assert operator.provenance["prior"] == {"feature": "last_text", "questions": 96}
    with pytest.raises(EosError, match="a prior is of one feature"):
        debiased(subject, get_design("divprune").build(subject.target, 40))


def test_requests_that_cannot_be(tmp_path, capsys):
    words = ["--model", "bundled-small", "--out", str(tmp_path / "o.json"), "--device", "cpu"]
    assert main(words) == 2
    assert "say --design and --tokens, or --operator" in capsys.readouterr().err


def test_a_picture_of_a_prior():
    assert shown(Prior.of("last_text", [1.0, 2.0, 4.0, 0.0]), (2, 2)) == "25\n90"
