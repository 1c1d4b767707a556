"""A base that cannot be trained is refused when the run is created, by one rendered row, before a call is paid for."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from graph.preflight import check_training
from state.errors import BadInput
from state.request import RunRequest
from tests.tiny_model import tiny_model
from tools.training import trainable
from tools.training.trainable import Trainable, demand_positions, examine, examined
from tools.weights.embedded import POSITIONS


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("sound"))


@pytest.fixture
def base(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "base"))


def edit(file: str, **values: Any) -> Callable[[Path], None]:
    def change(base: Path) -> None:
        kept = json.loads((base / file).read_text())
        kept = {k: v for k, v in (kept | values).items() if v is not None}
        (base / file).write_text(json.dumps(kept))

    return change


def template(text: str) -> Callable[[Path], None]:
    return lambda base: (base / "chat_template.jinja").write_text(text) and None


def cut_short(base: Path) -> None:
    file = base / "model.safetensors"
    file.write_bytes(file.read_bytes()[:100])


def without_a_shard(base: Path) -> None:
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model.safetensors"}}
    (base / "model.safetensors.index.json").write_text(json.dumps(index))


def test_a_sound_base_is_accepted_and_its_positions_are_told(base: Path) -> None:
    assert examine(base) == Trainable(positions=2048)
    template("")(base)
    (base / "chat_template.jinja").unlink()
    assert examine(base).fault == "", "a base without a template is trained in Alpaca's format"


@pytest.mark.parametrize(
    ("break_it", "words"),
    [
        (template("{{ raise_exception('only one system turn, please') }}"), "only one system turn, please"),
        (template("{% for m in messages %}{{ m.content }}"), "does not render a prompt"),
        (template("{% for m in messages %}{{ m.content }}\n{% endfor %}"), "does not end an answer"),
        (
            template("{{ messages | length }}{% for m in messages %}{{ m.content }}<|im_end|>{% endfor %}"),
            "differently",
        ),
        (edit("config.json", vocab_size=1000), "embeddings for 1000 tokens"),
        (edit("config.json", model_type="of-tomorrow", architectures=["X"]), "configuration cannot be read"),
        (edit("config.json", model_type="t5", architectures=["T5"]), "no causal language model"),
        (edit("tokenizer_config.json", eos_token=None, pad_token=None), "end"),
        (lambda base: (base / "tokenizer.json").write_text("{}") and None, "tokenizer cannot be loaded"),
        (cut_short, "model.safetensors is broken or cut short"),
        (without_a_shard, "names 1 files that are not there, such as model-00001-of-00002.safetensors"),
    ],
)
def test_what_training_would_fail_at_is_found(base: Path, break_it: Callable[[Path], None], words: str) -> None:
    break_it(base)
    fault = examine(base).fault
    assert words in fault and "\n" not in fault


def test_rows_longer_than_the_base_can_read_are_refused() -> None:
    settings = RunRequest.model_validate({"train": {"max_length": 4096}}).train
    demand_positions("m", 4096, settings)
    demand_positions("m", None, settings)
    with pytest.raises(BadInput, match=r"train\.max_length: 4096 is more than the 2048 tokens"):
        demand_positions("m", 2048, settings)
    with pytest.raises(BadInput, match=f"more than the {POSITIONS} tokens that embedded can read"):
        check_training(RunRequest.model_validate({"train": {"max_length": 9000}}), Path("/nowhere"))


def test_a_base_is_examined_once_in_a_process_of_its_own(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = RunRequest.model_validate({"models": {"base": str(base)}})
    check_training(request, tmp_path)
    monkeypatch.setattr(trainable.subprocess, "run", None)
    assert examined(base, tmp_path).fault == ""
    check_training(request, tmp_path)
    too_long = request.model_copy(update={"train": request.train.model_copy(update={"max_length": 4096})})
    with pytest.raises(BadInput, match="4096 is more than the 2048"):
        check_training(too_long, tmp_path)
