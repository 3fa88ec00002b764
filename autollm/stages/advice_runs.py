"""Saved advice as MLflow runs, so that prediction and outcome stand side by side: one
run for each advice, with its page and answer as artifacts.

    params   target.*, configuration.*, source, objective, policy, basis
    metrics  predicted_mean, predicted_low, predicted_high, expected_regret; for every run
             that was told of (step 1, 2 ...) outcome, inside (1 or 0) and rank

Invariant: mirroring again adds only outcomes that were reported since.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec
from typing import Any

from autollm.advisor.kept import ledger
from autollm.advisor.kept.calibration import half_widths
from autollm.advisor.kept.ledger import Entry
from autollm.core.places import Places
from autollm.core.redaction import redacted

EXPERIMENT = "advice"


def mirror(
    places: Places, advice_ids: Iterable[str] | None = None, make: bool = False
) -> list[str]:
    """Write saved advice (all of it where none is named) into the home's MLflow store;
    returns the ids of advice that is new or has new outcomes. Nothing happens where
    MLflow is not installed, or where there is no store and `make` is false.
    """
    has_store = make or (places.mlflow / "mlflow.db").exists()
    if not has_store or find_spec("mlflow") is None:
        return []
    from autollm.tracking import Tracker

    tracker = Tracker(places)
    if advice_ids is None:
        advice_ids = ledger.advice_ids(places.home)
    written = []
    for advice_id in advice_ids:
        entry = ledger.load(places.home, advice_id)
        if not _is_written(tracker, entry):
            _write(tracker, places, entry)
            written.append(entry.advice_id)
    return written


def _is_written(tracker: Any, entry: Entry) -> bool:
    """Whether its MLflow run has ended and holds every outcome that was reported."""
    known = tracker.find(EXPERIMENT, entry.advice_id)
    if known is None or known.info.status != "FINISHED":
        return False
    return known.data.tags.get("n_told") == str(len(entry.told))


def _write(tracker: Any, places: Places, entry: Entry) -> None:
    answer = redacted(entry.answer)
    first = _first(answer)
    place = " ".join(
        f"{n} {v:.3g}" for n, v in answer["target"]["fidelity"].items()
    )
    warnings = ", ".join(warning["code"] for warning in answer["warnings"])
    tags = {
        "advice_id": entry.advice_id,
        "saved_at": entry.saved_at,
        "warnings": warnings or "none",
        "n_told": str(len(entry.told)),
    }
    name = f"{answer['source']} at {place}"
    with tracker.run(
        EXPERIMENT, entry.advice_id, name, _params(answer), tags
    ) as run:
        regret = first["expected_regret"] or {}
        predicted = first["predicted"] or {}
        metrics = {f"predicted_{k}": predicted.get(k) for k in BOUNDS}
        metrics["expected_regret"] = regret.get("mean")
        run.final({k: v for k, v in metrics.items() if v is not None})
        for number, told in enumerate(entry.told, 1):
            run.log(_told(answer, told), number)
        page = ledger.page_url(places.home, entry.advice_id)
        if page:
            run.text(ledger.read_page(page), ledger.PAGE)
        run.json(answer, "advice.json")


BOUNDS = ("mean", "low", "high")


def _params(answer: dict[str, Any]) -> dict[str, Any]:
    """Nested: MLflow shows them with dots."""
    return {
        "source": answer["source"],
        "objective": answer["objective"]["name"],
        "basis": answer["basis"],
        "policy": answer["decided_by"]["policy"],
        "target": answer["target"]["fidelity"],
        "configuration": _first(answer)["configuration"],
    }


def _first(answer: dict[str, Any]) -> dict[str, Any]:
    """The first proposal; nothing in it where nothing was left to propose."""
    nothing = dict.fromkeys(("expected_regret", "predicted"))
    return (answer["recommendations"] or [nothing | {"configuration": {}}])[0]


def _told(
    answer: dict[str, Any], report: ledger.ReportedRun
) -> dict[str, float]:
    """Metrics of one reported run; a stopped run has no outcome."""
    metrics = {"rank": float(report.rank)}
    if report.outcome is None or report.status != "finished":
        return metrics
    metrics["outcome"] = report.outcome
    for proposal in answer["recommendations"]:
        if proposal["rank"] == report.rank and proposal["predicted"]:
            half_widths_off = half_widths(report.outcome, proposal["predicted"])
            metrics["inside"] = float(half_widths_off <= 1)
    return metrics
