"""What may be deleted: old snapshots and checkpoints that no champion, no agent in use
and no report cites, and stored episodes that no evaluation can use any more. Every run
also removes unfinished files of killed processes.

Invariant: `removable` deletes nothing, and `remove` deletes only what `removable`
lists.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from autollm.agent.checkpoint_files import read_metadata
from autollm.core.errors import CheckpointError, SetupError
from autollm.core.files import (
    exists,
    is_local,
    join,
    list_names,
    local_path,
    remove,
)
from autollm.core.locks import hold
from autollm.core.places import Places
from autollm.core.sealed import read_sealed
from autollm.evaluation import leaderboard
from autollm.evaluation.contenders import policy_identity
from autollm.evaluation.episodes import players_in
from autollm.gym.tables.snapshot import published_id
from autollm.policies.registry import POLICIES
from autollm.stages.agents import read_pointer
from autollm.stages.evaluation_players import CHAT, LIVE_CODE

KINDS = ("sft-rl", "sft", "rl", "trajectories")
UNFINISHED = ".tmp-*"
"""What is written beside its place and then moved into it (storage.write_atomic,
agent.checkpoints).
"""
LITTER_S = 3600.0
"""An unfinished file that did not change for this long has no writer any more."""


@dataclass(frozen=True)
class Removable:
    """Something that nothing cites: where it lies, and its size. `files`: which of its
    files are deleted; empty: all of them.
    """

    kind: str
    name: str
    url: str
    n_bytes: int
    files: tuple[str, ...] = ()


def removable(places: Places, keep: int) -> list[Removable]:
    """Everything that may be deleted, where the newest `keep` snapshots and checkpoints
    of each kind and all that is cited are kept.

    Raises:
        SetupError: the home is no local folder (ages are not known there).
    """
    if not is_local(places.home):
        raise SetupError(
            f"clean works on local homes, {places.home} is none. Fix: delete old "
            "snapshots with the store's own tools."
        )
    candidates = _snapshots(places, keep) + _checkpoints(places, keep)
    return candidates + _episodes(places)


def clean(places: Places, keep: int) -> list[Removable]:
    """Delete what is removable; returns it.

    Raises:
        BusyError: a run is going on in this home.
    """
    with hold(places.locks / "run.lock", f"the home {places.home}"):
        deleted = removable(places, keep)
        for item in deleted:
            for path in item.files or (item.url,):
                remove(path)
    return deleted


def remove_litter(places: Places) -> list[str]:
    """Delete unfinished files and folders whose writer was killed; returns their paths."""
    folders = [
        places.checkpoints,
        *(
            Path(local_path(url))
            for url in (places.snapshots, places.reports, places.landing)
            if is_local(url)
        ),
    ]
    left = [
        p
        for folder in folders
        for p in folder.rglob(UNFINISHED)
        if _age_s(p) > LITTER_S
    ]
    for path in left:
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    return [str(p) for p in left]


def cited(places: Places) -> tuple[set[str], set[str]]:
    """table_ids and checkpoint digests that leaderboards stand on.

    Raises:
        ComparisonError: a leaderboard is damaged: what it cites is not known.
    """
    tables: set[str] = set()
    digests: set[str] = set()
    for name in list_names(places.reports):
        if exists(join(places.reports, name, "leaderboard.json")):
            board = leaderboard.load(places.home, name)
            tables.add(board.table_id)
            digests |= {row.policy_version for row in board.rows if row.stage}
    return tables, digests


def _snapshots(places: Places, keep: int) -> list[Removable]:
    tables, _ = cited(places)
    stay = tables | {published_id(places.home)} | _named_by_registry(places)
    folders = []
    for name in list_names(places.snapshots):
        folder = Path(local_path(join(places.snapshots, name)))
        if folder.is_dir():
            folders.append(folder)
    return [
        _item("snapshot", f) for f in _old(folders, keep) if f.name not in stay
    ]


def _checkpoints(places: Places, keep: int) -> list[Removable]:
    _, digests = cited(places)
    stay = _in_use(places)
    out = []
    for kind in KINDS:
        folders = [
            p
            for p in places.checkpoints.glob(f"{kind}-*")
            if p.is_dir() and _kind(p) == kind
        ]
        out += [
            _item("checkpoint", f)
            for f in _old(folders, keep)
            if f"checkpoints/{f.name}/final" not in stay
            and _digest(f) not in digests
        ]
    return out


def _episodes(places: Places) -> list[Removable]:
    """Files without an episode of a current player, which is a registered policy in its
    present version, or weights that are cited or in use. Episodes of chat models are
    kept, since they were paid for.
    """
    _, weights = cited(places)
    weights |= {_digest(places.local / c / "..") for c in _in_use(places)}
    identities = set()
    for policy_id in POLICIES:
        identities.add(policy_identity(policy_id))
        identities.add(policy_identity(policy_id, LIVE_CODE))
    folder = Path(local_path(places.episodes))
    stale = []
    for path in sorted(folder.glob("*/part-*.parquet")):
        for identity, version, stage in players_in(str(path)):
            known = version in weights if stage else identity in identities
            if known or stage == CHAT:
                break
        else:
            stale.append(path)
    if not stale:
        return []
    n_bytes = sum(path.stat().st_size for path in stale)
    name = f"{len(stale)} files of players that play otherwise today"
    files = tuple(map(str, stale))
    return [Removable("episodes", name, str(folder), n_bytes, files)]


def _kind(path: Path) -> str:
    return path.name.rpartition("-")[0]


def _digest(folder: Path) -> str:
    """Checkpoint digest of a finished stage; empty where it is not recorded, or the
    record is damaged.
    """
    done = folder / "done.json"
    try:
        return read_sealed(str(done), CheckpointError, "")["digest"]
    except (CheckpointError, FileNotFoundError, KeyError):
        return ""


def _in_use(places: Places) -> set[str]:
    """Checkpoints that a registry alias or the pointer of a profile names, relative to
    the home.
    """
    named = set()
    for pointer in places.checkpoints.glob("agents-*.json"):
        stages = read_pointer(pointer)
        named |= {entry["checkpoint"] for entry in stages.values()}
    if (places.mlflow / "mlflow.db").exists():
        from autollm.tracking import Tracker

        named |= Tracker(places).cited()
    return named


def _named_by_registry(places: Places) -> set[str]:
    """Snapshots that checkpoints in use were trained on."""
    out = set()
    for checkpoint in _in_use(places):
        folder = places.local / checkpoint
        if folder.exists():
            out.add(read_metadata(folder).get("table_id"))
    return out


def _old(folders: list[Path], keep: int) -> list[Path]:
    return sorted(folders, key=lambda f: f.stat().st_mtime, reverse=True)[keep:]


def _age_s(path: Path) -> float:
    """Seconds since the newest change of a file, or of anything in a folder; 0 when its
    writer has just moved it to its place.
    """
    try:
        return time.time() - max(
            p.stat().st_mtime for p in (path, *path.rglob("*"))
        )
    except FileNotFoundError:
        return 0.0


def _item(kind: str, folder: Path) -> Removable:
    return Removable(
        kind,
        folder.name,
        str(folder),
        sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()),
    )
