"""What a run says on stderr about itself."""

import io

import dagster as dg

from pipelines.progress import StepProgress


@dg.op
def first() -> int:
    return 1


@dg.op
def second(number: int) -> int:
    return number + 1


@dg.op
def breaks(number: int) -> None:
    raise ValueError("out of chalk")


@dg.job(executor_def=dg.in_process_executor)
def school():
    breaks(second(first()))


def test_step_progress__run_that_fails__says_steps_the_reason_and_where_time_went():
    said = io.StringIO()
    with dg.DagsterInstance.ephemeral() as instance:
        run_id = "7d3f2a54-0000-4000-8000-000000000001"
        with StepProgress(
            instance, run_id, ["first", "second", "breaks"], out=said
        ):
            school.execute_in_process(
                instance=instance, run_id=run_id, raise_on_error=False
            )
    lines = said.getvalue().splitlines()
    assert "step 1/3 first ..." in lines[0]
    assert any("step 2/3 second done" in line for line in lines)
    assert any(
        "step breaks failed: ValueError: out of chalk" in line for line in lines
    )
    assert "where the time went: 2 others" in lines[-1]
