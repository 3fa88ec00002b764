"""`python -m tests.e2e.kill_campaign --out FILE`: the main job, killed with SIGKILL at
every step boundary and at random moments.

A kill strikes a copy of a fresh home, of one whose first run is finished and whose
inbox has got a new log (`previous`), or, at boundaries, of the home that the kill at
the boundary before left (`struck`). The job then runs again to its end, and must leave
what a run that nobody killed leaves. Homes of all kills lie at one path, since stores
name absolute paths. What does not belong here: how a job is run and looked into
(homes.py).
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import re
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from autollm.core.errors import AutoLLMError
from autollm.core.places import resolve
from autollm.evaluation.leaderboard import latest_id, load
from autollm.gym.tables.snapshot import check_snapshot, published_id
from autollm.logs.lake.bronze import Bronze
from autollm.stages.cleaning import LITTER_S
from tests.e2e.homes import Ended, Facts, Kill, drop_logs, litter, look, run_job

SPAN = 0.03, 0.97
"""Random moments, as shares of the time that the job takes when nobody kills it."""
SHORTEN = 0.7
"""When the job was faster than its random moment, that moment is shortened and the job
begun anew.
"""


@dataclass(frozen=True)
class Strike:
    """One kill: what to name it, from which home, when."""

    name: str
    base: str
    kill: Kill


@dataclass(frozen=True)
class Verdict:
    """What came of a kill; no problems: the job left what it had to."""

    strike: Strike
    step: str
    problems: list[str]
    seconds: float

    @property
    def row(self) -> str:
        return f"| {self.strike.name} | {self.strike.base} | {self.step} | {'; '.join(self.problems) or 'ok'} | {self.seconds:.0f} |"


HEAD = (
    "| moment | home | killed in | verdict | again, s |\n|---|---|---|---|---|"
)


def halves(home: Path, table_ids: set[str]) -> list[str]:
    """Problems of a home right after a kill: whatever is there must be whole, old or
    new.
    """
    places, problems = resolve(home), []
    bronze, published = Bronze(places.home), published_id(places.home)
    if published is not None:
        problems += check_snapshot(places.home, published)
        problems += (
            []
            if published in table_ids
            else [
                f"snapshot {published} is neither the old one nor the new one"
            ]
        )
    folders = {p.name for p in Path(places.bronze).glob("batches/*")}
    problems += [
        f"batch {name} is not whole"
        for name in folders - set(bronze.batch_ids())
    ]
    try:
        n_runs = sum(n for (n,) in bronze.read("files", ["n_runs"]))
        problems += (
            []
            if n_runs == len(bronze.read("runs", ["run_id"]))
            else ["files and runs of bronze disagree"]
        )
        if latest_id(places.home):
            load(places.home)
    except (OSError, ValueError, pa.ArrowException, AutoLLMError) as error:
        problems.append(f"{type(error).__name__}: {error}")
    return [f"after the kill: {p}" for p in problems]


def age_litter(home: Path) -> None:
    """Let what the kill left unfinished be old: the next run shall take it away."""
    old_s = time.time() - 2 * LITTER_S
    for name in litter(home):
        for path in (home / name, *(home / name).rglob("*")):
            os.utime(path, (old_s, old_s))


def differences(found: Facts, reference: Facts) -> list[str]:
    """What a killed and repeated run left otherwise than one that nobody killed."""
    out = (
        []
        if found.table_id == reference.table_id
        else [f"table_id {found.table_id} instead of {reference.table_id}"]
    )
    out += [
        f"{name}: {found.rows.get(name, 0)} rows instead of {n}"
        for name, n in reference.rows.items()
        if found.rows.get(name, 0) != n
    ]
    out += [
        f"{name}: {n} rows repeat a key" for name, n in found.repeated.items()
    ]
    out += (
        [f"MLflow runs are {dict(found.mlflow)}"]
        if set(found.mlflow) != {"FINISHED"}
        else []
    )
    out += (
        [f"Dagster runs are {dict(found.dagster)}"]
        if set(found.dagster) - {"SUCCESS", "FAILURE"}
        or not found.dagster["SUCCESS"]
        else []
    )
    out += [] if found.scores == reference.scores else ["scores differ"]
    out += (
        []
        if found.policy_versions == reference.policy_versions
        else [
            "weights differ: "
            f"{', '.join(sorted(found.policy_versions - reference.policy_versions))}"
        ]
    )
    out += (
        []
        if found.candidate_digest == reference.candidate_digest
        else [f"the candidate is {found.candidate_digest}"]
    )
    return out + [f"unfinished: {name}" for name in found.litter]


class Campaign:
    """A working folder: the home, and the states that kills begin from."""

    def __init__(self, work: Path):
        self.home, self._bases = (
            work / "home",
            {name: work / name for name in ("fresh", "previous", "struck")},
        )
        self.references: dict[str, Facts] = {}
        self.first_id = ""

    def prepare(self) -> dict[str, Ended]:
        """Run what nobody kills: from nothing, and from a finished home with a new log;
        returns both runs.
        """
        self._empty()
        drop_logs(self.home, "truncated", "binary")
        self._keep("fresh")
        _succeeded(run_job(self.home))
        self.first_id = str(look(self.home).table_id)
        self._keep("previous")
        ended = {}
        for base in ("fresh", "previous"):
            self.restore(base)
            ended[base] = _succeeded(run_job(self.home))
            self.references[base] = look(self.home)
        self.references["struck"] = self.references["fresh"]
        return ended

    def disagreement(self) -> list[str]:
        """Where the two unkilled runs differ: the way that logs arrived in must not
        show in tables, weights or scores.
        """
        counts = {"bronze files", "bronze runs", "bronze run_metrics"}
        fresh, previous = self.references["fresh"], self.references["previous"]
        rows = {
            name: n
            for name, n in fresh.rows.items()
            if name in counts or name.startswith(("mart ", "snapshot "))
        }
        return differences(previous, dataclasses.replace(fresh, rows=rows))

    def restore(self, base: str) -> None:
        """Put a base in place, and the log that is new to it into its inbox."""
        shutil.rmtree(self.home, ignore_errors=True)
        shutil.copytree(self._bases[base], self.home)
        drop_logs(self.home, "good")

    def strikes(
        self, ended: dict[str, Ended], n_random: int, seed: int
    ) -> Iterator[Strike]:
        """Every boundary, each on the home that the kill before it left; random moments
        on a fresh and a previous home in turn.
        """
        for i, step in enumerate(ended["fresh"].steps_done):
            yield Strike(
                f"after {step}",
                "struck" if i else "fresh",
                Kill(rf"\d {re.escape(step)} done in"),
            )
        rng = np.random.default_rng(seed)
        for i in range(n_random):
            base = ("fresh", "previous")[i % 2]
            yield Strike(
                f"random {i + 1}",
                base,
                Kill(after_s=float(rng.uniform(*SPAN)) * ended[base].seconds),
            )

    def play(self, strike: Strike) -> Verdict:
        """One kill, and the run after it; a random moment that came after the end is
        shortened.
        """
        self.restore(strike.base)
        struck = run_job(self.home, kill=strike.kill)
        if not struck.killed and strike.kill.after_s is not None:
            return self.play(
                dataclasses.replace(
                    strike, kill=Kill(after_s=SHORTEN * strike.kill.after_s)
                )
            )
        reference = self.references[strike.base]
        problems = (
            [] if struck.killed else ["the job ended before the kill came"]
        )
        problems += halves(self.home, {self.first_id, str(reference.table_id)})
        if strike.kill.after_s is None:
            self._keep("struck")
        age_litter(self.home)
        again = run_job(self.home)
        problems += (
            []
            if again.code == 0
            else [
                f"the second run ended with code {again.code}: "
                f"{' / '.join(again.stderr[-3:])}"
            ]
        )
        return Verdict(
            strike,
            struck.last_step,
            problems + differences(look(self.home), reference),
            again.seconds,
        )

    def _keep(self, base: str) -> None:
        shutil.rmtree(self._bases[base], ignore_errors=True)
        shutil.copytree(self.home, self._bases[base])

    def _empty(self) -> None:
        shutil.rmtree(self.home, ignore_errors=True)
        self.home.mkdir(parents=True)


def _succeeded(ended: Ended) -> Ended:
    if ended.code:
        raise SystemExit(
            f"the run that nobody killed ended with code {ended.code}:\n"
            + "\n".join(ended.stderr[-20:])
        )
    return ended


def main() -> int:
    """Run the campaign; 0 when every verdict is ok."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.e2e.kill_campaign",
        description=__doc__.split("\n")[0],
    )
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        help="Markdown file for the table; grows while the campaign runs",
    )
    parser.add_argument(
        "--work", type=Path, default=Path("var/kills"), help="folder for homes"
    )
    parser.add_argument(
        "--random", type=int, default=10, help="kills at random moments"
    )
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    campaign = Campaign(options.work.resolve())
    ended = campaign.prepare()
    told = ", ".join(f"{base} {e.seconds:.0f} s" for base, e in ended.items())
    same = (
        "; ".join(campaign.disagreement()) or "equal tables, weights and scores"
    )
    lines = [
        f"Seed {options.seed}; without a kill: {told}; {same}; table_id "
        f"{campaign.references['fresh'].table_id}.\n",
        HEAD,
    ]
    print("\n".join(lines), flush=True)
    verdicts = []
    for strike in campaign.strikes(ended, options.random, options.seed):
        verdicts.append(campaign.play(strike))
        print(verdicts[-1].row, flush=True)
        options.out.write_text(
            "\n".join([*lines, *(v.row for v in verdicts)]) + "\n"
        )
    bad = sum(bool(v.problems) for v in verdicts)
    print(f"{len(verdicts)} kills, {bad} with problems")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
