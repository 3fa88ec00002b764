"""What names say: direction by name and never by values, prefixes, units."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autollm.logs.proposals import propose
from autollm.logs.proposals.names import direction_of, metric_of, read_name
from autollm.logs.proposals.notes import CODES
from tests.unit.logs.proposals.tables import codes, proposed, sweep

_LOWER = """loss nll ppl perplexity bpb bits_per_byte mse rmse mae mape wer cer ece brier cross_entropy error_rate fid toxicity regret"""
LOWER = _LOWER.split()
_HIGHER = """acc accuracy acc_norm f1 exact_match bleu rougeL rouge1 pass@1 auc auroc mrr ndcg mcc reward win_rate success_rate r2 mmlu gsm8k psnr recall"""
HIGHER = _HIGHER.split()
BEFORE = ("", "val_", "eval/", "test-", "validation.", "hellaswag_", "summary.", "metrics.eval_", "user_attrs_")  # fmt: skip
AFTER = ("", "_mean", "/c4", "_final", "_val", "_best")


@given(
    st.sampled_from([*LOWER, *HIGHER]),
    st.sampled_from(BEFORE),
    st.sampled_from(AFTER),
)
def test_direction_of__prefix_and_suffix__change_nothing(word, before, after):
    expected = "min" if word in LOWER else "max"
    assert direction_of(f"{before}{word}{after}") == expected
    assert direction_of(f"{before}{word}{after}".upper()) == expected


@pytest.mark.parametrize(
    ("name", "direction"),
    [
        ("neg_mean_squared_error", "max"), ("negative_log_likelihood", "min"), ("log_likelihood", "max"), ("1-acc", "min"),
        ("brier_score", "min"), ("reward_loss", "min"), ("rewards/margins", "max"), ("valLoss", "min"), ("testAccuracy", "max"),
        ("mAP", "max"), ("dev.em", "max"), ("val_ce", "min"), ("hellaswag/acc_norm,none", "max"), ("lambada_ppl", "min"),
        ("loss_scale", ""), ("kl_coef", ""), ("reward_model", ""), ("label_smoothing", ""), ("value", ""), ("quality", ""), ("lr", ""), ("top_k", ""),
    ],
)  # fmt: skip
def test_direction_of__the_last_metric_of_a_name__decides(name, direction):
    assert direction_of(name) == direction


def test_metric_of__spread_of_a_metric__is_no_outcome():
    assert metric_of(read_name("acc_stderr,none")).is_spread
    assert metric_of(read_name("val_loss_std")).is_spread
    assert not metric_of(read_name("val_loss_lower")).is_spread


@pytest.mark.parametrize("values", [(0.1, 0.9), (2.0, 3.0), (10.0, 90.0)])
@pytest.mark.parametrize(("name", "direction"), [("eval_wer", "min"), ("eval_f1", "max"), ("val_bpb", "min")])  # fmt: skip
def test_propose__range_of_the_values__never_decides(
    tmp_path, name, direction, values
):
    low, high = values
    rows = sweep(**{name: lambda i: low + (high - low) * i / 26})
    for row in rows:
        row.pop("val_loss")
    found = proposed(tmp_path, rows)
    assert found.mapping.objective.column == name
    assert found.mapping.objective.direction == direction


def test_propose__name_that_does_not_tell__is_asked_and_nothing_lands(tmp_path):
    rows = sweep(eval_quality=lambda i: i / 26)
    for row in rows:
        row.pop("val_loss")
    found = proposed(tmp_path, rows)
    assert found.mapping is None and "direction-unknown" in codes(found)
    assert found.questions[0].column == "eval_quality"
    assert "# direction =  # CORRECT THIS" in found.toml
    said = proposed(tmp_path, rows, objective="eval_quality:max")
    assert said.mapping.objective.direction == "max" and not said.questions


@pytest.mark.parametrize(
    ("name", "origin", "last"),
    [
        ("config.optimizer.lr", "setting", "lr"), ("params.n_params", "setting", "n_params"), ("hparam/lr", "setting", "lr"),
        ("config/model/n_layers", "setting", "n_layers"), ("summary.val/loss", "result", "loss"), ("metrics.f1", "result", "f1"),
        ("user_attrs_bleu", "result", "bleu"), ("optimizer.name", "", "optimizer_name"), ("params_total", "", "params_total"),
    ],
)  # fmt: skip
def test_read_name__prefixes__are_cut_for_recognition(name, origin, last):
    assert (read_name(name).origin, read_name(name).last) == (origin, last)
    assert read_name("params_lr", is_optuna=True).origin == "setting"


def test_read_name__unit__multiplies():
    assert (
        read_name("num_params_M").factor == 1e6
        and read_name("tokens (B)").factor == 1e9
    )
    assert (
        read_name("params").factor == 1.0
        and read_name("test_item").factor == 1.0
    )


def test_codes__docs__explain_each_of_them():
    from pathlib import Path

    page = Path(__file__).parents[4] / "docs" / "warnings.md"
    text = page.read_text(encoding="utf-8")
    asked = {"direction-unknown"}
    assert {c for c in CODES | asked if f"| `{c}` |" not in text} == set()


@pytest.mark.parametrize(
    "name", ["completions", "num_rollouts", "total_episodes", "train_questions"]
)
def test_propose__what_rl_counts_its_length_in__is_a_ladder(tmp_path, name):
    lines = [f"run,lr,kl_coef,{name},mean_reward"]
    for count in (2048, 8192, 32768):
        for i, rate in enumerate((1e-6, 3e-6, 1e-5)):
            for kl in (0.001, 0.01):
                reward = 0.2 + 0.05 * (count > 2048) + 0.01 * i - kl
                lines.append(f"r{len(lines)},{rate},{kl},{count},{reward:.3f}")
    path = tmp_path / "grpo.csv"
    path.write_text("\n".join(lines))
    found = propose(str(path))
    assert [f.column for f in found.mapping.fidelity] == [name]
    assert {k.column for k in found.mapping.knobs} == {"lr", "kl_coef"}
