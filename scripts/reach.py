"""The table of docs/architecture.md, "What the main job reaches": which parts of the
package one run of the main job does not reach, and by what else each is reached.

    python scripts/reach.py COVERAGE.json

scripts/measure_house.py says how the file is made. A module belongs to the first part
whose pattern it fits.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path


@dataclass(frozen=True)
class Part:
    """Modules that other doors than the main job lead to.

    Attributes:
        name: as it stands in the table. reached_by: those doors.
        patterns: of paths below the package, `autollm/` left out.
    """

    name: str
    reached_by: str
    patterns: tuple[str, ...]


PARTS = (
    Part(
        "command line: `cli/`",
        "doors; the job starts in `pipelines/run.py`",
        ("cli/*",),
    ),
    Part(
        "advisor: `advisor/`, `stages/` `questions`, `players`, `advice_runs`",
        "`recommend`, `check`, `plan`, `advice`, the doors; the job asks it only what "
        "stands open in the home",
        (
            "advisor/*",
            "stages/questions.py",
            "stages/players.py",
            "stages/advice_runs.py",
        ),
    ),
    Part(
        "other people's logs: `logs/` `proposals/`, `readers/`, `guesses`, `fetch`, "
        "`markdown_tables`, CSV, JSON and Parquet tables and their dialects, joined "
        "files, run folders, raw copies, kept mappings, older bronze, formulas; `core/` "
        "`values`, `value_words`, `expressions`, `computed`, `name_parts`",
        "`ingest` and `sources` on logs of one's own; the job lands the lab's",
        (
            "logs/proposals/*",
            "logs/readers/*",
            "logs/choosing/guesses.py",
            "logs/fetch.py",
            "logs/markdown_tables.py",
            "logs/tables/csv_table.py",
            "logs/tables/json_table.py",
            "logs/tables/parquet_table.py",
            "logs/tables/dialect.py",
            "logs/pairs.py",
            "logs/opening/run_folders.py",
            "logs/lake/raw_copies.py",
            "logs/choosing/catalog.py",
            "logs/lake/bronze_versions.py",
            "logs/mapped/expression_sql.py",
            "core/mappings/computed.py",
            "core/mappings/name_parts.py",
            "core/values.py",
            "core/value_words.py",
            "core/mappings/expressions.py",
        ),
    ),
    Part(
        "landing: `logs/` besides",
        "the job; archives, tables with lists and lookups, damaged files by `ingest`",
        ("logs/*",),
    ),
    Part(
        "lab: `lab/`, `stages/lab_page`",
        "`autollm lab`, `evaluate --live`",
        ("lab/*", "stages/lab_page.py"),
    ),
    Part(
        "policies that the job's settings do not name: `multifidelity/`, `peers/`, "
        "`interpolation`, some of `rules/` and `surrogates/`",
        "`evaluate --policies`",
        (
            "policies/multifidelity/*",
            "policies/peers/*",
            "policies/interpolation.py",
            "policies/rules/portfolio.py",
            "policies/rules/step_law.py",
            "policies/rules/tool_follower.py",
            "policies/rules/parametrization_rule.py",
            "policies/rules/loss_around.py",
            "policies/surrogates/council.py",
            "policies/surrogates/moving_bowl_gp.py",
            "policies/surrogates/trees.py",
        ),
    ),
    Part(
        "array environments, suites of one's own, pages of suites and landscapes: "
        "`gym/environments/` `scalar`, `vector`, `candidate_outcomes`; "
        "`gym/registration`; `gym/tables/snapping`; `gym/tasks/suite_making`; "
        "`evaluation/` `suite_page`, `landscape_plots`, `terminal`",
        "`gymnasium.make` in a researcher's own code; `autollm suites`, `evaluate`",
        (
            "gym/environments/scalar.py",
            "gym/environments/vector.py",
            "gym/environments/candidate_outcomes.py",
            "gym/registration.py",
            "gym/tables/snapping.py",
            "gym/tasks/suite_making.py",
            "evaluation/suite_page.py",
            "evaluation/landscape_plots.py",
            "evaluation/terminal.py",
        ),
    ),
    Part(
        "chat models, credit by turn: `agent/` `chat`, `server`, `credit`; "
        "`core/redaction`",
        '`evaluate --policies chat:...`; the setting `credit = "turn"`',
        (
            "agent/chat.py",
            "agent/server.py",
            "agent/credit.py",
            "core/redaction.py",
        ),
    ),
    Part(
        "benchmarks, health, tidying, servers: `stages/` `gym_bench`, `ingest_bench`, "
        "`health`, `cleaning`, `trackers`; `tracking/servers`",
        "`bench`, `doctor`, `clean`; a tracking server that was named",
        (
            "stages/gym_bench.py",
            "stages/ingest_bench.py",
            "stages/health.py",
            "stages/cleaning.py",
            "stages/trackers.py",
            "tracking/servers.py",
        ),
    ),
    Part(
        "contracts: `testing/`",
        "other people's tests, and ours",
        ("testing/*",),
    ),
    Part(
        "pages, ticks, sweeps: `pipelines/` `dev`, `webserver`, `sensors`, "
        "`schedules`, `instance`, `assets/lab`",
        "`make dev`, its daemon",
        (
            "pipelines/dev.py",
            "pipelines/webserver.py",
            "pipelines/sensors.py",
            "pipelines/schedules.py",
            "pipelines/instance.py",
            "pipelines/assets/lab.py",
        ),
    ),
    Part(
        "words of refusals: `core/` `validation`, `refusals`, `errors`",
        "what is refused",
        ("core/validation.py", "core/refusals.py", "core/errors.py"),
    ),
    Part(
        "all else, the job's own",
        "refusals, damage that is mended, masked and charged tasks",
        ("*",),
    ),
)


@dataclass
class Reached:
    """Statements of a part, and those of them that the run did not reach."""

    n_statements: int = 0
    n_missing: int = 0

    def add(self, n_statements: int, n_missing: int) -> None:
        self.n_statements += n_statements
        self.n_missing += n_missing

    @property
    def missing_percent(self) -> float:
        return 100 * self.n_missing / max(self.n_statements, 1)


def part_of(path: str) -> Part:
    """The part of a source file, given below the checkout."""
    name = path.removeprefix("autollm/")
    for part in PARTS:
        if any(fnmatch(name, pattern) for pattern in part.patterns):
            return part
    raise AssertionError("the last part takes everything")


def reached_by_part(coverage_json: Path) -> dict[str, Reached]:
    """By the name of the part, in the order of PARTS; the sum under `all`."""
    found = {part.name: Reached() for part in PARTS}
    found["all"] = Reached()
    files = json.loads(coverage_json.read_text())["files"]
    for path, file in files.items():
        summary = file["summary"]
        counts = summary["num_statements"], summary["missing_lines"]
        found[part_of(path).name].add(*counts)
        found["all"].add(*counts)
    return found


def table(coverage_json: Path) -> str:
    """In Markdown."""
    found = reached_by_part(coverage_json)
    total = found["all"]
    lines = [
        f"{total.n_statements:,} statements, {total.missing_percent:.0f} % unreached",
        "",
        "| part | statements | unreached | reached by |",
        "|---|---|---|---|",
    ]
    for part in PARTS:
        own = found[part.name]
        lines.append(
            f"| {part.name} | {own.n_statements:,} | {own.missing_percent:.0f} % | "
            f"{part.reached_by} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("coverage", type=Path, metavar="COVERAGE.json")
    print(table(parser.parse_args().coverage))


if __name__ == "__main__":
    main()
