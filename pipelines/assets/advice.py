"""Advice for the questions that a home keeps, asked again whenever something landed."""

import dagster as dg

from autollm.evaluation.markdown import markdown
from pipelines import groups
from pipelines.assets.logs import TABLES
from pipelines.resources import JobSettings

NO_QUESTION = """None yet. A file `questions/NAME.toml` in the home is one:

    source = "my-sweep"
    target = "params=7B,tokens=140B"
"""


@dg.asset(
    group_name=groups.ADVICE,
    deps=[dg.AssetKey(["bronze", name]) for name in TABLES],
    kinds={"mlflow"},
)
def recommendations(
    context: dg.AssetExecutionContext, settings: JobSettings
) -> dg.MaterializeResult:
    """Answers the home's questions: what each source's next expensive run should use.
    Each advice is kept in the ledger and becomes a run in MLflow.
    """
    from autollm.stages.advice_runs import mirror
    from autollm.stages.questions import answer_all

    places = settings.places
    answered = answer_all(places, context.log.info)
    for one in answered:
        if one.problem:
            context.log.warning(f"question {one.name}: {one.problem}")
    mirrored = mirror(places, make=bool(answered))
    rows = [one.row() for one in answered if one.entry]
    unanswered = [f"- {o.name}: {o.problem}" for o in answered if o.problem]
    hint = "none" if answered else NO_QUESTION
    metadata = {
        "dagster/row_count": len(rows),
        "questions": len(answered),
        "unanswered": dg.MetadataValue.md("\n".join(unanswered) or "none"),
        "advice": dg.MetadataValue.md(markdown(rows) or hint),
        "written to MLflow": ", ".join(mirrored) or "nothing new",
    }
    for one in answered:
        if one.page:
            metadata[f"page {one.name}"] = dg.MetadataValue.path(one.page)
    return dg.MaterializeResult(metadata=metadata)
