"""What Corral uses of other libraries beyond their documented parts: each is named, and missed by its name.

A new version may move such a part without a word. ``PARTS`` lists them all; the second half of this file finds private
imports, attributes, overridden methods and patches in the source, so that a new one must be listed here.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from tests.test_architecture import MAY_IMPORT, ROOT, every_source, name_of, parse, sources

WATCHED = ("accelerate", "crewai", "crewai_core", "peft", "transformers", "trl")
"""Libraries that move their modules: what is imported from inside of them is listed too."""
DOCUMENTED_BASES = ("pydantic", "pydantic_settings", "typing_extensions", "torch")
"""Libraries whose classes are made to be subclassed, and say how."""


class Part(NamedTuple):
    """One part of another library."""

    path: str
    """``module:name`` or ``module:Class.member``."""
    user: str
    """The file of ours that uses it."""
    parameters: tuple[str, ...] = ()
    """Names that an override or a call of ours relies on."""


PARTS = (
    Part("fastapi.routing:APIRoute.get_route_handler", "serving/chat/errors.py"),
    Part("prometheus_client.registry:Collector.collect", "serving/metrics.py"),
    Part("starlette.responses:Response.media_type", "serving/chat/streaming.py"),
    Part("crewai:Agent.create_agent_executor", "tools/judging/crew.py"),
    Part("crewai:Agent.aexecute_task", "tools/judging/crew.py", ("task", "context", "tools")),
    Part("crewai.agent.utils:format_task_with_context", "tools/judging/crew.py", ("task_prompt", "context")),
    Part("crewai.utilities.prompts:Prompts", "tools/judging/crew.py"),
    Part("crewai.utilities.prompts:Prompts.task_execution", "tools/judging/crew.py"),
    Part("crewai.task:OpenAICompletion", "tools/judging/crewai_import.py"),
    Part("crewai.llms.base_llm:BaseLLM", "tools/judging/crew.py"),
    Part("crewai.llms.base_llm:BaseLLM.call", "tools/judging/crew.py", ("messages",)),
    Part("crewai.llms.base_llm:BaseLLM.acall", "tools/judging/crew.py", ("messages", "from_task", "from_agent")),
    Part("crewai:Crew._task_output_handler", "tools/judging/crewai_quiet.py"),
    Part("crewai:Agent._use_trained_data", "tools/judging/crewai_quiet.py", ("task_prompt",)),
    Part("crewai.llms.base_llm:BaseLLM", "tools/crews/llms.py"),
    Part("crewai.llms.base_llm:BaseLLM.call", "tools/crews/llms.py", ("messages", "from_task", "from_agent")),
    Part("crewai.tools:BaseTool", "tools/crews/building.py"),
    Part("crewai.tools:BaseTool", "graph/crews/crewai_tools.py"),
    Part("crewai.tools:BaseTool._run", "graph/crews/crewai_tools.py"),
    Part("crewai.tools:BaseTool._arun", "graph/crews/crewai_tools.py"),
    Part("crewai.tools:BaseTool.args_schema", "graph/crews/crewai_tools.py"),
    Part("langchain_core.tools:StructuredTool._parse_input", "graph/crews/crewai_tools.py"),
    Part("crewai.tools:BaseTool._validate_kwargs", "graph/crews/crewai_tools.py", ("kwargs",)),
    Part("crewai.tools:BaseTool.to_structured_tool", "graph/crews/crewai_tools.py"),
    Part("crewai.tools.structured_tool:CrewStructuredTool", "graph/crews/crewai_tools.py"),
    Part("crewai.tools.structured_tool:CrewStructuredTool._parse_args", "graph/crews/crewai_tools.py", ("raw_args",)),
    Part("crewai.tools.structured_tool:CrewStructuredTool._original_tool", "graph/crews/crewai_tools.py"),
    Part("peft.utils.constants:DUMMY_TARGET_MODULES", "tools/training/trainable.py"),
    Part("crewai:Agent.system_template", "tools/judging/crew.py"),
    Part("crewai:Agent.prompt_template", "tools/judging/crew.py"),
    Part("crewai:Task.prompt", "tools/judging/crew.py"),
    Part("crewai:Task.response_model", "tools/judging/crew.py"),
    Part("crewai.events.event_bus:crewai_event_bus", "tools/judging/crewai_events.py"),
    Part("crewai.events.event_bus:crewai_event_bus.emit", "tools/judging/crewai_events.py", ("source", "event")),
    Part("crewai.utilities:file_store", "tools/judging/crewai_events.py"),
    Part("crewai.utilities:file_store._run_sync", "tools/judging/crewai_events.py"),
    Part("crewai_core:settings.DEFAULT_CONFIG_PATH", "tools/judging/crewai_import.py"),
    Part("crewai_core:token_manager.TokenManager._get_secure_storage_path", "tools/judging/crewai_import.py"),
    Part("datasets:Dataset._get_cache_file_path", "tools/training/dpo.py", ("fingerprint",)),
    Part("langdetect:DetectorFactory.seed", "tools/checks/ifeval.py"),
    Part("aiosqlite:Connection._running", "state/sqlite_connection.py"),
    Part("aiosqlite:Connection._stop_running", "state/sqlite_connection.py"),
    Part("aiosqlite:Connection._tx", "state/sqlite_connection.py"),
    Part("aiosqlite:Connection._conn", "state/sqlite_connection.py"),
    *(
        Part(f"langgraph.checkpoint.{library}:{saver}.{name}", f"state/{file}.py", taken)
        for library, saver, file in (
            ("sqlite.aio", "AsyncSqliteSaver", "fenced_savers"),
            ("postgres.aio", "AsyncPostgresSaver", "postgres_savers"),
        )
        for name, taken in (
            ("aput", ("config", "checkpoint", "metadata", "new_versions")),
            ("aput_writes", ("config", "writes", "task_id", "task_path")),
        )
    ),
    Part("langgraph.checkpoint.sqlite.aio:AsyncSqliteSaver.setup", "state/fenced_savers.py"),
    Part("langgraph.checkpoint.postgres.aio:AsyncPostgresSaver._cursor", "state/checkpoints.py"),
    Part("langgraph.checkpoint.postgres.aio:AsyncPostgresSaver._cursor", "state/postgres_savers.py"),
    Part("langgraph.checkpoint.serde.jsonplus:JsonPlusSerializer.with_msgpack_allowlist", "state/checkpoints.py"),
    Part("langsmith.run_trees:_CLIENT", "tools/endpoint/observing.py"),
    Part("langsmith:Client._use_daemon_threads", "tools/endpoint/observing.py"),
    Part("langsmith:Client.create_run", "tools/endpoint/observing.py"),
    Part("langsmith:Client.update_run", "tools/endpoint/observing.py"),
    Part("nltk.tokenize.punkt:PunktLanguageVars.re_boundary_realignment", "tools/checks/ifeval.py"),
    Part("nltk.tokenize.punkt:PunktLanguageVars._re_non_word_chars", "tools/checks/ifeval.py"),
    Part("accelerate.state:AcceleratorState", "tools/training/probe.py"),
    Part("accelerate.utils:DistributedType", "tools/training/probe.py"),
    Part("transformers.cache_utils:DynamicCache", "tools/weights/likelihoods.py"),
    Part("transformers.cache_utils:DynamicLayer", "tools/weights/likelihoods.py"),
    Part("peft.tuners.tuners_utils:BaseTunerLayer", "tools/training/faster_on_cpu.py"),
    Part("peft.tuners.tuners_utils:BaseTunerLayer.cast_input_dtype_enabled", "tools/training/faster_on_cpu.py"),
    Part("peft.tuners.tuners_utils:BaseTunerLayer", "tools/weights/loading.py"),
    Part("transformers.cache_utils:DynamicLayer", "tools/weights/decodable.py"),
    Part("transformers.cache_utils:DynamicSlidingWindowLayer", "tools/weights/decodable.py"),
    Part("transformers.cache_utils:DynamicLayer", "tools/weights/slots.py"),
    Part("transformers.cache_utils:DynamicLayer.update", "tools/weights/slots.py", ("key_states", "value_states")),
    Part("transformers.cache_utils:DynamicLayer.get_seq_length", "tools/weights/slots.py"),
    Part("transformers.cache_utils:DynamicLayer.is_initialized", "tools/weights/slots.py"),
    Part("transformers:TrainerCallback.on_train_begin", "tools/training/probe.py", ("args", "state", "control")),
    Part("transformers:TrainerCallback.on_train_begin", "tools/training/trainers.py", ("args", "state", "control")),
    Part("transformers:TrainerCallback.on_step_end", "tools/training/probe.py", ("args", "state", "control")),
    Part("transformers:TrainerCallback.on_step_end", "tools/training/trainers.py", ("args", "state", "control")),
    Part("transformers:TrainerCallback.on_log", "tools/training/trainers.py", ("args", "state", "control")),
    Part("transformers:TrainerCallback.on_save", "tools/training/trainers.py", ("args", "state", "control")),
    Part("transformers:Trainer._get_train_sampler", "tools/training/trainers.py", ("train_dataset",)),
    Part("rich.console:Console._render_buffer", "corral/cli/terminal.py", ("buffer",)),
    Part("rich.console:Console.render_str", "corral/cli/terminal.py", ("text",)),
    Part("transformers.quantizers:AutoHfQuantizer.from_config", "tools/training/trainable.py"),
    Part("transformers.quantizers:AutoHfQuantizer", "tools/training/trainable.py"),
    Part("transformers.utils:logging", "tools/weights/loading.py"),
    Part("trl:DPOTrainer._precompute_ref_logps", "tools/training/dpo.py", ("dataset",)),
    Part("trl.trainer.utils:FusedCausalLMOutput", "tools/training/faster_on_cpu.py"),
    Part("trl.trainer.utils:FusedCausalLMOutput.log_probs", "tools/training/faster_on_cpu.py"),
    Part("trl.trainer.utils:FusedCausalLMOutput.is_top1", "tools/training/faster_on_cpu.py"),
    Part("trl.trainer.utils:FusedCausalLMOutput.label_mask", "tools/training/faster_on_cpu.py"),
    Part("trl.trainer.utils:FusedCausalLMOutput.entropy", "tools/training/faster_on_cpu.py"),
    Part("trl.trainer.utils:FusedCausalLMOutput.mean_logits", "tools/training/faster_on_cpu.py"),
    Part("trl.trainer.utils:FusedCausalLMOutput.log_sum_sq_probs", "tools/training/faster_on_cpu.py"),
)


def find(part: Part) -> Any:
    """Return the part; fail with its name where it is not there any more.

    A field of a pydantic model or a dataclass, and an attribute that a method sets, is found by its name alone.
    """
    module, _, path = part.path.partition(":")
    *way, last = path.split(".")
    gone = f"{part.path}, which {part.user} uses, is not in the installed version any more"
    try:
        place: Any = importlib.import_module(module)
        for name in way:
            inner = getattr(place, name, None)
            place = inner if inner is not None else importlib.import_module(f"{place.__name__}.{name}")
        if hasattr(place, last):
            return getattr(place, last)
        if inspect.ismodule(place):
            return importlib.import_module(f"{place.__name__}.{last}")
    except (ImportError, AttributeError) as error:
        pytest.fail(f"{gone} ({error})")
    declared = {
        *getattr(place, "model_fields", ()),
        *getattr(place, "__private_attributes__", ()),
        *getattr(place, "__annotations__", ()),
        *getattr(place, "__dataclass_fields__", ()),
    }
    assert last in declared or _in_its_source(place, last), gone
    return None


def _in_its_source(place: Any, name: str) -> bool:
    """Whether a class's own module sets the attribute, or asks for it by its name."""
    source = inspect.getsource(inspect.getmodule(place) or place)
    return any(use in source for use in (f"self.{name} = ", f"self.{name}: ", f'getattr(self, "{name}"'))


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.path)
def test_a_private_part_is_where_it_was(part: Part) -> None:
    found = find(part)
    if part.parameters:
        known = inspect.signature(found).parameters
        anything = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in known.values())
        missing = [name for name in part.parameters if name not in known and not anything]
        assert missing == [], f"{part.path}, which {part.user} uses, does not take {', '.join(missing)} any more"


@pytest.mark.parametrize(
    "path", ["trl:DPOTrainer._gone", "trl.nowhere:X", "crewai:Crew._gone", "crewai.utilities:file_store._gone"]
)
def test_a_part_that_has_moved_is_told_by_its_name(path: str) -> None:
    with pytest.raises((pytest.fail.Exception, AssertionError), match=f"{path}, which tools/x.py uses"):
        find(Part(path, "tools/x.py"))


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.path)
def test_a_listed_part_is_still_used(part: Part) -> None:
    assert part.path.replace(":", ".").rpartition(".")[2] in (ROOT / part.user).read_text(encoding="utf-8")


LISTED = {(part.user, part.path.replace(":", ".").rpartition(".")[2]) for part in PARTS}


@cache
def own_names() -> frozenset[str]:
    """Return every name that our own code gives: functions, classes, variables, attributes of self."""
    found = set()
    for path in sources():
        for node in ast.walk(parse(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                found.add(node.name)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                found.add(node.id)
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and _root(node) in ("self", "cls"):
                found.add(node.attr)
    return frozenset(found)


def foreign_names(path: Path) -> dict[str, str]:
    """Return what a file imports from other libraries: the name that it has here, and where it comes from."""
    found = {}
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.ImportFrom):
            found |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.asname or alias.name.split(".")[0]: alias.name for alias in node.names}
    return {name: where for name, where in found.items() if _library(where)}


def _library(where: str) -> bool:
    return where.split(".")[0] not in {*MAY_IMPORT, *sys.stdlib_module_names, "__future__"}


def _root(node: ast.expr) -> str:
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def private_imports(path: Path) -> Iterator[str]:
    """Names that are imported from inside a watched library, or that begin with an underscore."""
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.ImportFrom) and node.module and _library(node.module):
            inside = node.module.split(".")[0] in WATCHED and "." in node.module
            for alias in node.names:
                if inside or any(part.startswith("_") for part in (*node.module.split("."), alias.name)):
                    yield alias.name


def private_attributes(path: Path) -> Iterator[str]:
    """Attributes with an underscore that are not ours."""
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
            of_stdlib = _root(node) in ("os", "sys") or node.attr == "_asdict"  # os._exit and namedtuples: documented
            if node.attr not in own_names() and not of_stdlib:
                yield node.attr


def overridden(path: Path) -> Iterator[str]:
    """Methods and attributes with which a class of ours overrides those of a library's class."""
    known, classes = foreign_names(path), {n.name: n for n in ast.walk(parse(path)) if isinstance(n, ast.ClassDef)}
    for node in classes.values():
        bases = [known[ast.unparse(base)] for base in node.bases if ast.unparse(base) in known]
        bases = [base for base in bases if not base.startswith(DOCUMENTED_BASES)]
        for base in bases:
            module, _, name = base.rpartition(".")
            theirs = getattr(importlib.import_module(module), name)
            for member in _members(node):
                declared = {*getattr(theirs, "model_fields", ()), *getattr(theirs, "__private_attributes__", ())}
                if not member.startswith("__") and (hasattr(theirs, member) or member in declared):
                    yield member


def _members(node: ast.ClassDef) -> Iterator[str]:
    for inner in node.body:
        if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef):
            yield inner.name
        elif isinstance(inner, ast.AnnAssign) and isinstance(inner.target, ast.Name):
            yield inner.target.id
        elif isinstance(inner, ast.Assign):
            yield from (target.id for target in inner.targets if isinstance(target, ast.Name))


def patched(path: Path) -> Iterator[str]:
    """Attributes of what is imported from a library that are set from here."""
    known = foreign_names(path)
    for node in ast.walk(parse(path)):
        targets = node.targets if isinstance(node, ast.Assign) else []
        yield from (t.attr for t in targets if isinstance(t, ast.Attribute) and _root(t) in known)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "setattr" and _root(node.args[0]) in known:
            yield str(node.args[1].value) if isinstance(node.args[1], ast.Constant) else ast.unparse(node.args[1])


@every_source
def test_every_private_part_is_listed(path: Path) -> None:
    used = {*private_imports(path), *private_attributes(path), *overridden(path), *patched(path)}
    missing = sorted(name for name in used if (name_of(path), name) not in LISTED)
    assert missing == [], f"{name_of(path)} uses {', '.join(missing)} of a library: add it to PARTS"


def test_every_dependency_has_bounds_and_a_pin_that_is_tested() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().split())
    pinned = {_plain(name): Version(version) for name, version in pins.items()}
    private = {_plain(part.path.split(":")[0].split(".")[0]) for part in PARTS} - {"langgraph", "crewai-core"}
    for text in [*project["dependencies"], *(t for extra in project["optional-dependencies"].values() for t in extra)]:
        one = Requirement(text)
        if _plain(one.name) == "corral":
            continue
        version = pinned[_plain(one.name)]
        assert version in one.specifier, f"{text}: CI installs {version}"
        lower = [Version(s.version) for s in one.specifier if s.operator in (">=", "==")]
        assert lower and lower[0].release[:2] == version.release[:2], f"{text}: the lower bound is not what CI installs"
        capped = any(s.operator in ("<", "==") for s in one.specifier)
        assert capped or _plain(one.name) not in private - {"langdetect"}, f"{text}: private parts of it are used"


def _plain(name: str) -> str:
    return name.lower().replace("_", "-")
