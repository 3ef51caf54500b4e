"""The officer's commands over a real socket; docs/compliance-policy.md walks through them as processes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from api.app import create_app
from darkpool.cli.app import app
from darkpool.errors import ConfigError, OrderRefused
from tests.client.serving import served
from tests.compliance.conftest import Desk
from tests.compliance.desk_support import DeskVenue
from tests.compliance.policy_support import toml


class Command:
    """Runs commands with the venue's folder; their output, or the error they raised."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, *arguments: str | Path) -> str:
        texts = [*map(str, arguments), "--data", str(self._folder)]
        done = CliRunner().invoke(app, texts, catch_exceptions=True)
        if done.exception is not None:
            raise done.exception
        return done.stdout

    def json(self, *arguments: str | Path) -> Any:  # noqa: ANN401
        return json.loads(self(*arguments, "--json"))


def playing(desk: Desk, work: Callable[[DeskVenue, Command], None]) -> None:
    async def scenario(v: DeskVenue) -> None:
        async with served(create_app(v.plain.venue, office=v.office)) as url:
            v.write_folder(url)
            await asyncio.to_thread(work, v, Command(v.plain.folder))

    desk(scenario)


def test_apply_asks_and_tells_what_changes(desk: Desk, tmp_path: Path) -> None:
    def work(v: DeskVenue, run: Command) -> None:
        folder = tmp_path / "policy"
        folder.mkdir()
        value = v.document()
        value["policy"]["version"] = 41
        (folder / "policy.toml").write_bytes(toml(value))
        with pytest.raises(ConfigError, match="no terminal"):
            run("policy", "apply", folder)
        done = run.json("policy", "apply", folder, "--yes")
        assert (done["policy"]["version"], done["waiting"]) == (41, [])
        status = run.json("policy", "status")
        assert (status["version"], status["blocks"]) == (41, [])
        assert "policy test version 41" in run("policy", "status")
        (folder / "policy.toml").write_bytes(toml(value).replace(b"version = 41", b"version = 0"))
        with pytest.raises(ConfigError, match=r"line 3: .*version"):
            run("policy", "apply", folder, "--yes")
        unproven = v.document(auditor=[v.auditor("sec")])
        unproven["auditor"][0].pop("proof")
        unproven["disclosure"] = [{"id": "r", "reason": "R.", "auditors": ["sec"], "visible_after_hours": 1}]
        (folder / "policy.toml").write_bytes(toml(unproven))
        with pytest.raises(OrderRefused, match="no proof that anybody holds its key") as refused:
            run("policy", "apply", folder, "--yes")
        assert refused.value.code == "policy-invalid"
        assert run.json("policy", "status")["version"] == 41

    playing(desk, work)


def test_blocks_from_the_command_line(desk: Desk) -> None:
    def work(_: DeskVenue, run: Command) -> None:
        account = "0x" + "ab" * 20
        assert run.json("operator", "block", "account", account, "court order")["released"] == 0
        (found,) = run.json("operator", "blocks")
        assert (found["kind"], found["subject"].lower(), found["reason"]) == (
            "account",
            account,
            "court order",
        )
        assert max(map(len, run("operator", "blocks").splitlines())) <= 80
        with pytest.raises(OrderRefused, match="kind: not one of"):
            run("operator", "block", "venue", "all", "panic")
        with pytest.raises(OrderRefused, match="no jurisdiction US is blocked"):
            run("operator", "unblock", "jurisdiction", "US", "lifted")
        assert "0 blocks left" in run("operator", "unblock", "account", account, "lifted")
        with pytest.raises(OrderRefused, match="market: no such name"):
            run("operator", "mass-cancel", "WBTC-USDC", "why")
        with pytest.raises(ConfigError, match="with its segment"):
            run("operator", "mass-cancel", "WETH-USDC/us", "why")
        assert run("operator", "mass-cancel", "WETH-USDC", "why") == "0 orders released\n"

    playing(desk, work)
