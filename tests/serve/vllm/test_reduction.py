"""What rides behind the embeddings that an engine keeps of a picture."""

from types import SimpleNamespace

import pytest
import torch

from eos_platform.common.errors import EosError
from eos_platform.operators.spec import OperatorSpec, SiteSpec, Steering, Target, Transfer
from eos_platform.serve.plan import digest
from eos_platform.serve.vllm.asked import asked_key, key, text_of
from eos_platform.serve.vllm.reduction import Reduction

TARGET = Target(layers=4, grid=(4, 4))
MERGE = Transfer(gamma=1.0, tau=0.0)


def reduction(*sites: SiteSpec, axes: int = 1) -> Reduction:
    return Reduction(OperatorSpec(target=TARGET, sites=sites), "0", axes)


def picture(n: int = 16, many: int = 2) -> torch.Tensor:
    return torch.randn(many, n, 8, generator=torch.Generator().manual_seed(0))


def test_tokens_their_bias_and_where_they_stood() -> None:
    x = picture()
    rows = reduction(SiteSpec(layer=0, keep=6, score={"norm": 1.0}))(x, (4, 4), {})
    assert rows.shape == (2, 6, 13)
    for row, tokens in zip(rows, x, strict=True):
        assert torch.equal(row[:, :8], tokens[row[:, 12].long()])
        assert set(row[:, 12].tolist()) == set(tokens.norm(dim=1).topk(6).indices.tolist())
    assert torch.equal(rows[..., 10], rows[..., 12])  # its number in the grid
    assert (rows[..., 9] == 1).all()
    assert (rows[..., 8] == 0).all()


def test_sizes_become_the_bias_of_the_last_site() -> None:
    sites = (
        SiteSpec(layer=0, keep=8, score={"norm": 1.0}, beta=1.0, transfer=MERGE),
        SiteSpec(layer=0, keep=4, score={"norm": 1.0}, beta=0.5, transfer=MERGE),
    )
    rows = reduction(*sites)(picture(), (4, 4), {})
    sizes = (rows[..., 8] / 0.5).exp()
    assert torch.allclose(sizes.sum(1), torch.full((2,), 16.0))
    assert torch.allclose(rows[..., 9], sizes)


def test_renumbered_tokens_stand_side_by_side_and_later_gaps_stay() -> None:
    first = SiteSpec(layer=0, keep=8, score={"norm": 1.0}, positions="renumber")
    renumbered = reduction(first)(picture(), (4, 4), {})[0]
    assert renumbered[:, 12].tolist() == list(range(8))
    assert renumbered[:, 10].max() >= 8
    rows = reduction(first, SiteSpec(layer=0, keep=3, score={"norm": 1.0}))(picture(), (4, 4), {})
    assert rows[..., 12].max() < 8


def test_places_of_three_axes_are_rows_and_columns_of_any_grid() -> None:
    rows = reduction(SiteSpec(layer=0, keep=8, score={"norm": 1.0}), axes=3)(picture(24, 1), (4, 6), {})
    assert rows.shape == (1, 12, 15)  # half of it, as of the usual grid
    t, r, c = rows[0, :, 12:].T
    tokens = picture(24, 1)[0]
    assert t.tolist() == [0.0] * 12
    assert torch.equal(rows[0, :, :8], tokens[(r * 6 + c).long()])


def test_another_question_keeps_other_tokens() -> None:
    steering = Steering.of(torch.eye(8)[:4] * 10, torch.eye(8)[4:] * 10)
    site = SiteSpec(layer=0, keep=4, probe=tuple([0.1] * 8), steering=steering)
    served = reduction(site)
    assert served.reads_text
    words = torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(3))
    asks = torch.ones(2, 3) > 0
    x = picture(many=1).expand(2, -1, -1)
    rows = served(x, (4, 4), {}, (words, asks))
    assert not torch.equal(rows[0, :, 12], rows[1, :, 12])
    alone = served(x[:1], (4, 4), {}, (words[:1], asks[:1]))
    assert torch.equal(alone, rows[:1])


def test_keys_of_caches_name_operator_and_question() -> None:
    one, other = Reduction(OperatorSpec(target=TARGET), "a"), Reduction(OperatorSpec(target=TARGET), "b")
    keys = {asked_key(key("picture", served), ids) for served in (one, other) for ids in ([1, 2], [12], [])}
    assert len(keys) == 6


def test_questions_of_any_length_are_embedded_without_their_padding() -> None:
    embedded, asks = text_of([torch.tensor([3, 1]), torch.tensor([-1])], torch.nn.Embedding(5, 8), torch.device("cpu"))
    assert embedded.shape == (2, 2, 8)
    assert asks.tolist() == [[True, True], [False, False]]


def test_a_file_that_changed_since_the_engine_was_started_is_refused(tmp_path) -> None:
    operator = OperatorSpec(target=TARGET, sites=(SiteSpec(layer=0, keep=3, score={"norm": 1.0}),))
    path = operator.save(tmp_path / "operator.json")
    config = SimpleNamespace(eos_operator=str(path), eos_digest=digest(operator), eos_approximate=False)
    found = Reduction.named_by(config)
    assert found is not None
    assert found.usual.kept == 3
    other = SimpleNamespace(eos_operator=str(path), eos_digest="0" * 16, eos_approximate=False)
    with pytest.raises(EosError, match="another operator than when the engine was started"):
        Reduction.named_by(other)
    assert Reduction.named_by(SimpleNamespace()) is None
