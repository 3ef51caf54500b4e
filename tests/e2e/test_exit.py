"""Everything of a venue is killed but the chain; its traders take their tokens out all the same."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from darkpool.chain import Chain
from darkpool.client.trader_home import TraderHome
from darkpool.deployment import Deployment, operator_key
from darkpool.eip712 import address_of
from darkpool.keystore import Keystore
from darkpool.types import Address, TokenIndex, address_hex
from darkpool.vault import DEFAULT_DELAY
from tests.anvil import running_anvil
from tests.e2e.service import Service
from tests.e2e.test_two_traders import Desk
from tests.test_chain import QUANTUM, QUOTE, deployed, enter

SECONDS = 60
WETH, USDC = 10**18, 10**6


def rpc(url: str, method: str, *parameters: object) -> Any:  # noqa: ANN401 - JSON
    question = {"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}
    return httpx.post(url, json=question, timeout=SECONDS, trust_env=False).json()["result"]


@dataclass
class VenueOnChain(Service):
    """A venue on a chain that is not its child, and so survives it."""

    chain_url: str = ""

    @property
    def rpc_url(self) -> str:
        return self.chain_url

    def start(self) -> None:
        """As ever, with an operator that can pay for the vault."""
        Chain.rpc(self.chain_url).fund(address_of(operator_key(self.folder)), 10**20)
        super().start()

    def kill_all(self) -> None:
        """SIGKILL to everything, the one above all first, until nothing of it is left."""
        while pids := [pid for kind in self.processes().values() for pid in kind if _lives(pid)]:
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._up.poll()
            time.sleep(0.1)


def _lives(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@pytest.fixture
def service(tmp_path: Path) -> Iterator[VenueOnChain]:
    with running_anvil() as url:
        rpc(url, "evm_setIntervalMining", 1)
        environment = {"DARKPOOL_CHAIN__RPC_URL": url}
        with VenueOnChain(tmp_path / "venue", environment, chain_url=url) as found:
            found.wait()
            yield found


def wallet(chain: Chain, account: Address) -> list[int]:
    contracts = [token.contract for token in chain.tokens]
    return [int(chain.evm.call("TestToken", c, "balanceOf", address_hex(account))) for c in contracts]


@contextmanager
def started(desk: Desk, *arguments: str, rpc_url: str) -> Iterator[subprocess.Popen[str]]:
    """A command of the desk as a process; it is killed if it outlives the block."""
    setting = {**desk.setting["env"], "DARKPOOL_RPC_URL": rpc_url}
    with subprocess.Popen(
        desk.command(*arguments),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=setting,
        cwd=desk.setting["cwd"],
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.timeout(600)
def test_traders_leave_when_all_but_the_chain_is_dead(service: VenueOnChain, tmp_path: Path) -> None:
    ada, ben = (Desk(service, tmp_path / name) for name in ("ada", "ben"))
    for desk, amount, token in ((ada, "20000", "USDC"), (ben, "10", "WETH")):
        desk.run("keygen")
        desk.run("deposit", amount, token, "--faucet")
    bought = ada.json("order", "submit", "buy", "0.50", "2000.05")
    sold = ben.json("order", "submit", "sell", "0.30")
    price = float(ben.until("fills", id=sold["id"], state="settled")["price"])
    ada.json("order", "submit", "buy", "0.10", "1999.00")  # it stands
    assert bought["id"] == "0"
    deployment = Deployment.load(service.folder)
    assert deployment is not None
    service.kill_all()
    shutil.rmtree(service.folder)
    assert service.ready() is None

    # Ada has her folder; of Ben's nothing is left but the keystore, and he knows where his deposits went.
    bare = ben.home.with_name("keystore-of-ben.json")
    shutil.move(ben.home / "keystore.json", bare)
    shutil.rmtree(ben.home)
    named = ("--keystore", str(bare), "--vault", address_hex(deployment.vault))
    with (
        started(ada, "exit", "--cancel", rpc_url=service.chain_url) as hers,
        started(ben, "exit", *named, rpc_url=service.chain_url) as his,
    ):
        for process in (hers, his):
            assert process.stderr is not None
            assert any(line.startswith("waiting") for line in process.stderr)
        rpc(service.chain_url, "evm_increaseTime", DEFAULT_DELAY)
        for process in (hers, his):
            out, err = process.communicate(timeout=SECONDS)
            assert process.returncode == 0, out + err
            assert out.count("arrived in the wallet") == 2

    chain = Chain.rpc(service.chain_url, finality=0)
    chain.attach(deployment.vault)
    accounts = [Keystore.open(path, "correct horse").address for path in (ada.home / "keystore.json", bare)]
    paid = round(0.3 * price * USDC)
    assert wallet(chain, accounts[0]) == [WETH * 3 // 10, 20_000 * USDC - paid]
    assert wallet(chain, accounts[1]) == [WETH * 97 // 10, paid]
    assert [chain.balance(TokenIndex(t), a) for t in (0, 1) for a in accounts] == [0, 0, 0, 0]
    signed = TraderHome(ada.home).next_nonce
    assert chain.nullifier_word(accounts[0], 0) == 2**signed - 1


# --- ended anywhere ---------------------------------------------------------------------------------


class CuttingNode(ThreadingHTTPServer):
    """A node that passes everything on, and kills its client at the first transaction: before or after it."""

    def __init__(self, url: str) -> None:
        super().__init__(("127.0.0.1", 0), _Passing)
        self.node, self.client, self.before = url, None, False
        self.http = httpx.Client(trust_env=False, timeout=SECONDS)

    client: subprocess.Popen[str] | None

    def cut(self) -> None:
        if self.client is not None:
            self.client.kill()
            self.client = None


class _Passing(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        node = self.server
        assert isinstance(node, CuttingNode)
        question = self.rfile.read(int(self.headers["Content-Length"]))
        sending = b"eth_sendRawTransaction" in question
        if sending and node.before:
            node.cut()
            return
        answer = node.http.post(
            node.node, content=question, headers={"Content-Type": "application/json"}
        ).content
        if sending:
            node.cut()
            return
        with suppress(OSError):
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def cutting_node(url: str) -> Iterator[CuttingNode]:
    node = CuttingNode(url)
    thread = threading.Thread(target=node.serve_forever)
    thread.start()
    try:
        yield node
    finally:
        node.shutdown()
        node.server_close()
        node.http.close()
        thread.join()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_an_exit_killed_at_every_step_does_nothing_twice(tmp_path: Path) -> None:
    with running_anvil() as url, cutting_node(url) as node:
        chain = deployed(Chain.rpc(url, finality=0))
        desk = Desk(VenueOnChain(tmp_path / "none", chain_url=url), tmp_path / "ada")
        keystore = Keystore.create(TraderHome(desk.home).keystore, "correct horse")
        chain.fund(keystore.address)
        enter(chain, keystore.private_key, QUOTE, 100)
        arguments = ("exit", "--vault", address_hex(chain.vault), "--cancel-up-to", "3")
        killed: list[str] = []
        while True:
            node.before = len(killed) % 2 == 0
            sent = chain.evm.nonces(keystore.address)[0]
            where = f"http://127.0.0.1:{node.server_address[1]}"
            with started(desk, *arguments, rpc_url=where) as process:
                node.client = process
                assert process.stderr is not None
                if any(line.startswith("waiting") for line in process.stderr):
                    process.kill()
                    chain.advance(DEFAULT_DELAY)
                    killed.append("waiting")
                    continue
            if process.returncode == 0:
                break
            assert process.returncode == -signal.SIGKILL
            assert chain.evm.nonces(keystore.address)[0] == sent + (not node.before)
            killed.append("before" if node.before else "after")
        assert killed.count("before") >= 3
        assert killed.count("after") == 4
        assert "waiting" in killed
        assert wallet(chain, keystore.address) == [0, 100 * QUANTUM[QUOTE]]
        assert [e.token for e in chain.withdrawal_requests()] == [QUOTE]
        assert [e.token for e in chain.withdrawals()] == [QUOTE]
        assert [e.mask for e in chain.cancel_requests()] == [e.mask for e in chain.cancellations()] == [7]
