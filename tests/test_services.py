"""`darkpool up` says at once what it cannot work with, before it starts or makes anything."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

from darkpool import services
from darkpool.config import Settings
from darkpool.errors import ConfigError, DarkpoolError
from darkpool.progress import silent
from darkpool.services import up
from darkpool.store.database import StoreError


def refusal(folder: Path, flow: bool = False, **settings: dict[str, Any]) -> DarkpoolError:
    async def start() -> None:
        async with up(folder, Settings.load(folder, settings), silent, flow=flow):
            pytest.fail("it came up")

    with pytest.raises(DarkpoolError) as caught:
        asyncio.run(start())
    assert not (folder / "venue.json").exists()
    assert not list(folder.glob("member-*"))
    return caught.value


@pytest.mark.parametrize("above", [0, 1, 4, 17, 20])
def test_a_port_in_use_is_named(tmp_path: Path, above: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else's venue may listen there: it must not be taken for ours."""
    monkeypatch.setattr(services, "PORT_SECONDS", 0.2)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        error = refusal(tmp_path, api={"port": port - above})
    assert isinstance(error, ConfigError)
    assert error.message == f"port {port}: in use on 127.0.0.1"
    assert "--port" in error.hint


def test_a_database_that_is_away_is_named_and_its_password_is_not(tmp_path: Path) -> None:
    error = refusal(
        tmp_path, api={"port": 0}, database={"url": "postgresql://postgres:geheim@127.0.0.1:1/venue"}
    )
    assert isinstance(error, StoreError)
    assert "geheim" not in error.rendered()
    assert error.hint


def test_desks_need_a_chain_of_our_own(tmp_path: Path) -> None:
    error = refusal(tmp_path, flow=True, api={"port": 0}, chain={"rpc_url": "http://127.0.0.1:1"})
    assert error.message.startswith("flow: ")


def test_two_do_not_share_a_folder(tmp_path: Path) -> None:
    with services.locked(tmp_path):
        assert "a venue is up here already" in refusal(tmp_path).message
