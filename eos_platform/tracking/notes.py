"""People's notes on a run, where MLflow keeps them: its description, above what the platform writes there itself.

Whoever edits the description on MLflow's page edits the same note as the dashboard does.
"""

from __future__ import annotations

MOST = 2000  # characters of a note
LINE = "*Notes go above this line; below it EOS Platform writes.*"
_WRITTEN = "eos.attach(model, load_operator("  # in every description of an operator, also of those without the line


def note_of(description: str) -> str:
    """What people wrote."""
    note, line, _ = description.partition(LINE)
    if line:
        return note.strip()
    return "" if _WRITTEN in description else description.strip()


def written_of(description: str) -> str:
    """What the platform wrote."""
    _, line, written = description.partition(LINE)
    if line:
        return written.strip()
    return description.strip() if _WRITTEN in description else ""


def described(note: str, written: str) -> str:
    """The description of both; without a note, or with nothing of the platform's, there is no line."""
    note = note.strip().replace(LINE, "")
    return f"{note}\n\n{LINE}\n\n{written}" if note and written else note or written
