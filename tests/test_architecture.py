"""The house: imports point one way, one module reads the environment, and everything public says what it is."""

import ast
import asyncio
import importlib
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import httpx
import pytest

import state.errors
from tests.conftest import NetworkRefused

ROOT = Path(__file__).parent.parent
MAY_IMPORT = {
    "state": {"state"},
    "tools": {"tools", "state"},
    "nodes": {"tools", "state"},
    "graph": {"graph", "nodes", "tools", "state"},
    "serving": {"serving", "graph", "tools", "state"},
    "corral": {"corral", "serving", "graph", "tools", "state"},
}
"""Who may import what of ours. Nodes do not import nodes; nobody imports the door or the tests."""
OURS = {*MAY_IMPORT, "tests", "benchmarks"}

TOUCHES_ENVIRONMENT = {
    "tools/settings.py": "the only reader of what a person sets",
    "tools/weights/processes.py": "makes the environment of a child process",
    "tools/training/worker.py": "is that child: the launcher tells a worker its rank so, and in no other way",
    "tools/training/runner.py": "is that child too: its rank, and how many workers there are",
    "tools/judging/crewai_import.py": "sets CrewAI's own switches, which it reads from there alone",
}
UNSAFE = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
"""Whoever loads these runs what lies in the file."""
HEAVY = ("accelerate", "crewai", "datasets", "nltk", "peft", "sklearn", "torch", "transformers", "trl")
"""Seconds to import: done in the function that needs them, or in a child process."""


def sources() -> list[Path]:
    return sorted(path for package in MAY_IMPORT for path in (ROOT / package).rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line, dotted name) of all that a module imports, wherever in it."""
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)}:{node.lineno} imports relatively"
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("__import__", "importlib.import_module"):
            assert isinstance(node.args[0], ast.Constant), f"{name_of(path)}:{node.lineno} imports what nobody can see"
            yield node.lineno, str(node.args[0].value)


def every_source(check: Callable[[Path], None]) -> Callable[[], None]:
    """Make one test of a check of one file: thousands of tests of a millisecond each would take minutes."""

    def over_all() -> None:
        wrong = []
        for path in sources():
            try:
                check(path)
            except AssertionError as error:
                wrong.append(f"{name_of(path)}: {error}")
        assert not wrong, "\n".join(wrong)

    over_all.__name__ = check.__name__
    return over_all


def test_the_house_is_found() -> None:
    assert len(sources()) > 50 and all((ROOT / name).exists() for name in TOUCHES_ENVIRONMENT)
    assert {path.relative_to(ROOT).parts[0] for path in sources()} >= {"state", "tools", "nodes", "graph", "corral"}


@every_source
def test_imports_point_one_way(path: Path) -> None:
    allowed = MAY_IMPORT[path.relative_to(ROOT).parts[0]]
    wrong = [
        f"{name_of(path)}:{line} imports {name}"
        for line, name in imports(path)
        if (package := name.split(".")[0]) in OURS and package not in allowed
    ]
    assert wrong == []


def rooms_used() -> dict[str, set[str]]:
    """Return which packages and modules of ``tools`` each of them imports."""
    uses: dict[str, set[str]] = {}
    for path in (ROOT / "tools").rglob("*.py"):
        room = path.relative_to(ROOT / "tools").parts[0].removesuffix(".py")
        found = {name.split(".")[1] for _, name in imports(path) if name.startswith("tools.")}
        uses.setdefault(room, set()).update(found - {room})
    return uses


def test_no_packages_of_tools_import_each_other_in_a_circle() -> None:
    uses = rooms_used()
    try:
        order = list(TopologicalSorter(uses).static_order())
    except CycleError as error:
        pytest.fail(f"these import each other in a circle: {' -> '.join(error.args[1])}")
    assert {"weights", "endpoint", "training", "evaluation"} <= set(order)


@every_source
def test_nothing_is_pickled(path: Path) -> None:
    assert [name for _, name in imports(path) if name.split(".")[0] in UNSAFE] == []
    loads = [node for node in ast.walk(parse(path)) if isinstance(node, ast.Call)]
    unsafe = [node.lineno for node in loads if ast.unparse(node.func) in ("torch.load", "numpy.load", "np.load")]
    assert unsafe == []


@every_source
def test_one_module_renders_prompts(path: Path) -> None:
    calls = [node for node in ast.walk(parse(path)) if isinstance(node, ast.Attribute)]
    renders = any(node.attr == "apply_chat_template" for node in calls)
    assert renders == (name_of(path) == "tools/weights/template.py")


@every_source
def test_nobody_tests_an_endpoint_by_its_name(path: Path) -> None:
    """What an endpoint can do, its transport says; the one table of names is in ``tools.endpoint``."""
    compared = [
        ast.unparse(node)
        for node in ast.walk(parse(path))
        if isinstance(node, ast.Compare) and "base_url" in ast.unparse(node)
    ]
    known = {
        "tools/endpoint/__init__.py": ["spec.base_url not in KINDS"],
        "state/request.py": ["'base_url' in policy"],  # whether a request names one at all
    }
    assert compared == known.get(name_of(path), [])


@every_source
def test_only_the_settings_touch_the_environment(path: Path) -> None:
    touched = [
        node.lineno
        for node in ast.walk(parse(path))
        if (isinstance(node, ast.Attribute) and node.attr in ("environ", "environb", "getenv", "putenv", "unsetenv"))
        or (isinstance(node, ast.ImportFrom) and node.module == "os")
        or (isinstance(node, ast.Call) and ast.unparse(node.func).endswith("load_dotenv"))
    ]
    assert bool(touched) == (name_of(path) in TOUCHES_ENVIRONMENT), f"{name_of(path)}: lines {touched}"


@every_source
def test_everything_public_says_what_it_is(path: Path) -> None:
    def missing(node: ast.Module | ast.ClassDef, prefix: str) -> Iterator[str]:
        if not ast.get_docstring(node):
            yield prefix
        for inner in node.body:
            if isinstance(inner, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and inner.name[0] != "_":
                name = f"{prefix}.{inner.name}"
                if isinstance(inner, ast.ClassDef):
                    yield from missing(inner, name)
                elif not ast.get_docstring(inner):
                    yield name

    assert list(missing(parse(path), name_of(path))) == []


@every_source
def test_every_error_of_ours_is_in_the_tree(path: Path) -> None:
    tree = {name for name, value in vars(state.errors).items() if isinstance(value, type)}
    outside = [
        node.name
        for node in ast.walk(parse(path))
        if isinstance(node, ast.ClassDef) and any(ast.unparse(base).split(".")[-1] in tree for base in node.bases)
    ]
    assert outside == [] or name_of(path) == "state/errors.py"


@pytest.mark.parametrize("package", [name for name in MAY_IMPORT if (ROOT / name).is_dir()])
def test_our_packages_are_the_checkouts(package: str) -> None:
    """A stray site-package of the same flat name would be found first if it stood before the checkout."""
    assert Path(str(importlib.import_module(package).__file__)) == ROOT / package / "__init__.py"


def test_a_node_is_a_file_with_its_factory_and_stands_in_the_pipeline() -> None:
    nodes = {path.stem for path in (ROOT / "nodes").glob("*.py")} - {"__init__"}
    for name in nodes:
        functions = [
            node.name for node in parse(ROOT / "nodes" / f"{name}.py").body if isinstance(node, ast.FunctionDef)
        ]
        assert f"make_{name}" in functions
    added = [
        node.args[0].value
        for graph in ("pipeline.py", "improvement.py")
        for node in ast.walk(parse(ROOT / "graph" / graph))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).endswith("add_node")
        and isinstance(node.args[0], ast.Constant)
    ]
    assert set(map(str, added)) == nodes
    assert {name for name in added if added.count(name) > 1} == {"approve", "deploy"}, "which both graphs have"


def test_the_command_line_starts_without_what_is_heavy() -> None:
    code = f"import sys, corral.cli.main; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1", "example.com"])
async def test_no_test_leaves_this_machine(host: str) -> None:
    url = f"http://[{host}]:9/" if ":" in host else f"http://{host}:9/"
    with pytest.raises(NetworkRefused, match="tests have no network"):
        httpx.get(url, trust_env=False)
    with pytest.raises(NetworkRefused, match="tests have no network"):
        await asyncio.open_connection(host, 9)


def test_a_wheel_holds_every_file_of_the_packages() -> None:
    """The patterns of pyproject.toml reach every file that the code reads from its packages, and every module."""
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    patterns = [pattern.removeprefix("**/") for pattern in setuptools["package-data"]["*"]]
    included = setuptools["packages"]["find"]["include"]
    for package in (name for name in (*MAY_IMPORT, "seeds") if (ROOT / name).is_dir()):
        assert f"{package}*" in included
        assert all((found.parent / "py.typed").exists() for found in (ROOT / package).rglob("__init__.py"))
        for path in (ROOT / package).rglob("*"):
            if path.is_file() and path.parent.name != "__pycache__":
                packaged = (path.parent / "__init__.py").exists() if path.suffix == ".py" else True
                assert packaged and (path.suffix == ".py" or any(fnmatch(path.name, p) for p in patterns)), path
