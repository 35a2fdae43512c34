"""Words on MLflow's pages: what people wrote is shown there as they wrote it."""

import pytest

from eos_platform.printable import unmarked
from eos_platform.tracking.notes import study_note

HOSTILE = "<img src=x onerror=alert(1)> [a](javascript:b) `c` **d** | e \x1b[31m \u202e"


def test_a_description_is_no_markup():
    params = {"model": HOSTILE, "task": HOSTILE, "varied": HOSTILE, "fixed.x": HOSTILE}
    note = study_note("s", HOSTILE, params, {"trials": 3}, {}, "1", "run")
    for part in ("<img", "[a](", "`c`", "**d**", "\x1b", "\u202e"):
        assert part not in note
    rows = [line for line in note.splitlines() if line.startswith(("| Model", "| Task", "| Varied", "| Fixed"))]
    assert [line.replace(r"\|", "").count("|") for line in rows] == [3, 3, 3, 3]


@pytest.mark.parametrize("text", ["A small study: 6 trials_of [each] *kind* <b> & `c` \\ # 1", "größer"])
def test_the_dashboard_reads_back_what_was_written(text):
    note = study_note("s", text, {}, {}, {}, "1", "run")
    assert unmarked(note.split("\n")[0]) == text
