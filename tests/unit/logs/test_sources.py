"""The catalogue, and fetching from a mirror or a loopback server: cut, verified,
nothing false under its final name.
"""

import contextlib
import hashlib
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from autollm.core.errors import SourceError, UnknownNameError
from autollm.logs.choosing.catalog import MappingChoice, builtin_mappings
from autollm.logs.fetch import fetch, sha256_of
from autollm.logs.markdown_tables import tables_to_csv
from autollm.logs.sources import (
    Source,
    SourceFile,
    catalogue,
    find_source,
    tables_below,
)
from tests.public_tables import public_table
from tests.unit.logs.raw_logs import write

DATA = bytes(range(256)) * 4000


class Server:
    """A loopback server of one file, and how it misbehaves."""

    def __init__(self) -> None:
        self.data, self.cut_after, self.ranges, self.status, self.requests = (
            DATA,
            None,
            True,
            200,
            [],
        )

    def handler(self):
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_GET(self):
                server.requests.append(self.headers.get("Range"))
                start = (
                    int(re.search(r"\d+", self.headers["Range"])[0])
                    if self.headers.get("Range") and server.ranges
                    else 0
                )
                if server.status != 200 or start > len(server.data):
                    self.send_response(
                        server.status if server.status != 200 else 416
                    )
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                body = server.data[start:]
                self.send_response(206 if start else 200)
                if start:
                    self.send_header(
                        "Content-Range",
                        f"bytes {start}-{len(server.data) - 1}/{len(server.data)}",
                    )
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if (
                    server.cut_after is not None
                    and len(body) > server.cut_after
                ):
                    self.wfile.write(body[: server.cut_after])
                    self.close_connection = True
                    self.connection.close()
                    return
                with contextlib.suppress(ConnectionError):
                    self.wfile.write(body)

        return Handler


@pytest.fixture
def server():
    state = Server()
    http = ThreadingHTTPServer(("127.0.0.1", 0), state.handler())
    state.address = f"http://127.0.0.1:{http.server_address[1]}"
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    yield state
    http.shutdown()
    http.server_close()


def source(address: str, data: bytes = DATA, **changes) -> Source:
    file = {
        "name": "table.csv",
        "path": "data/table.csv",
        "n_bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
    } | changes
    return Source(
        "mine",
        "pretraining",
        "measured",
        "a table",
        "mine",
        address,
        "abc123",
        "MIT",
        "nobody",
        (SourceFile(**file),),
    )


def bring(src: Source, folder, mirror=None) -> list[str]:
    return [origin for _, origin in fetch(src, folder, mirror, lambda *_: None)]


def left(folder) -> set[str]:
    return {p.name for p in folder.rglob("*") if p.is_file()}


def test_fetch__from_the_network__is_kept_under_its_name_and_not_fetched_again(
    server, tmp_path
):
    shown = []
    ((path, origin),) = fetch(
        source(server.address), tmp_path, None, lambda *args: shown.append(args)
    )
    assert (path, origin, path.read_bytes()) == (
        tmp_path / "mine" / "table.csv",
        "network",
        DATA,
    )
    assert shown[-1] == ("table.csv", len(DATA), len(DATA)) and bring(
        source(server.address), tmp_path
    ) == ["here"]
    assert len(server.requests) == 1 and left(tmp_path) == {"table.csv"}


def test_fetch__download_cut_half_way__keeps_nothing_and_starts_anew(
    server, tmp_path
):
    server.cut_after = 300_000
    with pytest.raises(
        SourceError, match=r"broke off after 300000 bytes.*Fix:"
    ):
        bring(source(server.address), tmp_path)
    assert left(tmp_path) == set()
    server.cut_after = None
    assert bring(source(server.address), tmp_path) == ["network"]
    assert (tmp_path / "mine" / "table.csv").read_bytes() == DATA


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"data": DATA[:-1] + b"x"},
            r"has sha256 [0-9a-f]{64}, the catalogue says [0-9a-f]{64}: nothing was "
            r"kept. Fix:",
        ),
        (
            {"data": DATA + b"more"},
            "gives more than the 1024000 bytes expected: nothing was kept",
        ),
        ({"data": DATA[:1000]}, "ended after 1000 of 1024000 bytes"),
        ({"status": 404}, "answered 404. Fix:"),
        ({"status": 503}, "answered 503. Fix:"),
    ],
)
def test_fetch__what_is_not_the_catalogues_file__is_refused(
    server, tmp_path, change, words
):
    vars(server).update(change)
    with pytest.raises(SourceError, match=words):
        bring(source(server.address), tmp_path)
    assert "table.csv" not in left(tmp_path)
    vars(server).update({"data": DATA, "status": 200})
    assert bring(source(server.address), tmp_path) == ["network"]


def test_fetch__altered_file_under_the_final_name__is_replaced(
    server, tmp_path
):
    write(tmp_path / "mine", "table.csv", b"altered")
    assert (
        bring(source(server.address), tmp_path) == ["network"]
        and (tmp_path / "mine" / "table.csv").read_bytes() == DATA
    )


def test_fetch__part_of_a_killed_fetch__is_started_anew(server, tmp_path):
    write(tmp_path / "mine", "table.csv.part", DATA + b"x")
    assert bring(source(server.address), tmp_path) == ["network"]
    assert left(tmp_path) == {"table.csv"}


def test_fetch__nobody_listens__says_where_and_what_to_do(tmp_path):
    with pytest.raises(
        SourceError,
        match=r"http://127\.0\.0\.1:9/abc123/data/table\.csv broke off after 0 "
        r"bytes.*Fix:",
    ):
        bring(source("http://127.0.0.1:9"), tmp_path)


def test_fetch__mirror__is_used_instead_of_the_network_and_checked(
    server, tmp_path
):
    write(tmp_path / "mirror" / "mine", "table.csv", DATA)
    assert (
        bring(source(server.address), tmp_path / "home", tmp_path / "mirror")
        == ["mirror"]
        and server.requests == []
    )
    write(tmp_path / "mirror" / "mine", "table.csv", b"other")
    with pytest.raises(
        SourceError,
        match=r"the mirror's .*table\.csv has sha256 .*nothing was kept\. Fix: put the "
        r"right file there",
    ):
        bring(source(server.address), tmp_path / "other", tmp_path / "mirror")
    assert left(tmp_path / "other") == set()
    assert bring(
        source(server.address), tmp_path / "third", tmp_path / "empty mirror"
    ) == ["network"]


def test_fetch__source_without_an_address__names_the_file_that_a_mirror_must_hold(
    tmp_path,
):
    with pytest.raises(
        SourceError,
        match=r"Fix: AUTOLLM_DATA_DIR=FOLDER with hwgpt/hwgpt_s_surrogate\.parquet",
    ):
        bring(find_source("hwgpt"), tmp_path)


MARKDOWN = b"""# Report

## maker/model-1B

**Configuration:**
- LR: [1, 2]

**Results:**

| LR | Test NLL |
|---:|:--------:|
| 4e-05 | 0.60 |
| 1e-04 | 0.59 |

**Best config:** lr=1e-04

| other | table |
|---|---|
| 1 | 2 |

## maker/model, large

| LR | Test NLL |
|---|---|
| 4e-05 | 0.50 |
"""
CSV = b'model,section,LR,Test NLL\r\nmaker/model-1B,Results,4e-05,0.60\r\nmaker/model-1B,Results,1e-04,0.59\r\n"maker/model, large",,4e-05,0.50\r\n'


def test_tables_to_csv__report__is_one_table_of_the_first_ones_columns():
    assert (
        tables_to_csv(MARKDOWN) == CSV
        and tables_to_csv(b"no table\n") == b"model,section\r\n"
    )


def test_fetch__file_that_is_made_of_a_report__is_checked_as_made(
    server, tmp_path
):
    server.data = MARKDOWN
    made = source(
        server.address, CSV, path="report.md", made_by="markdown_tables"
    )
    assert (
        bring(made, tmp_path) == ["network"]
        and (tmp_path / "mine" / "table.csv").read_bytes() == CSV
    )
    server.data = MARKDOWN.replace(b"0.60", b"0.61")
    with pytest.raises(SourceError, match="nothing was kept"):
        bring(made, tmp_path / "again")


def test_catalogue__every_source__is_whole_and_has_a_mapping_that_reads_its_files():
    assert list(catalogue()) == [
        "steplaw",
        "admire",
        "regmix",
        "tinker-sft",
        "hwgpt",
    ]
    for src in catalogue().values():
        mapping = builtin_mappings()[src.name]
        assert (
            mapping.family == src.family
            and src.licence
            and src.citation
            and re.fullmatch("[0-9a-f]{40}", src.commit)
        )
        for file in src.files:
            assert (
                re.fullmatch("[0-9a-f]{64}", file.sha256) and file.n_bytes > 0
            )
            assert not src.address or src.url(file).startswith(
                f"https://raw.githubusercontent.com/{src.address.split('/', 3)[-1]}/{src.commit}/"
            )
            assert MappingChoice().claims(file.name, mapping.format)
    assert [s.name for s in catalogue().values() if s.rows == "surrogate"] == [
        "hwgpt"
    ]


def test_find_source__misspelt__says_what_is_near():
    with pytest.raises(UnknownNameError, match="Did you mean 'steplaw'"):
        find_source("step-law")


@pytest.mark.data
def test_catalogue__mirror__holds_the_very_files(tmp_path):
    root = public_table("steplaw").parent
    paths = tables_below(root)
    digests = {p.name: sha256_of(p) for p in paths}
    sizes = {p.name: p.stat().st_size for p in paths}
    known = {f.name: f for s in catalogue().values() for f in s.files}
    assert digests == {
        name: known[name].sha256 for name in digests
    } and sizes == {name: known[name].n_bytes for name in sizes}
    assert (
        bring(find_source("regmix"), tmp_path, root) == ["mirror"] * 8
        and len(tables_below(tmp_path)) == 8
    )
