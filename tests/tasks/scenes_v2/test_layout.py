"""Scenes: the same on every call, of any size, in one split only; what lies in a panel lies inside it."""

import numpy as np
import pytest

from eos_platform.common.errors import EosError
from eos_platform.tasks import scenes_v2
from eos_platform.tasks.scenes_v2.layout import SPLITS, make_scene, size_of, split_of
from eos_platform.tasks.scenes_v2.scene import Chart, Objects, Page, Table

SIZES = [112, 168, 336, (448, 112), (224, 560), 672]


@pytest.mark.parametrize("size", SIZES)
def test_the_same_index_gives_the_same_scene(size):
    for split in SPLITS:
        assert make_scene(split, 3, size) == make_scene(split, 3, size)
    assert make_scene("train", 3, size) != make_scene("train", 4, size)


def test_splits_share_no_scene_by_construction():
    shown = {split: {repr(make_scene(split, index, 112).panels) for index in range(60)} for split in SPLITS}
    for split in SPLITS:
        assert all(split_of(make_scene(split, index, 112).panels) == split for index in range(20))
        for other in set(SPLITS) - {split}:
            assert not shown[split] & shown[other]


@pytest.mark.parametrize("size", SIZES)
def test_everything_lies_in_its_panel_and_panels_fill_the_picture(size):
    kinds = set()
    for index in range(40):
        scene = make_scene("validation", index, size)
        covered = np.zeros((scene.height, scene.width), int)
        for panel in scene.panels:
            left, top, right, bottom = panel.box
            covered[top:bottom, left:right] += 1
            kinds.add(type(panel))
            for thing in getattr(panel, "things", ()):
                assert left <= thing.x - thing.side // 2
                assert thing.x + thing.side // 2 <= right
                assert top <= thing.y - thing.side // 2
                assert thing.y + thing.side // 2 <= bottom
            if isinstance(panel, Page):
                for word in [*([panel.title] if panel.title else []), *(w for line in panel.lines for w in line)]:
                    assert left < word.x
                    assert word.y + word.size // 2 <= bottom
            if isinstance(panel, Table):
                cells = [cell for row in panel.cells for cell in row]
                assert all(left < cell.x and cell.x + cell.width <= right + 8 and cell.y < bottom for cell in cells)
                assert all(row.x + row.width < cells[0].x for row in panel.rows)
            if isinstance(panel, Chart):
                assert all(top <= panel.place(k)[1] <= bottom for k in range(len(panel.values)))
        assert (covered == 1).all()
        singles = [type(p) if not isinstance(p, Page) else p.kind for p in scene.panels if not isinstance(p, Objects)]
        assert len(singles) == len(set(singles))
    assert Objects in kinds
    assert len(kinds) > 1


def test_sizes_are_taken_in_turn():
    sizes = [(336, 336), (448, 252)]
    assert [size_of(sizes, k) for k in range(3)] == [(336, 336), (448, 252), (336, 336)]
    assert scenes_v2.picture("train", 1, sizes).shape == (252, 448, 3)


@pytest.mark.parametrize("size", [100, (336, 700), [(336, 336), (20, 336)]])
def test_a_size_there_are_no_pictures_of_is_refused(size):
    with pytest.raises(EosError, match="sides are 112 to 672"):
        make_scene("train", 1, size)


def test_an_unknown_split_is_refused():
    with pytest.raises(EosError, match="heldout"):
        make_scene("held-out", 0)
