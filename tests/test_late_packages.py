"""Packages whose own code runs late: nothing is found otherwise, and nothing is imported that nobody asks for."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = {
    "__init__.py": "from .one import ONE\nfrom .two import TWO\nOWN = 'own'\n",
    "one.py": "from . import three\nONE = three.THREE - 2\n",
    "two.py": "import sys\nTWO = 2\n",
    "three.py": "THREE = 3\n",
}
BEGIN = """
import json, sys
from state import late_packages
late_packages.PACKAGES |= {"apackage"}
late_packages.import_late()
loaded = lambda: sorted(name for name in sys.modules if name.startswith("apackage"))
"""


def told(code: str, folder: Path) -> object:
    """Return what a program prints, which begins with late packages."""
    (folder / "apackage").mkdir(exist_ok=True)
    for name, text in PACKAGE.items():
        (folder / "apackage" / name).write_text(text)
    command = [sys.executable, "-c", f"{BEGIN}{code}"]
    path = f"{folder}:{ROOT}"
    done = subprocess.run(command, env={"PYTHONPATH": path}, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_module_of_a_late_package_comes_alone(tmp_path: Path) -> None:
    found = told("from apackage.one import ONE\nprint(json.dumps([ONE, loaded()]))", tmp_path)
    assert found == [1, ["apackage", "apackage.one", "apackage.three"]]


@pytest.mark.parametrize(
    "asked", ["from apackage import OWN", "import apackage; OWN = apackage.OWN", "from apackage import *"]
)
def test_a_name_of_the_package_is_found_by_its_own_code(asked: str, tmp_path: Path) -> None:
    found = told(f"{asked}\nimport apackage\nprint(json.dumps([OWN, apackage.TWO, apackage.ONE, loaded()]))", tmp_path)
    assert found == ["own", 2, 1, ["apackage", "apackage.one", "apackage.three", "apackage.two"]]


def test_what_a_package_has_not_is_an_error_as_ever(tmp_path: Path) -> None:
    code = "import apackage\nprint(json.dumps([hasattr(apackage, 'none'), apackage.__spec__.loader.name]))"
    assert told(code, tmp_path) == [False, "apackage"]


def test_code_that_fails_is_run_again_and_what_was_set_stays(tmp_path: Path) -> None:
    code = (
        "import os, apackage\n"
        "failed = []\n"
        "import pathlib; init = pathlib.Path(apackage.__file__); good = init.read_text()\n"
        "init.write_text(good + 'raise OSError(1)\\n')\n"
        "try: apackage.OWN\n"
        "except OSError: failed.append('OSError')\n"
        "init.write_text(good + '# mended\\n')\n"
        "late_packages.import_late()\n"
        "apackage.OWN = 'set'\n"
        "more = [type(one).__name__ for one in sys.meta_path].count('_LateFinder')\n"
        "print(json.dumps([failed, apackage.TWO, apackage.OWN, 'ONE' in dir(apackage), more]))"
    )
    assert told(code, tmp_path) == [["OSError"], 2, "set", True, 1]


def test_a_packages_files_are_found_before_its_code_has_run(tmp_path: Path) -> None:
    code = (
        "import pkgutil, importlib.resources as r, apackage\n"
        "found = [(r.files('apackage') / 'two.py').read_text(), pkgutil.get_data('apackage', 'three.py').decode()]\n"
        "print(json.dumps([found, loaded()]))"
    )
    assert told(code, tmp_path) == [[PACKAGE["two.py"], PACKAGE["three.py"]], ["apackage"]]


def test_the_orm_and_langsmiths_types_are_not_imported_to_work_on_a_run(tmp_path: Path) -> None:
    code = (
        "import graph.runs\n"
        "names = 'sqlalchemy.orm', 'langsmith.types.run', 'langgraph_sdk.client', 'ftfy', 'jinja2'\n"
        "here = [name for name in names if name in sys.modules]\n"
        "import langsmith.types, langgraph_sdk, sqlalchemy.ext.asyncio as s\n"
        "print(json.dumps([here, langgraph_sdk.get_client.__name__, s.AsyncSession.__name__]))"
    )
    assert told(code, tmp_path) == [[], "get_client", "AsyncSession"]


def test_no_module_of_a_late_package_has_the_name_of_something_else_in_it(tmp_path: Path) -> None:
    """Such a name would be the module before the package's code has run, and the other thing after."""
    code = (
        "import importlib, pkgutil, types\n"
        "found = []\n"
        "for name in sorted(late_packages.PACKAGES - {'apackage'}):\n"
        "    package = importlib.import_module(name)\n"
        "    dir(package)\n"
        "    for one in pkgutil.iter_modules(package.__path__):\n"
        "        if not isinstance(vars(package).get(one.name, sys), types.ModuleType): found.append(one.name)\n"
        "print(json.dumps(found))"
    )
    assert told(code, tmp_path) == []
