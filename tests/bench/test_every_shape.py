"""One table of full-size models: resumed where it stopped, and refused in one line."""

from __future__ import annotations

from eos_platform.bench.every_shape import SHARES, main
from eos_platform.common import strict_json

WORDS = ["--shapes", "tiny", "--repeats", "1", "--device", "cpu"]


def test_a_batch_is_measured_once_and_has_a_row_for_each_share(tmp_path, capsys):
    out = tmp_path / "rows.jsonl"
    assert main([*WORDS, "--batch", "1", "--out", str(out)]) == 0
    first = out.read_text()
    rows = [strict_json.loads(line) for line in first.splitlines()]
    assert [row["share"] for row in rows] == ["", *SHARES]
    assert rows[0]["operator"] == "unreduced"
    assert [round(row["tokens"]) for row in rows[1:]] == [21, 14, 7, 3]  # of 64
    capsys.readouterr()
    assert main([*WORDS, "--batch", "1", "2", "--out", str(out)]) == 0
    assert out.read_text().startswith(first)  # not measured again
    head, _, *lines = capsys.readouterr().out.splitlines()
    assert [cell.strip() for cell in head.split("|")[5:-1]] == list(SHARES)
    assert [line.split("|")[3].strip() for line in lines] == ["1", "2"]
    for row, cell in zip(rows[1:], lines[0].split("|")[5:-1], strict=True):
        assert cell.strip() == f"{row['eager_over_bound']:.3f}, {row['eager_speedup']:.2f} x"


def test_a_shape_that_is_none_is_one_line(tmp_path, capsys):
    assert main(["--shapes", "tniy", "--out", str(tmp_path / "rows.jsonl")]) == 2
    assert "did you mean 'tiny'" in capsys.readouterr().err
    assert not (tmp_path / "rows.jsonl").exists()
