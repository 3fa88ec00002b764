"""Raw logs into bronze: the embedded lab runs, the public tables at hand, the inbox."""

import sys
from collections.abc import Iterable, Iterator

import dagster as dg

from autollm.evaluation.markdown import markdown
from pipelines import groups
from pipelines.resources import JobSettings

TABLES = {
    "files": "Every file and archive member that landed, with its lines read and "
    "quarantined.",
    "runs": "One row per run that somebody really ran.",
    "run_metrics": "Logged points, steps as logged.",
    "spaces": "Knobs and fidelity coordinates, per source.",
}


@dg.multi_asset(
    name="landing",
    specs=[
        dg.AssetSpec(
            ["bronze", name],
            group_name=groups.LOGS,
            description=text,
            kinds={"parquet"},
        )
        for name, text in TABLES.items()
    ],
    pool="landing",
)
def landing(settings: JobSettings) -> Iterator[dg.MaterializeResult]:
    """Land what is new; files that have landed before are skipped, what cannot be read
    is quarantined.
    """
    from autollm.stages.landing import land, sources, table_counts

    places, loaded = settings.places, settings.load()
    report = land(places, loaded, lambda text: print(text, file=sys.stderr))
    counts = table_counts(places)
    shared = {
        "new files": report.n_files_new,
        "new runs": report.n_runs,
        "lines": report.n_lines,
        "lines read": report.n_lines_read,
        "lines quarantined": report.n_lines_quarantined,
        "batch_id": report.batch_id or "nothing new",
        "sources": _listed(f"`{path}`" for path in sources(places, loaded)),
        "quarantined": dg.MetadataValue.md(
            markdown(list(map(vars, report.quarantined))) or "nothing"
        ),
        "left alone": _listed(
            map(
                ": ".join,
                zip(report.ignored, report.ignored_reasons, strict=True),
            )
        ),
        "notes": _listed(report.notes),
        "warnings": _listed(report.warnings),
    }
    for name in TABLES:
        yield dg.MaterializeResult(
            asset_key=["bronze", name],
            metadata={"dagster/row_count": counts[name], **shared},
        )


def _listed(texts: Iterable[str]) -> dg.MarkdownMetadataValue:
    """Texts as a list in Markdown."""
    return dg.MetadataValue.md("\n".join(f"- {t}" for t in texts) or "none")
