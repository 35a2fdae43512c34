"""The experiment on predictions from a device profile, on a tiny model: every piece, and going on with one."""

from __future__ import annotations

import torch

from eos_platform.analysis.experiments.device_profiles import SHARES, main, read_rows, table


def test_every_piece_runs_and_goes_on_and_the_table_says_what_was_found(tmp_path, capsys):
    torch.set_num_threads(1)
    given = ["--shape", "tiny", "--text", "12", "--rounds", "1", "--device", "cpu", "--clock", "processor"]
    given += ["--out", str(tmp_path)]
    assert main(["profile", *given, "--times-alone"]) == 0
    assert main(["unseen", *given, "--batch", "16"]) == 0  # not in the profile
    assert main(["unseen", *given, "--operators", "3"]) == 0
    assert main(["unseen", *given, "--operators", "4"]) == 0  # one more
    assert main(["budgets", *given, "--seconds", "0"]) == 0  # no time for any
    rows = read_rows(tmp_path)
    assert [(row["kind"], row["seed"]) for row in rows] == [("unseen", seed) for seed in range(4)]
    assert all(row["ms"] > 0 and row["predicted"] > 0 for row in rows)
    assert main(["budgets", *given]) == 0
    budgets = [row for row in read_rows(tmp_path) if row["kind"] == "budgets"]
    assert all(row["share"] in SHARES and row["predicted"] <= row["target"] for row in budgets)
    heads = [line.split()[0] for line in table(tmp_path).splitlines()]
    assert heads == ["model", "tiny", "model", *["tiny"] * len(budgets)]
    assert "rank" in capsys.readouterr().out


def test_what_is_not_there_is_one_line(tmp_path, capsys):
    assert main(["unseen", "--shape", "tiny", "--device", "cpu", "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("device_profiles: ")
