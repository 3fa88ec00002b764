"""What a training that was killed left behind, and goes on from."""

from autollm.stages.training import numbers_before


def test_numbers_before__file_cut_off_by_a_kill__gives_its_whole_lines(
    tmp_path,
):
    path = tmp_path / "metrics.jsonl"
    path.write_text(
        '{"step": 1, "loss": 0.5}\n{"step": 2, "loss": 0.4, "reward": 1.0}\n{"step": '
        '3, "lo'
    )
    assert list(numbers_before(path)) == [
        (1, {"loss": 0.5}),
        (2, {"loss": 0.4, "reward": 1.0}),
    ]


def test_numbers_before__nothing_was_trained__is_empty(tmp_path):
    assert list(numbers_before(tmp_path / "metrics.jsonl")) == []
