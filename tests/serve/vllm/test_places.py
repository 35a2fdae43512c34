"""Positions of prompts whose pictures take up more positions than they have tokens."""

import torch

from eos_platform.serve.vllm import places

# two tokens of text, a picture of 3 tokens that takes up 9, one of 2 that takes up 4 right behind it, a token of text
SPANS = [places.Span(2, 3, 9), places.Span(5, 2, 4)]


def test_what_follows_pictures_is_known_before_they_are_seen() -> None:
    position, delta = places.begun(8, SPANS)
    assert position.tolist() == [[0, 1, 2, 2, 2, 11, 11, 15]] * 3
    assert delta == 8  # the ninth token stands at 8 + 8


def test_tokens_that_were_seen_stand_where_they_were_taken_from() -> None:
    position, _ = places.begun(8, SPANS)
    found = places.seen(position, position[0], torch.tensor([3, 4, 5]), torch.tensor([[4], [8], [1]]))
    assert found.tolist() == [[0, 1, 2, 6, 10, 12, 11, 15]] * 3
    assert position.tolist() == [[0, 1, 2, 2, 2, 11, 11, 15]] * 3


def test_first_positions_are_found_again_after_others_were_written_over() -> None:
    """A request that is taken up again brings positions that were told already."""
    spans = [places.Span(1, 2, 5), places.Span(4, 2, 5)]
    position, _ = places.begun(7, spans)
    visual = torch.tensor([0, 1, 1, 0, 1, 1, 0]) > 0
    axes = torch.tensor([[0, 1, 2], [0, 4, 4], [0, 0, 3], [0, 2, 2]])
    base = places.bases(position, visual)
    assert base[visual].tolist() == [1, 1, 7, 7]
    found = places.seen(position, base, visual.nonzero()[:, 0], axes)
    assert found[1].tolist() == [0, 2, 5, 6, 7, 9, 12]
    assert places.bases(found, visual)[visual].tolist() == [1, 1, 7, 7]


def test_notes_tell_first_positions_of_pictures_that_follow_one_another() -> None:
    position, delta = places.noted(8, SPANS)
    assert position.tolist() == [
        [0, 1, 2, 2, 2, 11, 11, 15],
        [0, 1, 2, 2, 2, 11, 11, 15],
        [1, 2, *[11] * 3, 15, 15, 16],
    ]
    assert delta == 8 == int(position[2, -1]) - 8
    alone, delta = places.noted(3, [places.Span(0, 3, 9)])
    assert (delta, int(alone[2, -1]) - 3) == (6, 6)


def test_a_prompt_without_pictures_is_counted() -> None:
    position, delta = places.begun(3, [])
    assert (position.tolist(), delta) == ([[0, 1, 2]] * 3, 0)
