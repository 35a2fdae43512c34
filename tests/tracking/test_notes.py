"""People's notes and the platform's words share a run's description in MLflow, and neither loses the other."""

import pytest

from eos_platform.operators.spec import OperatorSpec, SiteSpec, Target
from eos_platform.tracking.descriptions import operator_note
from eos_platform.tracking.notes import LINE, described, note_of, written_of

WRITTEN = operator_note(
    OperatorSpec(target=Target(layers=4, grid=(4, 4)), sites=(SiteSpec(layer=0, keep=4, score={"norm": 1.0}),)),
    "runs:/x",
)


@pytest.mark.parametrize("note", ["", "Looks odd on text.", "two\n\nparagraphs, **bold**, <b>", LINE])
@pytest.mark.parametrize("written", ["", WRITTEN])
def test_what_was_put_together_comes_apart(note, written):
    whole = described(note, written)
    assert note_of(whole) == note.replace(LINE, "")
    assert written_of(whole) == written
    assert described(note_of(whole), written_of(whole)) == whole


def test_descriptions_of_before_are_the_platforms():
    assert note_of(WRITTEN) == ""
    assert written_of(WRITTEN) == WRITTEN
    assert note_of("only mine") == "only mine"
