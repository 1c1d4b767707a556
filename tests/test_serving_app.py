from pathlib import Path

from fastapi.testclient import TestClient

from serving.app import create_app
from tools.settings import Settings


def test_the_application_lives_and_is_ready(tmp_path: Path) -> None:
    with TestClient(create_app(lambda: Settings(home=tmp_path))) as client:
        assert client.get("/healthz").json() == {"status": "ok"}
        assert client.get("/readyz").json() == {"status": "ready"}


def test_it_is_not_ready_without_its_database(tmp_path: Path) -> None:
    with TestClient(create_app(lambda: Settings(home=tmp_path))) as client:
        for file in tmp_path.glob("corral.db*"):
            file.unlink()
        (tmp_path / "corral.db").write_bytes(b"no database at all" * 100)
        found = client.get("/readyz")
    assert found.status_code == 503
    assert "corral.db" not in found.text, "whoever asks needs no token"
