"""Pictures: the scene decides them, every panel kind leaves its marks, shrinking keeps the size."""

from dataclasses import replace

import numpy as np
import pytest

from eos_platform.tasks.scenes_v2.catalogue import CODES, FACES, FONTS, GROUNDS, KINDS, OTHERS, RGB, WORDS
from eos_platform.tasks.scenes_v2.grounds import ground
from eos_platform.tasks.scenes_v2.layout import make_scene
from eos_platform.tasks.scenes_v2.render import _glyph, quartered, render
from eos_platform.tasks.scenes_v2.scene import Objects, Scene, Thing


@pytest.mark.parametrize("size", [112, 168, 336, (560, 224), 672])
def test_a_picture_has_its_size_and_is_always_the_same(size):
    scene = make_scene("search", 5, size)
    picture = render(scene)
    assert picture.shape == (scene.height, scene.width, 3)
    assert picture.dtype == np.uint8
    assert (picture == render(scene)).all()
    assert (picture != render(replace(scene, seed=scene.seed + 1))).any()  # the noise is another


def test_every_thing_shows_its_color_where_it_lies():
    thing = Thing("heart", CODES["heart"], "red", 60, 50, 40)
    scene = Scene(112, 112, (Objects((0, 0, 112, 112), "water", (thing,), 0),), 1)
    middle = render(scene)[45:55, 55:65].astype(int)
    assert (np.abs(middle - np.array(RGB["red"])) < 30).all()
    assert (render(replace(scene, panels=(replace(scene.panels[0], things=()),)))[50, 60] != middle[5, 5]).any()


def test_all_kinds_have_a_picture_of_their_own():
    masks = {_glyph(code, 40)[0].tobytes() for code in (*CODES.values(), *OTHERS)}
    assert len(masks) > 2150  # a few of the unnamed ones look alike
    assert len({_glyph(code, 28)[0].tobytes() for code in CODES.values()}) == len(KINDS)
    assert all(np.asarray(_glyph(code, 40)[0]).max() > 200 for code in CODES.values())


def test_names_mean_one_thing():
    assert not set(KINDS) & (set(WORDS) | set(RGB) | set(GROUNDS))
    assert len(set(WORDS)) == len(WORDS) > 200


def test_grounds_differ():
    rng = [np.random.default_rng(0) for _ in GROUNDS]
    pieces = {np.asarray(ground(kind, (56, 56), one)).tobytes() for kind, one in zip(GROUNDS, rng, strict=True)}
    assert len(pieces) == len(GROUNDS)


def test_a_quarter_keeps_the_size_and_loses_fine_detail():
    picture = np.zeros((112, 140, 3), np.uint8)
    picture[:, ::2] = 255  # lines of one pixel: gone once halved
    small = quartered(picture)
    assert small.shape == picture.shape
    assert small.std() < 5 < picture.std()


def test_fonts_travel_with_their_licences_and_stay_small():
    files = {path.name: path.stat().st_size for path in FONTS.iterdir() if path.is_file()}
    assert {"LICENSE-icons.txt", "LICENSE-dejavu.txt", "icons.ttf", *(f"{face}.ttf" for face in FACES)} <= set(files)
    assert sum(files.values()) < 600_000
    assert "Apache 2.0" in (FONTS / "LICENSE-icons.txt").read_text()
    assert "Bitstream" in (FONTS / "LICENSE-dejavu.txt").read_text()
