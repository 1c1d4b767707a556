"""The settings: names, defaults, refusals, and no secret in any text."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from state.errors import BadInput
from tools.settings import Settings, load_settings


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for field in Settings.model_fields.values():
        alias = field.validation_alias
        for name in [alias] if isinstance(alias, str) else getattr(alias, "choices", []):
            monkeypatch.delenv(str(name), raising=False)
    monkeypatch.chdir(tmp_path)


def test_defaults_are_absolute_and_in_the_working_directory(tmp_path: Path) -> None:
    settings = load_settings()
    assert settings.home == tmp_path / ".corral"
    assert settings.database_url == f"sqlite:///{tmp_path}/.corral/corral.db"
    assert settings.cache.is_absolute()
    assert settings.api_keys == ()
    assert settings.openai_base_url == "https://api.openai.com/v1"
    assert not settings.langsmith_tracing


def test_the_reviewer_is_the_login_name_unless_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "ada")
    assert load_settings().reviewer == "ada"
    monkeypatch.setenv("CORRAL_REVIEWER", "grace")
    assert load_settings().reviewer == "grace"


def test_the_database_follows_the_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CORRAL_HOME", "elsewhere")
    assert load_settings().database_url == f"sqlite:///{tmp_path}/elsewhere/corral.db"
    monkeypatch.setenv("CORRAL_DATABASE_URL", "postgresql://db/corral")
    assert load_settings().database_url == "postgresql://db/corral"


def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CORRAL_HOME", "")
    monkeypatch.setenv("OPENAI_API_KEY", "")
    assert load_settings().home == tmp_path / ".corral"
    assert load_settings().api_keys == ()


def test_several_keys_are_split_and_never_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-first, sk-second,")
    monkeypatch.setenv("LANGSMITH_API_KEY", "ls-secret")
    settings = load_settings()
    assert settings.api_keys == ("sk-first", "sk-second")
    shown = f"{settings} {settings!r} {settings.model_dump()} {settings.model_dump_json()}"
    assert "sk-" not in shown and "ls-secret" not in shown


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("CORRAL_HOEM", "CORRAL_HOME"),
        ("CORRAL_DATABASE", "CORRAL_DATABASE_URL"),
        ("CORRAL_LOGLEVEL", "CORRAL_LOG_LEVEL"),
    ],
)
def test_an_unknown_variable_of_ours_names_the_nearest_right_one(
    monkeypatch: pytest.MonkeyPatch, wrong: str, right: str
) -> None:
    monkeypatch.setenv(wrong, "x")
    with pytest.raises(BadInput) as caught:
        load_settings()
    assert str(caught.value) == f"environment: {wrong} is not a setting of Corral; did you mean {right}?"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CORRAL_LOG_LEVEL", "loud"),
        ("CORRAL_HOME", "~no-such-person-anywhere/x"),
        ("LANGSMITH_TRACING", "1"),
        ("OPENAI_BASE_URL", "api.openai.com"),
    ],
)
def test_a_value_that_does_not_fit_is_one_line_that_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(BadInput) as caught:
        load_settings()
    assert str(caught.value).startswith(f"environment: {name}: ")
    assert "\n" not in str(caught.value)


def test_the_older_langchain_names_work_and_the_newer_win(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGCHAIN_TRACING_V2", "true")
    monkeypatch.setenv("LANGCHAIN_API_KEY", "old")
    monkeypatch.setenv("LANGCHAIN_PROJECT", "old-project")
    settings = load_settings()
    assert settings.langsmith_tracing and settings.langsmith_project == "old-project"
    monkeypatch.setenv("LANGSMITH_API_KEY", "new")
    monkeypatch.setenv("LANGSMITH_TRACING_V2", "false")
    settings = load_settings()
    assert settings.langsmith_api_key is not None and settings.langsmith_api_key.get_secret_value() == "new"
    assert not settings.langsmith_tracing


def test_settings_are_closed_and_immutable() -> None:
    with pytest.raises(ValidationError, match="Extra inputs"):
        Settings.model_validate({"colour": "blue"})
    with pytest.raises(ValidationError, match="frozen"):
        load_settings().reviewer = "someone"  # type: ignore[misc]  # the refusal is what is tested


def test_every_setting_says_what_it_is() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []
