"""`check` of the advice itself tells what the advice tells."""

import pytest

from autollm.advisor.options import Options
from autollm.advisor.recommend import explore

SIZES = (50e6, 100e6, 200e6, 400e6)
BEST = {"adamw": 1e-3, "muon": 8e-3}
"""Rates of optimizers are numbers of their own."""
STEPS = (0.25, 0.5, 1, 2, 4, 16)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    lines = ["optimizer,lr,params,tokens,val_loss,state"]
    for size in SIZES:
        for optimizer, best in BEST.items():
            for step in STEPS:
                octaves = (
                    abs(step.bit_length() - 1) if step >= 1 else 1 / step / 2
                )
                value = 2 + 30 * size**-0.2 + 0.03 * octaves**2
                state = "diverged" if step == 16 else "finished"
                cells = f"{optimizer},{best * step:g},{size:g},{20 * size:g}"
                lines.append(f"{cells},{value:.4f},{state}")
    path = tmp_path_factory.mktemp("logs") / "runs.csv"
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def test_check__each_proposal__has_the_probability_of_divergence_that_it_was_told(
    table,
):
    target = "params=3.2B,tokens=64B"
    proposals = explore(table, target, Options(trials=3))[1].recommendations
    for proposal in proposals:
        planned = Options(planned=proposal.configuration)
        checked = explore(table, target, planned)[1].checked
        assert checked.p_diverge == pytest.approx(proposal.p_diverge, abs=0.005)
    assert proposals[0].p_diverge is not None
