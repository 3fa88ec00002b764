"""The store of one home: runs found by their identity, opened and closed; the model
registry.

Invariant: a run is RUNNING only while the process that opened it holds its lock.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Param, Run, RunTag
from mlflow.exceptions import MlflowException

from autollm.core.errors import CheckpointError, UnknownNameError
from autollm.core.locks import hold, is_held
from autollm.core.places import Places
from autollm.core.records import flat
from autollm.tracking.runs import DataUsed, TrackedRun, dataset_input
from autollm.tracking.store import (
    check_store,
    follow_home,
    made_store,
    store_uri,
)

EXPERIMENTS = ("training", "evaluation", "advice")
MODEL = "autollm-agent-{profile}"
IDENTITY = "autollm.identity"
LOCK = "autollm.lock"
"""Tags of a run: whose work it is, and the lock of the process that has it open."""
MAX_PARAM = 500
"""Characters of a parameter: older stores refuse longer ones."""
SCHEME = "models:/"


@dataclass(frozen=True)
class Registered:
    """A registered checkpoint: the folder it lies in, its content digest, the version's
    tags.
    """

    name: str
    version: str
    folder: Path
    digest: str
    tags: dict[str, str]


class Tracker:
    """The store of one home.

    Raises:
        SetupError: the database is damaged, or a newer MLflow wrote it.
    """

    def __init__(self, places: Places):
        self.places = places.prepare()
        database = made_store(places)
        check_store(database)
        follow_home(database, (places.mlflow / "artifacts").as_uri())
        self.uri = store_uri(database)
        self.client = MlflowClient(self.uri)

    def experiment(self, name: str) -> str:
        """Id of an experiment, made when missing."""
        known = self.client.get_experiment_by_name(name)
        if known is not None:
            return known.experiment_id
        return self.client.create_experiment(
            name,
            artifact_location=(
                self.places.mlflow / "artifacts" / name
            ).as_uri(),
        )

    @contextmanager
    def run(
        self,
        experiment: str,
        identity: str,
        name: str,
        params: Mapping[str, Any],
        tags: Mapping[str, str],
        data: Sequence[DataUsed] = (),
        total_steps: int | None = None,
    ) -> Iterator[TrackedRun]:
        """The run of an identity: opened, or resumed when a process that had it died.
        FINISHED after the block, FAILED when it raises.

        Raises:
            BusyError: a living process has this very run open.
        """
        lock = self.places.locks / f"mlflow-{identity}.lock"
        with hold(lock, f"the run {name} ({identity})"):
            run = self._open(
                experiment, identity, name, {**tags, LOCK: lock.name}
            )
            self.client.log_batch(
                run.info.run_id,
                params=[
                    Param(k, str(v)[:MAX_PARAM])
                    for k, v in flat(params).items()
                ],
            )
            self.client.log_inputs(
                run.info.run_id, [dataset_input(d) for d in data]
            )
            tracked = TrackedRun(
                self.client,
                run.info.run_id,
                run.info.experiment_id,
                total_steps,
            )
            try:
                yield tracked
            except BaseException as error:
                tracked.flush()
                stopped = isinstance(error, (KeyboardInterrupt, SystemExit))
                self.client.set_terminated(
                    run.info.run_id, "KILLED" if stopped else "FAILED"
                )
                raise
            tracked.flush()
            self.client.set_terminated(run.info.run_id, "FINISHED")

    def find(self, experiment: str, identity: str) -> Run | None:
        """The run of an identity, the newest one."""
        runs = self.client.search_runs(
            [self.experiment(experiment)],
            f"tags.`{IDENTITY}` = '{identity}'",
            max_results=1,
        )
        return runs[0] if runs else None

    def close_orphans(self) -> list[str]:
        """Mark runs as KILLED that are RUNNING without a process that holds them;
        returns their ids.
        """
        ids = list(map(self.experiment, EXPERIMENTS))
        running = self.client.search_runs(ids, "attributes.status = 'RUNNING'")
        orphans = [
            r
            for r in running
            if not is_held(self.places.locks / r.data.tags.get(LOCK, "no-lock"))
        ]
        for run in orphans:
            self.client.set_terminated(run.info.run_id, "KILLED")
        return [r.info.run_id for r in orphans]

    def register(
        self,
        profile: str,
        folder: Path,
        digest: str,
        run_id: str,
        card: str,
        tags: Mapping[str, str],
    ) -> str:
        """The version of a checkpoint in the registry, made once for each digest, as
        `candidate`; returns its number.
        """
        name = MODEL.format(profile=profile)
        self._registered_model(name)
        reference = folder.resolve().relative_to(self.places.local).as_posix()
        known = self.client.search_model_versions(
            f"name = '{name}' and tags.digest = '{digest}'"
        )
        if known:
            version = str(known[0].version)
        else:
            made = self.client.create_model_version(
                name,
                source=folder.resolve().as_uri(),
                run_id=run_id,
                description=card,
                tags={**tags, "digest": digest, "checkpoint": reference},
            )
            version = str(made.version)
        self.client.set_registered_model_alias(name, "candidate", version)
        self.client.update_registered_model(name, description=card)
        return version

    def promote(
        self, profile: str, version: str, why: Mapping[str, str]
    ) -> None:
        """Make a version the champion; `why` is kept as its tags."""
        name = MODEL.format(profile=profile)
        for key, value in why.items():
            self.client.set_model_version_tag(name, version, key, value)
        self.client.set_registered_model_alias(name, "champion", version)

    def resolve(self, reference: str) -> Registered:
        """The checkpoint behind `models:/NAME@ALIAS` or `models:/NAME/VERSION`.

        Raises:
            UnknownNameError: no such model, alias or version. CheckpointError: its
                folder is gone, or the reference is malformed.
        """
        name, version = self._version_of(reference)
        folder = self.places.local / version.tags["checkpoint"]
        if not folder.exists():
            raise CheckpointError(
                f"{reference} is version {version.version} of {name}, but its "
                f"checkpoint {folder} is gone. "
                "Fix: train it again (autollm run)."
            )
        return Registered(
            name,
            str(version.version),
            folder,
            version.tags["digest"],
            dict(version.tags),
        )

    def cited(self) -> set[str]:
        """Checkpoints that some registry alias points to, relative to the home."""
        out = set()
        for model in self.client.search_registered_models():
            versions = {str(v) for v in model.aliases.values()}
            found = self.client.search_model_versions(f"name = '{model.name}'")
            out |= {
                v.tags["checkpoint"]
                for v in found
                if str(v.version) in versions and "checkpoint" in v.tags
            }
        return out

    def _registered_model(self, name: str) -> None:
        try:
            self.client.get_registered_model(name)
        except MlflowException:
            self.client.create_registered_model(name)

    def _version_of(self, reference: str) -> tuple[str, Any]:
        rest = reference.removeprefix(SCHEME)
        name, _, alias = rest.partition("@")
        if not reference.startswith(SCHEME) or not name:
            raise CheckpointError(
                f"{reference!r} names no model. Expected models:/NAME@champion, "
                "models:/NAME@candidate or models:/NAME/VERSION."
            )
        models = {m.name: m for m in self.client.search_registered_models()}
        base, _, number = name.partition("/")
        if base not in models:
            raise UnknownNameError("registered model", base, models)
        if not alias and not number:
            alias = "champion"
        if alias and alias not in models[base].aliases:
            raise UnknownNameError(
                f"alias of {base}", alias, models[base].aliases
            )
        try:
            return base, self.client.get_model_version(
                base, str(models[base].aliases[alias]) if alias else number
            )
        except MlflowException:
            known = [
                str(v.version)
                for v in self.client.search_model_versions(f"name = '{base}'")
            ]
            raise UnknownNameError(
                f"version of {base}", number, known
            ) from None

    def _open(
        self, experiment: str, identity: str, name: str, tags: Mapping[str, str]
    ) -> Run:
        run = self.find(experiment, identity)
        if run is None:
            run = self.client.create_run(
                self.experiment(experiment),
                run_name=name,
                tags={**tags, IDENTITY: identity, "mlflow.user": ""},
            )
        else:
            self.client.update_run(run.info.run_id, status="RUNNING")
            self.client.log_batch(
                run.info.run_id, tags=[RunTag(k, v) for k, v in tags.items()]
            )
        return run
