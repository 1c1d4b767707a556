"""The request from a file and from --set: what fits is taken, and what does not is one line that says where."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from state.compatibility import FORMER_NAMES, with_present_names
from state.errors import BadInput
from state.request import RunRequest
from tools.config import _tell, load_request


def file(folder: Path, text: str) -> Path:
    path = folder / "config.yaml"
    path.write_text(text)
    return path


def fault(path: Path | None, *settings: str) -> str:
    with pytest.raises(BadInput) as caught:
        load_request(path, settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def leaves(model: BaseModel, prefix: str = "") -> list[tuple[str, Any]]:
    """Return every key below a section, with its default."""
    found: list[tuple[str, Any]] = []
    for name in type(model).model_fields:
        value = getattr(model, name)
        found += leaves(value, f"{prefix}{name}.") if isinstance(value, BaseModel) else [(f"{prefix}{name}", value)]
    return found


OTHERS: dict[str, Any] = {
    "evaluate.ifeval": "input_data.jsonl",
    "name": "other",
    "sources.seeds": "elsewhere.jsonl",
    "sources.prompts": None,
    "sources.gold": "gold.jsonl",
    "sources.prompt_limit": 3,
    "models.base": "some/folder",
    "budget.dollars": 1.5,
    "generation.tasks_per_call": 12,
    "gates.preset": "modern",
    "gates.off": ["keyword"],
    "gates.severity": {"keyword": "low"},
    "gates.language": "da",
    "judge.accept": 80.0,
    "judge.task_type": "budgeting",
    "judge.weights": {"accuracy": 1, "compliance": 0, "brand_alignment": 0, "clarity": 0, "actionability": 0},
    "judge.dimensions": {"seasonality": {"weight": 0.2, "rubric": "90: fits.", "goal": ""}},
    "judge.expert": {"role": "planner", "goal": "Decide.", "backstory": "", "years_of_experience": 15},
    "judge.context": {"brand": "Acme", "avoid_terms": ["cheap"]},
    "judge.licence": 0.4,
    "judge.band": "measured",
    "review.unattended": "reject",
    "train.method": "full",
    "train.recipe": "sft+dpo",
    "train.scheduler": "linear",
    "train.accelerate_config": "fsdp.yaml",
    "train.quantise": "4bit",
    "train.max_hours": 2.5,
    "evaluate.limit": 5,
    "evaluate.primary": "rougeL",
    "deploy.registry": "adapters",
    "improve.rule": "interval",
    "train.report_to": "wandb",
    "improve.start": "base",
}


def other(key: str, default: Any) -> Any:
    """Return a value that fits the key and is not its default."""
    if key in OTHERS:
        return OTHERS[key]
    if key.endswith(".base_url"):
        return "http://127.0.0.1:8000/v1"
    if key.endswith(".model"):
        return "another-model"
    if key.endswith("_price"):
        return 0.5
    if key.endswith(".parameters"):
        return {"max_tokens": "max_completion_tokens", "seed": None, "temperature": 1}
    if key.endswith(".json"):
        return "object"
    if key.endswith(".batch"):
        return {"after": 20, "within": "2d"}
    if isinstance(default, bool):
        return not default
    return default + 1 if isinstance(default, int) else default * 0.75 + 0.05


def read(request: RunRequest, key: str) -> Any:
    value: Any = request.model_dump(mode="json")  # as YAML has it
    for part in key.split("."):
        value = value[part]
    return value


@pytest.mark.parametrize(
    ("key", "default"), leaves(RunRequest()), ids=lambda part: part if isinstance(part, str) else ""
)
def test_every_key_can_be_set_on_the_command_line_and_in_a_file(tmp_path: Path, key: str, default: Any) -> None:
    value = other(key, default)
    assert value != default
    by_setting = load_request(None, [f"{key}={yaml.safe_dump(value, default_flow_style=True)}"])
    nested: Any = value
    for part in reversed(key.split(".")):
        nested = {part: nested}
    by_file = load_request(file(tmp_path, yaml.safe_dump(nested)))
    assert read(by_setting, key) == value
    assert by_file == by_setting


def test_without_a_file_it_is_the_defaults(tmp_path: Path) -> None:
    assert load_request(None) == RunRequest()
    assert load_request(file(tmp_path, "# nothing is set\n")) == RunRequest()


def test_a_setting_stands_over_the_files_and_leaves_its_neighbours(tmp_path: Path) -> None:
    path = file(tmp_path, "train: {epochs: 3, batch_size: 4}\nunattended: true\n")
    request = load_request(path, ["train.epochs=5", "train.epochs=6", "judge.accept=80", "name=mine"])
    assert (request.train.epochs, request.train.batch_size, request.judge.accept) == (6, 4, 80)
    assert (request.name, request.unattended) == ("mine", True)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("trian: {epochs: 3}", "unknown key trian; did you mean train?"),
        ("train: {epoch: 3}", "unknown key train.epoch; did you mean train.epochs?"),
        ("models: {judge: {basurl: x}}", "unknown key models.judge.basurl; did you mean models.judge.base_url?"),
        ("budget: {zzzz: 3}", "unknown key budget.zzzz; known here: dollars"),
        ("7: 3", "unknown key 7; known here: name, seed, unattended, sources"),
        ("null: 3", "unknown key None; "),
    ],
)
def test_an_unknown_key_names_the_nearest_right_one(tmp_path: Path, text: str, said: str) -> None:
    path = file(tmp_path, text)
    assert fault(path).startswith(f"{path}: {said}")


def test_an_unknown_key_on_the_command_line_names_the_nearest_too() -> None:
    assert fault(None, "judge.acept=3") == "--set judge.acept: unknown key judge.acept; did you mean judge.accept?"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            ["judge.review_from=90"],
            "--set judge.review_from: judge: judge.review_from (90.0) must not be above judge.accept (70.0)",
        ),
        (
            ["gates.review_from=0.9"],
            "--set gates.review_from: gates: gates.review_from (0.9) must not be above gates.accept (0.8)",
        ),
        (
            ["judge.weights={accuracy: 1}"],
            "--set judge.weights: judge: judge.weights must name exactly accuracy, compliance",
        ),
        (
            ["judge.weights={accuracy: 1, compliance: 1, brand_alignment: 0, clarity: 0, actionability: 0}"],
            "--set judge.weights: judge: judge.weights must be at least 0 and sum to 1, not 2",
        ),
        (["train.epochs=0"], "--set train.epochs: Input should be greater than 0 (given: 0)"),
        (["train.epochs=many"], "--set train.epochs: Input should be a valid number"),
        (["train.learning_rate=.nan"], "--set train.learning_rate: Input should be"),
        (["budget.dollars=-1"], "--set budget.dollars: Input should be greater than or equal to 0 (given: -1)"),
        (["budget.dollars=.inf"], "--set budget.dollars: Input should be a finite number (given: inf)"),
        (["models.judge.input_price=.nan"], "--set models.judge.input_price: Input should be"),
        (["train=3"], "--set train: Input should be a valid dictionary or instance of Training"),
        (["name=Big Run"], "--set name: String should match pattern"),
        (["models.policy.base_url=localhost:8000"], "--set models.policy.base_url: String should match pattern"),
    ],
)
def test_a_value_that_does_not_fit_is_named(settings: list[str], said: str) -> None:
    assert fault(None, *settings).startswith(said)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("train.epochs", "--set takes key=value, such as train.epochs=3, not 'train.epochs'"),
        ("=3", "--set takes key=value"),
        ("train.epochs=-3", "--set train.epochs: Input should be greater than 0 (given: -3)"),
        ("train.epochs=[", "--set train.epochs: '[' is not a YAML value"),
        ("train.epochs.more=3", "--set train.epochs.more: 'epochs' is a value, not a section"),
        ("train..epochs=3", "--set train..epochs: unknown key train.; "),
        (".=3", "--set .: unknown key ; "),
    ],
)
def test_a_setting_that_cannot_be_read_is_named(tmp_path: Path, setting: str, said: str) -> None:
    path = file(tmp_path, "train: {epochs: 3}")
    assert fault(path, setting).startswith(said)


def test_what_a_file_says_wrong_is_not_blamed_on_a_setting(tmp_path: Path) -> None:
    path = file(tmp_path, "train: {epochs: 0}\njudge: {accept: 60}")
    assert fault(path, "name=mine").startswith(f"{path}: train.epochs: ")
    path = file(tmp_path, "judge: {accept: 60}")
    assert fault(path, "name=mine", "judge.review_from=65").startswith("--set judge.review_from: judge: ")


def test_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "none.yaml"
    assert fault(path) == f"there is no config file {path}; 'corral init' writes one"


def test_a_folder_or_other_bytes_are_no_config(tmp_path: Path) -> None:
    assert fault(tmp_path).startswith(f"the config file {tmp_path} cannot be read: ")
    path = tmp_path / "config.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    assert fault(path).startswith(f"the config file {path} cannot be read: ")
    path.write_bytes(b"name: a\x00b")
    assert fault(path).startswith(f"{path}")


@pytest.mark.parametrize(
    ("text", "line"), [("name: a\ntrain: {epochs: 3\njudge: 1\n", 3), ("a: b: c\n", 1), ("name: a\n\ttrain: 1\n", 2)]
)
def test_what_is_not_yaml_is_refused_with_its_line(tmp_path: Path, text: str, line: int) -> None:
    path = file(tmp_path, text)
    assert fault(path).startswith(f"{path}, line {line}: not valid YAML (")


@pytest.mark.parametrize("text", ["- train\n- judge\n", "just words\n", "3\n"])
def test_a_config_that_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    path = file(tmp_path, text)
    assert fault(path).startswith(f"{path}: a config is a mapping of sections, not ")


KEYS = st.sampled_from(["name", "seed", "train", "train.epochs", "judge.accept", "judge.weights", "models.base", "x"])
SETTINGS = st.builds("{}={}".format, KEYS, st.text(max_size=12)) | st.text(max_size=30)


@given(st.lists(SETTINGS, max_size=3))
def test_any_setting_is_taken_or_refused_in_one_line(settings: list[str]) -> None:
    try:
        load_request(None, settings)
    except BadInput as error:
        assert "\n" not in str(error)


YAML = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["train", "judge", "models", "policy", "epochs", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(YAML)
def test_any_file_is_taken_or_refused_in_one_line(tmp_path_factory: pytest.TempPathFactory, values: Any) -> None:
    path = file(tmp_path_factory.getbasetemp(), yaml.safe_dump(values))
    try:
        load_request(path)
    except BadInput as error:
        assert "\n" not in str(error)


def test_the_request_is_immutable_and_survives_the_store() -> None:
    with pytest.raises(ValueError, match="frozen"):
        RunRequest().name = "other"  # type: ignore[misc]  # the refusal is what is tested
    assert RunRequest.model_validate(RunRequest().model_dump(mode="json")) == RunRequest()


def test_a_model_without_a_url_is_on_the_named_server(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("models: {judge: {model: gpt-4o-mini}, policy: {model: mine, base_url: 'http://here/v1'}}\n")
    models = load_request(config, openai_base_url="http://there/v1").models
    assert models.judge.base_url == "http://there/v1"
    assert models.policy.base_url == "http://here/v1"
    assert models.generator.base_url == "embedded"


@pytest.mark.parametrize(
    ("given", "policy"),
    [
        ({}, ("weights", "embedded", 160)),
        ({"base": "/models/own"}, ("weights", "/models/own", 160)),
        ({"base": "/models/own", "policy": {"concurrency": 40}}, ("weights", "/models/own", 40)),
        ({"base": "/models/own", "policy": {"model": "/adapters/last"}}, ("weights", "/adapters/last", 160)),
        ({"base": "/models/own", "policy": {"base_url": "http://here/v1", "model": "m"}}, ("http://here/v1", "m", 8)),
        ({"policy": {"base_url": "embedded"}}, ("embedded", "smollm2-135m-instruct", 8)),
    ],
)
def test_the_base_itself_answers_where_no_server_does(given: dict[str, object], policy: tuple[str, str, int]) -> None:
    found = RunRequest.model_validate({"models": given}).models.policy
    assert (found.base_url, found.model, found.concurrency) == policy


def test_a_policy_is_a_mapping() -> None:
    with pytest.raises(BadInput, match=r"models\.policy"):
        load_request(None, ["models.policy=mine"])
    with pytest.raises(BadInput, match=r"models\.policy\.model"):
        load_request(None, ["models.base=7"])


@pytest.fixture
def untold() -> None:
    """Forget which former names were told of, since each is told once a process."""
    _tell.cache_clear()


@pytest.mark.usefixtures("untold")
def test_former_names_are_read_everywhere_and_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    present = load_request(None, ["judge.review_from=40", "gates.review_from=0.1"])
    assert caplog.messages == []
    path = file(tmp_path, "judge: {review: 40}\ngates: {review: 0.1}\n")
    assert load_request(path) == load_request(None, ["judge.review=40", "gates={review: 0.1}"]) == present
    assert caplog.messages == [f"{name}.review is called {name}.review_from now" for name in ("judge", "gates")]
    assert load_request(path, ["judge.review=41"]).judge.review_from == 41
    assert len(caplog.messages) == 2
    assert RunRequest.model_validate({"judge": {"review": 40}, "gates": {"review": 0.1}}) == present


def test_a_former_name_beside_the_present_one_is_refused(tmp_path: Path) -> None:
    assert "unknown key judge.review" in fault(file(tmp_path, "judge: {review: 40, review_from: 50}\n"))
    assert load_request(None, ["review.page=5"]).review.page == 5, "the section keeps its name"


@pytest.mark.usefixtures("untold")
def test_a_setting_that_is_gone_is_passed_over_and_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(FORMER_NAMES, "Training", {"warmth": None})
    assert load_request(None, ["train.warmth=3"]) == RunRequest()
    assert caplog.messages == ["train.warmth is no setting any more, and is passed over"]


NAMES = st.sampled_from(["review", "review_from", "accept", "other", 7])


@given(st.dictionaries(NAMES, st.integers()))
def test_present_names_lose_nothing_and_stay(values: dict[Any, int]) -> None:
    found = with_present_names("Judging", values)
    assert sorted(found.values()) == sorted(values.values())
    assert with_present_names("Judging", found) == found
    assert with_present_names("Reviewing", values) is values
