"""Whatever a library raises is one line; the traceback is kept for who asks."""

import time

import pytest

from eos_platform.common.boundary import error_text, reading, report_error
from eos_platform.common.errors import EosError, brief, did_you_mean, shown


class PanicException(BaseException):
    """As pyo3 calls those of Rust libraries."""


class Mute(Exception):
    def __str__(self):
        raise RuntimeError("no words")


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (ZeroDivisionError("integer division or modulo by zero"), "integer division or modulo by zero"),
        (KeyError("silux"), "nothing is called 'silux'"),
        (ValueError(""), "ValueError"),
        (Mute(), "Mute"),
        (PanicException("index out of range"), "index out of range"),
        (MemoryError(), "MemoryError"),
        (RecursionError("too deep here"), "too deep here"),
        (OSError("Error(s) in loading:\n\tsize mismatch"), "Error(s) in loading: size mismatch"),
        (ValueError("postgresql://u:secret@host/x is bad"), "postgresql://***@host/x is bad"),
        (ValueError("a \x1b[31mred\x07 word"), r"a \x1b[31mred\x07 word"),
        (ImportError("bitsandbytes"), "ImportError: bitsandbytes"),
    ],
)
def test_a_library_is_told_in_its_own_words(error, says):
    with pytest.raises(EosError) as raised, reading("model 'x' cannot be loaded"):
        raise error
    assert str(raised.value) == f"model 'x' cannot be loaded: {says}"
    assert raised.value.__cause__ is error


def test_long_words_are_cut_and_signals_pass():
    assert len(error_text(ValueError("word " * 10_000))) <= 160
    assert error_text(FileNotFoundError(2, "No such file", "a.json")) == "No such file: a.json"
    with pytest.raises(KeyboardInterrupt), reading("x"):
        raise KeyboardInterrupt
    with pytest.raises(EosError, match=r"^mine$"), reading("x"):
        raise EosError("mine")
    with pytest.raises(SystemExit):
        report_error(SystemExit(3))


def test_bad_input_and_defects_end_differently(capsys, monkeypatch):
    monkeypatch.delenv("EOS_DEBUG", raising=False)
    assert report_error(EosError("no such file"), "bench") == 2
    assert capsys.readouterr().err == "bench: no such file\n"
    assert report_error(TypeError("not a list")) == 1
    assert capsys.readouterr().err == "eos: unexpected TypeError: not a list (EOS_DEBUG=1 shows the traceback)\n"


def test_the_traceback_is_there_for_who_asks(capsys, monkeypatch):
    monkeypatch.setenv("EOS_DEBUG", "1")

    def fail():
        try:
            raise ZeroDivisionError("hidden")
        except ZeroDivisionError:
            raise EosError("told") from None

    with pytest.raises(EosError) as raised:
        fail()
    assert report_error(raised.value) == 2
    err = capsys.readouterr().err
    assert "ZeroDivisionError: hidden" in err
    assert err.endswith("eos: told\n")


def bomb():
    value = ["x"] * 9
    for _ in range(20):
        value = [value] * 9
    return value


@pytest.mark.parametrize(
    "value",
    [
        bomb(),
        {"a": bomb()},
        "a" * 10**7,
        "a." * 10**6,
        b"a" * 10**7,
        10**5000,
        -(10**5000),
        ["x" * 10**6] * 10**5,
        {str(number): number for number in range(10**5)},
        "\x1b[2J\x07",
        {"p": "postgresql://u:secret@h/x"},
        Mute,
    ],
    ids=type,
)
def test_what_is_shown_is_cut_before_it_is_made(value):
    started = time.perf_counter()
    said = shown(value)
    assert time.perf_counter() - started < 0.5
    assert len(said) <= 60
    assert said.isprintable()
    assert "secret" not in said


def test_a_message_is_one_printable_line_of_a_bounded_length():
    message = str(EosError("name\n" + "x" * 10**6 + " \x1b[31m: the end"))
    assert len(message) <= 300
    assert message.isprintable()
    assert brief("a" * 100).endswith("...")
    many = did_you_mean("zzz", [f"name-{number}" for number in range(1000)])
    assert len(many) < 220
    assert many.endswith("more")
