"""`darkpool devnet up` on a real anvil: set up once, kept, and used by `darkpool up`."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from darkpool import devnet
from darkpool.chain import Chain
from darkpool.config import Settings
from darkpool.deployment import Deployment
from darkpool.devnet_up import Devnet, Grant, devnet_up
from darkpool.errors import ConfigError, DarkpoolError
from darkpool.progress import silent
from darkpool.types import address_hex, parse_address
from tests.anvil import anvil_path

DARKPOOL = Path(sys.executable).with_name("darkpool")
TRADER = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
OTHER = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"
SETTINGS = {"venue": {"profile": "insecure-test"}}


@pytest.fixture(autouse=True)
def binary() -> None:
    anvil_path()  # or skip


def refusal(
    folder: Path, settings: Settings, grants: Sequence[Grant] = (), port: int | None = None
) -> DarkpoolError:
    async def start() -> None:
        async with devnet_up(folder, settings, grants, silent, port):
            pytest.fail("it came up")

    with pytest.raises(DarkpoolError) as caught:
        asyncio.run(start())
    return caught.value


@contextmanager
def started(folder: Path, *arguments: str) -> Iterator[dict[str, Any]]:
    """`darkpool devnet up` as a process, and what it says of itself; it is ended with Ctrl-C."""
    options = ("--data", str(folder), "--json", "--profile", "insecure-test", *arguments)
    command = [str(DARKPOOL), "devnet", "up", *options]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield json.loads(process.stdout.readline())
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 130


def holdings(facts: dict[str, Any], account: str) -> list[int]:
    """What the account has of each token, in units."""
    evm = Chain.rpc(facts["chain"]).evm
    return [
        evm.call("TestToken", parse_address(facts[f"token {symbol}"]), "balanceOf", account)
        for symbol in ("WETH", "USDC")
    ]


def test_it_is_set_up_once_and_goes_on_from_there(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with started(folder, "--mint", f"{TRADER}=1000:USDC", "--mint", f"{TRADER}=0.5:WETH") as facts:
        assert holdings(facts, TRADER) == [5 * 10**17, 1000 * 10**6]
        minted = [str(DARKPOOL), "devnet", "mint", "--data", str(folder), f"{OTHER}=7:USDC"]
        subprocess.run(minted, check=True, stdout=subprocess.DEVNULL)
        assert holdings(facts, OTHER) == [0, 7 * 10**6]
        deployment = Deployment.load(folder)
        assert deployment is not None
        assert address_hex(deployment.vault) == facts["vault"]
        second = refusal(folder, Settings.load(folder))
        assert f"its chain runs already at {facts['chain']}" in second.message
    with started(folder) as again:
        assert {name: again[name] for name in facts if name not in {"processes", "minted"}} == {
            name: facts[name] for name in facts if name not in {"processes", "minted"}
        }
        assert holdings(again, TRADER) == [5 * 10**17, 1000 * 10**6]
        assert holdings(again, OTHER) == [0, 7 * 10**6]


def test_killed_with_its_chain_it_goes_on_from_the_same_vault(tmp_path: Path) -> None:
    async def session(settings: Settings) -> tuple[Deployment, int]:
        async with devnet_up(tmp_path, settings, [Grant.parse(f"{TRADER}=1:USDC")], silent) as up:
            return up.deployment, await killed(up)

    async def killed(up: Devnet) -> int:
        first = up.supervisor.pids["chain"]
        await asyncio.sleep(2.5)  # the state of a second ago is on disk
        os.kill(first, signal.SIGKILL)
        ends = time.monotonic() + 30
        while time.monotonic() < ends:
            await asyncio.sleep(0.2)
            try:
                chain = await asyncio.to_thread(Chain.rpc, up.rpc_url)
                await asyncio.to_thread(chain.attach, up.deployment.vault)
            except DarkpoolError:
                continue
            return up.supervisor.pids["chain"] - first
        raise AssertionError("it did not come back")

    deployment, changed = asyncio.run(session(Settings.load(tmp_path, SETTINGS)))
    assert changed
    assert deployment == Deployment.load(tmp_path)


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        error = refusal(tmp_path, Settings.load(tmp_path, SETTINGS), port=port)
    assert isinstance(error, ConfigError)
    assert error.message == f"port {port}: in use on 127.0.0.1"
    assert "--port" in error.hint
    assert not (tmp_path / "venue.json").exists()


def test_its_port_stays_as_traders_have_it(tmp_path: Path) -> None:
    port = devnet.port_of(tmp_path)
    assert devnet.port_of(tmp_path) == devnet.port_of(tmp_path, port) == port
    with pytest.raises(ConfigError, match=f"the port of this folder's is {port}, not 1"):
        devnet.port_of(tmp_path, 1)


def test_another_chain_in_the_settings_is_not_replaced(tmp_path: Path) -> None:
    settings = Settings.load(tmp_path, {**SETTINGS, "chain": {"rpc_url": "http://127.0.0.1:1"}})
    assert "chain.rpc_url" in refusal(tmp_path, settings).message


@pytest.mark.parametrize(
    "text, problem",
    [
        ("", "not ADDRESS=AMOUNT:TOKEN"),
        (f"{TRADER}=5", "not ADDRESS=AMOUNT:TOKEN"),
        ("0x12=5:USDC", "not an Ethereum address"),
        (f"{TRADER}=5:DAI", "no token 'DAI' here"),
        (f"{TRADER}=0:USDC", "no USDC to mint"),
        (f"{TRADER}=-1:USDC", "amount of USDC"),
        (f"{TRADER}=0.0000001:USDC", "amount of USDC"),
    ],
)
def test_what_cannot_be_minted_is_refused_before_anything_is_made(
    tmp_path: Path, text: str, problem: str
) -> None:
    with pytest.raises(ConfigError, match=problem):
        Grant.parse(text).of(Settings.load(tmp_path, SETTINGS))


def test_what_is_no_test_token_is_not_minted(tmp_path: Path) -> None:
    tokens = [token.model_dump() for token in Settings.load(tmp_path).token]
    tokens[1]["address"] = OTHER
    settings = Settings.load(tmp_path, {"chain": {"rpc_url": "http://127.0.0.1:1"}, "token": tokens})
    assert Grant.parse(f"{TRADER}=1:WETH").of(settings) == (0, 10**9)
    with pytest.raises(ConfigError, match="USDC is no test token"):
        Grant.parse(f"{TRADER}=1:USDC").of(settings)
