"""Fetching a public table: from a mirror or the network, kept only when its sha256 is
right.

Nothing calls this but `autollm sources fetch`. Plain httpx, since a download has to end
at the size that the catalogue says, and is converted before its digest is compared.
Invariant: under its final name lies the catalogue's file or nothing.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from autollm.core.errors import SourceError
from autollm.logs.markdown_tables import tables_to_csv
from autollm.logs.sources import Source, SourceFile

TIMEOUT_S = 30.0
MAX_BYTES = 2**30
"""Of a file whose size the catalogue does not say."""
_CHUNK_BYTES = 2**18
Show = Callable[[str, int, int], None]
"""Called with a file's name, bytes so far, bytes in all (0: not known)."""


def fetch(
    source: Source, folder: Path, mirror: Path | None, show: Show
) -> list[tuple[Path, str]]:
    """Bring all files of a source below `folder`; returns each with where it came from:
    here, mirror or network.

    Raises:
        SourceError: nothing to download, the network failed, the download was cut, or a
            sha256 does not match.
    """
    found = []
    for file in source.files:
        target = folder / source.folder / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        copy = mirror / source.folder / file.name if mirror else None
        if target.exists() and sha256_of(target) == file.sha256:
            found.append((target, "here"))
        elif copy is not None and copy.is_file():
            _from_mirror(copy, target, file)
            found.append((target, "mirror"))
        else:
            _from_network(source, file, target, show)
            found.append((target, "network"))
    return found


def sha256_of(path: Path) -> str:
    """Digest of a file, read in chunks."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _from_mirror(copy: Path, target: Path, file: SourceFile) -> None:
    part = _part(target)
    shutil.copyfile(copy, part)
    _keep(
        part,
        target,
        file,
        f"the mirror's {copy}",
        "put the right file there, or unset AUTOLLM_DATA_DIR to download it",
    )


def _from_network(
    source: Source, file: SourceFile, target: Path, show: Show
) -> None:
    if not source.address:
        raise SourceError(
            f"{source.name}: {file.name} has no address: {source.about}. "
            f"Fix: AUTOLLM_DATA_DIR=FOLDER with {source.folder}/{file.name} in it."
        )
    part, url = _part(target), source.url(file)
    n_bytes = 0 if file.made_by else file.n_bytes
    _download(
        url, part, n_bytes, lambda done, total: show(file.name, done, total)
    )
    if file.made_by == "markdown_tables":
        part.write_bytes(tables_to_csv(part.read_bytes()))
    _keep(
        part,
        target,
        file,
        url,
        "run it again; if it stays so, the address gives another file now: use a "
        "mirror (AUTOLLM_DATA_DIR)",
    )


def _part(target: Path) -> Path:
    return target.with_name(f"{target.name}.part")


def _keep(
    part: Path, target: Path, file: SourceFile, where: str, remedy: str
) -> None:
    """Give the file its final name, if it is the catalogue's; else remove it."""
    digest = sha256_of(part)
    if digest != file.sha256:
        part.unlink()
        raise SourceError(
            f"{where} has sha256 {digest}, the catalogue says {file.sha256}: nothing "
            f"was kept. Fix: {remedy}."
        )
    with part.open("rb") as stream:
        os.fsync(stream.fileno())
    os.replace(part, target)


def _download(
    url: str, part: Path, n_bytes: int, show: Callable[[int, int], None]
) -> None:
    """Bring `url` into `part`. `n_bytes`: its size, 0 where it is not known. The
    largest file of the catalogue has 344 kB: what was cut is fetched anew.
    """
    import httpx

    most, done = n_bytes or MAX_BYTES, 0
    headers = {"Accept-Encoding": "identity"}
    try:
        with (
            httpx.stream(
                "GET",
                url,
                headers=headers,
                timeout=TIMEOUT_S,
                follow_redirects=True,
            ) as response,
            part.open("wb") as out,
        ):
            if response.status_code != 200:
                raise SourceError(
                    f"{url} answered {response.status_code}. Fix: try later, or use a "
                    "mirror (AUTOLLM_DATA_DIR)."
                )
            total = n_bytes or int(response.headers.get("Content-Length", 0))
            for chunk in response.iter_raw():
                out.write(chunk)
                done += len(chunk)
                if done > most:
                    raise SourceError(
                        f"{url} gives more than the {most} bytes expected: nothing was "
                        "kept. Fix: use a mirror (AUTOLLM_DATA_DIR)."
                    )
                show(done, total)
        if done < n_bytes:
            raise SourceError(
                f"{url} ended after {done} of {n_bytes} bytes. Fix: run it again."
            )
    except httpx.HTTPError as error:
        part.unlink(missing_ok=True)
        raise SourceError(
            f"{url} broke off after {done} bytes: {error or type(error).__name__}. "
            "Fix: run it again."
        ) from None
    except SourceError:
        part.unlink(missing_ok=True)
        raise
