import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_definitions__import__loads_no_heavy_library():
    code = (
        "import sys, pipelines.definitions; heavy = {'torch', 'transformers', 'trl', "
        "'mlflow', 'numpy', 'pyarrow', 'fsspec'} & set(sys.modules);"
        "print(sorted(heavy))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip().splitlines()[-1] == "[]"


def test_imports__directions__are_kept():
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:]


def test_definitions__asset_graph__is_the_flow():
    from pipelines.definitions import defs

    groups: dict[str, set[str]] = {}
    for node in defs.resolve_asset_graph().asset_nodes:
        groups.setdefault(node.group_name, set()).add(node.key.to_user_string())
    warehouse = groups.pop("b_warehouse")
    assert groups == {
        "a_lab": {"lab_runs"},
        "a_logs": {
            "bronze/files",
            "bronze/runs",
            "bronze/run_metrics",
            "bronze/spaces",
        },
        "c_gym": {"snapshot", "published_snapshot"},
        "d_agent": {"trajectories", "agent_sft", "agent_rl"},
        "e_evaluation": {"validation_scores", "held_out_scores", "report"},
        "f_promotion": {"registered_agent", "champion"},
        "g_advice": {"recommendations"},
    }
    assert {
        "stg_runs",
        "dim_experiments",
        "fct_outcomes",
        "fct_learning_curves",
        "mart_gym__outcomes",
    } <= warehouse


def test_definitions__dbt_tests__are_asset_checks():
    from pipelines.definitions import defs

    assert len(defs.resolve_asset_graph().asset_check_keys) >= 30


def test_definitions__every_asset__has_a_group_and_a_description():
    from pipelines.definitions import defs

    for node in defs.resolve_asset_graph().asset_nodes:
        if node.is_materializable:
            assert node.group_name != "default" and node.description, node.key
