"""Text of other people's choosing: nothing in it is obeyed by a terminal, a log, Markdown."""

import pytest

from eos_platform.errors import EosError
from eos_platform.printable import check_label, lines_of, markdown, printable

HOSTILE = {
    "\x1b[31mred\x1b[0m": r"\x1b[31mred\x1b[0m",
    "a\nb\tc\r\nd": "a b c  d",
    "user\u202etxt.exe": r"user\u202etxt.exe",
    "\u2066isolate\u2069": r"\u2066isolate\u2069",
    "zero\u200bwidth": r"zero\u200bwidth",
    "\ufeffmark": r"\ufeffmark",
    "bell\x07 delete\x7f csi\x9b31m nul\0": r"bell\x07 delete\x7f csi\x9b31m nul\x00",
    "line\u2028separator": "line separator",
    "lone \udcff surrogate": r"lone \udcff surrogate",
    "tag \U000e0041": r"tag \U000e0041",
    "plain, größer 日本語 👩\u200d💻": "plain, größer 日本語 👩\u200d💻",
}


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_what_would_be_obeyed_is_shown_as_letters(text):
    assert printable(text) == HOSTILE[text]
    assert printable(text).isprintable() or "\u200d" in text
    printable(text).encode()


def test_long_text_is_cut_before_anything_is_made_of_it():
    assert printable("n" * 5000, 60) == "n" * 59 + "…"
    assert len(printable("\x1b" * 5000, 60)) <= 60 * len(r"\x1b")


def test_line_ends_stay_where_lines_are_meant():
    assert lines_of("one\ntwo \x1b[2J\n") == "one\ntwo \\x1b[2J\n"
    assert lines_of("one\x0btwo\x85") == r"one\x0btwo\x85"


def test_markdown_shows_it_as_it_is():
    assert markdown("a|b") == r"a\|b"
    assert markdown("<img src=x onerror=alert(1)>") == r"&lt;img src=x onerror=alert(1)\>"
    assert markdown("[a](javascript:b) `c` **d**\n# e") == r"\[a\](javascript:b) \`c\` \*\*d\*\* \# e"


@pytest.mark.parametrize("text", ["\x1b[31m", "two\nlines", "\u202e", "n" * 201])
def test_labels_are_refused_at_the_door(text):
    with pytest.raises(ValueError, match=r"character \d+ \(|at most 200 characters"):
        check_label(text)
    assert check_label("größer [red] 日本語") == "größer [red] 日本語"


def test_errors_say_nothing_that_is_obeyed():
    assert str(EosError("no \x1b[31m'x'\n here")) == r"no \x1b[31m'x' here"
