"""A baseline and one change at a time: what each gains is known, and what they gain
together is what nobody ran.
"""

from __future__ import annotations

import pytest

from autollm.advisor.recommend import explore

TABLE = """pos_emb,norm,act,qk_norm,tie_emb,lr,val_loss
rope,rmsnorm,swiglu,off,tied,0.0006,3.012
alibi,rmsnorm,swiglu,off,tied,0.0006,3.042
learned,rmsnorm,swiglu,off,tied,0.0006,3.062
rope,layernorm,swiglu,off,tied,0.0006,3.016
rope,rmsnorm,gelu,off,tied,0.0006,3.032
rope,rmsnorm,relu2,off,tied,0.0006,3.006
rope,rmsnorm,swiglu,on,tied,0.0006,3.001
rope,rmsnorm,swiglu,off,untied,0.0006,3.008
rope,rmsnorm,swiglu,off,tied,0.0012,3.027
rope,rmsnorm,swiglu,off,tied,0.0003,3.032
"""
TOGETHER = {
    "pos_emb": "rope",
    "norm": "rmsnorm",
    "act": "relu2",
    "qk_norm": "on",
    "tie_emb": "untied",
    "lr": 0.0006,
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    path = tmp_path_factory.mktemp("ablations") / "runs.csv"
    path.write_text(TABLE)
    return path


def test_recommend__one_change_at_a_time__proposes_all_that_helped(runs):
    _, advice = explore([runs], "")
    assert advice.recommendations[0].configuration == TOGETHER
    for proposal in advice.recommendations[1:]:
        assert proposal.expected_regret.mean < 0.9


def test_check__all_that_helped_together__is_fine(runs):
    _, advice = explore([runs], "", planned=TOGETHER)
    assert advice.checked.verdict == "fine"
    _, advice = explore([runs], "", planned=TOGETHER | {"pos_emb": "learned"})
    assert advice.checked.verdict != "fine"
