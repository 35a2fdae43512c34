"""An ablation as a line of the report."""

import pytest

from eos_platform.analysis.explain.report import cells

ROW = {
    "what": "beta", "where": "layer 2", "was": "0.5", "accuracy": 0.912, "difference": -0.013, "low": -0.02,
    "high": 0.004, "compute_ratio": 0.2004,
}  # fmt: skip


@pytest.mark.parametrize(("matched", "ratio"), [(True, "0.200"), (False, "(0.200)")])
def test_a_ratio_that_was_not_matched_is_in_brackets(matched, ratio):
    found = cells({**ROW, "matched": matched})
    assert found == ["beta", "layer 2", "0.5", "91.2%", "-1.3", "-2.0 .. +0.4", ratio]
