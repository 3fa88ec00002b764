"""What tables and sweeps are called that nobody has named."""

from itertools import islice

import pytest

from autollm.core.mappings.mapping import parse_mapping
from autollm.logs.choosing.catalog import MappingChoice
from autollm.logs.opening.found import Found
from autollm.logs.opening.run_folders import RunFolder
from autollm.logs.proposals.table_names import names_of
from tests.unit.logs.raw_logs import sweep_mapping


def file(path):
    name = path.rsplit("/", 1)[-1]
    return Found(path, name, name)


def run(path):
    return RunFolder(path.rsplit("/", 1)[-1], "hydra", {}, path, path[1:])


@pytest.mark.parametrize(
    ("units", "folder", "expected"),
    [
        (
            [file("/x/p2/My_Sweep.csv.gz")],
            "/x/p2",
            [
                ("my_sweep", ["My_Sweep.csv"]),
                ("p2-my_sweep", ["p2/My_Sweep.csv"]),
            ],
        ),
        (
            [run("/x/hy/ablation/0"), run("/x/hy/ablation/1")],
            "",
            [("ablation", ["ablation/*"]), ("hy-ablation", ["hy/ablation/*"])],
        ),
        (
            [run("/x/hy/a/0"), run("/x/hy/b/0")],
            "/x/hy",
            [("hy", ["hy/*"]), ("x-hy", ["x/hy/*"])],
        ),
        (
            [run("/x/hy/a/0"), run("/x/hy/c/0")],
            "",
            [("a", ["a/*", "c/*"]), ("hy-a", ["hy/a/*", "hy/c/*"])],
        ),
        (
            [file("/x/e/a.csv"), file("/x/e/b.csv")],
            "/x/e",
            [("e", ["a.csv", "b.csv"]), ("e", ["e/a.csv", "e/b.csv"])],
        ),
        (
            [
                run("/x/hy/2025-08-01/09-00-00/0"),
                run("/x/hy/2025-08-01/09-00-00/1"),
            ],
            "",
            [
                (
                    "hy-2025-08-01-09-00-00",
                    ["hy/2025-08-01/09-00-00/*"],
                ),
                (
                    "x-hy-2025-08-01-09-00-00",
                    ["x/hy/2025-08-01/09-00-00/*"],
                ),
            ],
        ),
        (
            [file("/x/Übersicht_Läufe.csv")],
            "/x",
            [
                ("ubersicht_laufe", ["Übersicht_Läufe.csv"]),
                ("x-ubersicht_laufe", ["x/Übersicht_Läufe.csv"]),
            ],
        ),
        (
            [file("/x/logs/1.wandb"), file("/x/logs/2.wandb")],
            "/x/logs",
            [("logs", ["logs/*.wandb"]), ("x-logs", ["x/logs/*.wandb"])],
        ),
    ],
)
def test_names_of__units__come_from_where_they_lie(units, folder, expected):
    assert list(islice(names_of(units, folder), 2)) == expected
    *_, (source, _) = islice(names_of(units, folder), 20)
    assert source.rsplit("-", 1)[1].isdigit()  # names do not end


@pytest.mark.parametrize(
    ("narrow", "broad"),
    [
        ("ablation/*", "*"),
        ("b/*", "runs/*"),
        ("runs/b/*", "b/*"),
        ("b/t.csv", "t.csv"),
        ("t.csv", "runs/b/*"),
        ("t*.csv", "*.csv"),
    ],
)
def test_for_file__two_patterns_fit__the_narrower_one_is_meant(narrow, broad):
    place = "home/runs/b/t.csv"
    place = place.replace("/b/", "/ablation/") if "abl" in narrow else place
    mappings = []
    for source, pattern in (("a", broad), ("z", narrow)):
        text = sweep_mapping("csv", [pattern]).replace('"sweep"', f'"{source}"')
        mappings.append(parse_mapping(text, source))
    for own in (mappings, mappings[::-1]):
        assert (
            MappingChoice(own=tuple(own)).for_file(place, "csv").source == "z"
        )
