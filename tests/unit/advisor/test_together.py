"""Shapes of one size: widths and depths that were changed together."""

from __future__ import annotations

import numpy as np

from autollm.advisor.asking.together import as_tried, tied_pairs
from autollm.advisor.recommend import explore
from autollm.core.spaces.knobs import Knob
from autollm.core.spaces.space import Space

LAYERS = Knob("n_layers", "log", (6.0, 12.0, 24.0))
WIDTH = Knob("d_model", "log", (512.0, 768.0, 1088.0))
RATE = Knob("lr", "log", (0.001, 0.002, 0.004))
SHAPES = ((6.0, 1088.0), (12.0, 768.0), (24.0, 512.0))


def points_of(space, shapes=SHAPES, rates=RATE.levels):
    found = []
    for layers, width in shapes:
        for rate in rates:
            said = {"n_layers": layers, "d_model": width, "lr": rate}
            found.append(space.encode(said))
    return np.array(found)


def test_as_tried__depth_tied_to_width__only_their_combinations_are_left():
    space = Space((LAYERS, WIDTH, RATE))
    tried = points_of(space)
    assert list(tied_pairs(space, [tried])) == [(0, 1)]
    kept = as_tried(space, space.grid, [tried])
    shapes = {tuple(space.decode(p).values())[:2] for p in kept}
    assert shapes == set(SHAPES) and len(kept) == 9


def test_as_tried__every_combination_tried__stays_as_it_is():
    space = Space((LAYERS, WIDTH, RATE))
    assert list(tied_pairs(space, [space.grid])) == []
    assert as_tried(space, space.grid, [space.grid]) is space.grid


def test_as_tried__decay_tied_to_a_rate__may_still_be_moved():
    """Nothing says that a size hangs on them."""
    decay = Knob("wd", "log", (0.01, 0.02, 0.04))
    space = Space((RATE, decay))
    tied = space.grid[[0, 4, 8]]
    assert list(tied_pairs(space, [tied])) == [(0, 1)]
    assert as_tried(space, space.grid, [tied]) is space.grid


def test_recommend__shapes_of_one_size__proposes_no_other_size(tmp_path):
    """Wider where the feed-forward layers are thinner; every shape has 85M parameters."""
    shapes = {
        (6, 4): (1088, 0.05),
        (6, 2): (1344, 0.06),
        (12, 4): (768, 0.0),
        (12, 2): (960, 0.02),
        (24, 4): (512, 0.02),
        (24, 2): (640, 0.04),
    }
    rows = ["n_layers,d_model,ffn_mult,n_heads,params_M,val_loss"]
    for (layers, thick), (width, worse) in shapes.items():
        for heads, lost in ((4, 0.01), (8, 0.0), (16, 0.012)):
            loss = 3.05 + worse + lost
            rows.append(f"{layers},{width},{thick},{heads},85,{loss}")
    path = tmp_path / "shapes.csv"
    path.write_text("\n".join(rows))
    _, advice = explore([path], "params=85M")
    for proposal in advice.recommendations:
        shown = proposal.configuration
        width, _ = shapes[shown["n_layers"], shown["ffn_mult"]]
        assert shown["d_model"] == width
    known = [p.known_outcome is not None for p in advice.recommendations]
    assert not any(known[1:])
