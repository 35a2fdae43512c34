"""What workers leave: whole lines only, whoever was killed; a piece of work is taken once in a run."""

import pytest

from eos_platform.benchmark.make.shards import Claims, Shard, read
from eos_platform.common.errors import EosError


def test_a_line_that_was_cut_off_is_read_by_nobody_and_written_over(tmp_path):
    Shard(tmp_path, "answers", "one").add([{"n": 1}, {"n": 2}])
    path = tmp_path / "answers-one.jsonl"
    path.write_bytes(path.read_bytes() + b'{"n": 3')
    assert [line["n"] for line in read(tmp_path, "answers")] == [1, 2]
    Shard(tmp_path, "answers", "one").add([{"n": 4}])
    Shard(tmp_path, "answers", "two").add([{"n": 5}])
    Shard(tmp_path, "times", "one").add([{"n": 6}])
    assert [line["n"] for line in read(tmp_path, "answers")] == [1, 2, 4, 5]


@pytest.mark.parametrize("text", ["[1]\n", "{n}\n"])
def test_a_line_that_is_none_is_told_with_its_place(tmp_path, text):
    (tmp_path / "answers-one.jsonl").write_text(text)
    with pytest.raises(EosError, match=r"answers-one.jsonl, line 1"):
        list(read(tmp_path, "answers"))


def test_a_piece_is_taken_once_in_a_run(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    here, there, next_run = Claims("a"), Claims("a"), Claims("b")
    assert [here.take("x"), there.take("x"), there.take("y"), next_run.take("x")] == [True, False, True, True]
