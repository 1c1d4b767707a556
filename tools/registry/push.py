"""An adapter and its dataset on the Hugging Face hub, each with its card."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from state.errors import BadInput, EndpointRefused, EndpointUnreachable
from state.extras import demand_extra

DATASET_SUFFIX = "-dataset"


class Pushed(NamedTuple):
    """Where it is now."""

    model: str
    dataset: str
    """URLs."""


def demand_hub_name(name: str) -> None:
    """Refuse a name that the hub would not take, for the model or for its dataset.

    Raises:
        BadInput: one line that says why.
    """
    demand_extra("train", "the hub")
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]  # documented, and not in __all__

    if name.count("/") != 1:
        raise BadInput(f"{name!r} is no name on the hub: it needs an owner and a name, such as ada/kettles")
    for one in (name, name + DATASET_SUFFIX):
        try:
            validate_repo_id(one)
        except HFValidationError as error:
            raise BadInput(f"the hub takes no name like {one!r}: {' '.join(str(error).split())}") from error


def push(adapter: Path, dataset: Path, name: str) -> Pushed:
    """Upload an adapter's folder, and its dataset's as ``NAME-dataset``; new repositories are private.

    The cards are checked by the hub first: nothing is uploaded with a card that it does not take. It blocks.

    Args:
        adapter: a folder that stands alone.
        dataset: a dataset version's folder.
        name: on the hub, with its owner.

    Raises:
        BadInput: a name or a card that the hub does not take.
        EndpointRefused: the hub refuses the login, or the right to write there.
        EndpointUnreachable: it is out of reach.
    """
    demand_hub_name(name)
    from huggingface_hub import DatasetCard, HfApi, ModelCard

    api = HfApi()
    with hub_errors(name):
        ModelCard.load(adapter / "README.md").validate()
        DatasetCard.load(dataset / "README.md").validate()
        for kind, repository in (("model", name), ("dataset", name + DATASET_SUFFIX)):
            api.create_repo(repository, repo_type=kind, private=True, exist_ok=True)
        api.upload_folder(repo_id=name, folder_path=adapter, commit_message="Upload an adapter made by Corral")
        api.upload_folder(
            repo_id=name + DATASET_SUFFIX, repo_type="dataset", folder_path=dataset, commit_message="Upload its dataset"
        )
    return Pushed(f"{api.endpoint}/{name}", f"{api.endpoint}/datasets/{name}{DATASET_SUFFIX}")


@contextmanager
def hub_errors(name: str) -> Iterator[None]:
    """Turn the hub's errors into ours."""
    from huggingface_hub.errors import HfHubHTTPError

    try:
        yield
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        hint = "; log in with: hf auth login" if status in (401, 403) else ""
        raise EndpointRefused(f"the hub refuses {name}: {' '.join(str(error).split())}{hint}") from error
    except ValueError as error:
        raise BadInput(f"the hub does not take the card: {' '.join(str(error).split())}") from error
    except OSError as error:
        raise EndpointUnreachable(f"the hub is out of reach: {' '.join(str(error).split())}") from error
    except Exception as error:
        # Of the HTTP library that the hub's client uses; another version of it has another one.
        if not type(error).__module__.startswith(("httpx", "httpcore", "requests")):
            raise
        raise EndpointUnreachable(f"the hub is out of reach: {' '.join(str(error).split())}") from error
