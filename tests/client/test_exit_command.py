"""`darkpool exit` as its user has it, on a real chain with a real vault and no venue anywhere."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from darkpool.chain import Chain
from darkpool.client.trader_home import TraderHome
from darkpool.client.venue_identity import VenueIdentity
from darkpool.eip712 import keccak256
from darkpool.keystore import Keystore
from darkpool.types import Address, PrivateKey, address_hex
from darkpool.vault import DEFAULT_DELAY
from tests.anvil import running_anvil
from tests.test_chain import BASE, QUANTUM, QUOTE, deployed, enter

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 60
PASSPHRASE = "correct horse"
# Writes to stderr whom the process looks up or connects to.
_LISTENING = """
import sys
def heard(event, arguments):
    if event in {"socket.getaddrinfo", "socket.gethostbyname"}:
        print("asked", arguments[0], file=sys.stderr)
    if event == "socket.connect":
        print("asked", *arguments[1][:2], file=sys.stderr)
sys.addaudithook(heard)
from darkpool.cli import main
main()
"""


@dataclass(frozen=True)
class Leaver:
    """A trader with 200 base and 100 quote in the vault, and a folder that knows it."""

    url: str
    chain: Chain
    home: Path
    address: Address
    key: PrivateKey

    @property
    def environment(self) -> Mapping[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith("DARKPOOL_")}
        asked = {"DARKPOOL_PASSPHRASE": PASSPHRASE, "DARKPOOL_VENUE_URL": "http://venue.invalid:8480"}
        return {**kept, **asked, "DARKPOOL_RPC_URL": self.url, "COLUMNS": "80", "TERM": "dumb"}

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-c", _LISTENING, "exit", "--home", str(self.home), *arguments]

    def run(self, *arguments: str, code: int = 0, **environment: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self.command(*arguments),
            capture_output=True,
            text=True,
            timeout=SECONDS,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            env={**self.environment, "PYTHONPATH": str(ROOT), **environment},
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done

    @contextmanager
    def started(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """The command as a process; it is killed if it outlives the block."""
        with subprocess.Popen(
            self.command(*arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**self.environment, "PYTHONPATH": str(ROOT)},
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def json(self, *arguments: str, code: int = 0) -> dict[str, Any]:
        return dict(json.loads(self.run(*arguments, "--json", code=code).stdout))

    def rpc(self, method: str, *parameters: object) -> Any:  # noqa: ANN401 - JSON
        question = {"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}
        answer = httpx.post(self.url, json=question, timeout=SECONDS, trust_env=False).json()
        assert "error" not in answer, answer
        return answer["result"]

    def balances(self) -> list[int]:
        return [self.chain.balance(token, self.address) for token in (BASE, QUOTE)]

    def wallet(self) -> list[int]:
        contracts = [self.chain.token(token).contract for token in (BASE, QUOTE)]
        owner = address_hex(self.address)
        return [int(self.chain.evm.call("TestToken", c, "balanceOf", owner)) for c in contracts]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running_anvil() as found:
        yield found


@pytest.fixture
def leaver(url: str, tmp_path: Path) -> Leaver:
    chain, home = deployed(Chain.rpc(url, finality=0)), TraderHome(tmp_path / "home")
    keystore = Keystore.create(home.keystore, PASSPHRASE)
    with home.lock():
        home.fresh()
        home.pin(VenueIdentity(bytes(32), chain.chain_id, chain.vault, Address(bytes(20)), bytes(32)))
        home.reserve(3, 0, (), 0)
    chain.fund(keystore.address)
    enter(chain, keystore.private_key, BASE, 200)
    enter(chain, keystore.private_key, QUOTE, 100)
    return Leaver(url, chain, home.folder, keystore.address, keystore.private_key)


def test_the_plan_is_shown_and_nothing_is_done(leaver: Leaver) -> None:
    head = leaver.chain.head()
    shown = leaver.run("--dry-run").stdout
    assert f"vault {address_hex(leaver.chain.vault)} on chain 31337" in shown
    assert re.search(r"Base +0\.002 +0 *\n", shown)
    assert re.search(r"now +request_withdrawal\(1, 100\) *\n", shown)
    assert re.search(r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d UTC +withdraw\(0\) *\n", shown)
    assert "orders: 3 nonces below 3 are in no settlement" in shown
    assert "the account has 0.99" in shown
    assert max(map(len, shown.splitlines())) <= 160
    plan = leaver.json("--dry-run", "--cancel")
    assert [step["call"] for step in plan["steps"]] == [
        "request_withdrawal(0, 200)",
        "request_withdrawal(1, 100)",
        "request_cancel(0, 7)",
        "withdraw(0)",
        "withdraw(1)",
        "finalize_cancel(0)",
    ]
    assert leaver.chain.head() == head


def test_nobody_but_the_node_is_asked_from_request_to_wallet(leaver: Leaver) -> None:
    node = f"asked 127.0.0.1 {httpx.URL(leaver.url).port}"
    with leaver.started("--cancel") as process:
        assert process.stderr is not None
        heard = []
        for line in process.stderr:
            heard.append(line.strip())
            if line.startswith("waiting"):
                leaver.rpc("evm_increaseTime", DEFAULT_DELAY)
                leaver.rpc("evm_mine")
                break
        out, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, err
    asked = {line for line in [*heard, *err.splitlines()] if line.startswith("asked")}
    assert node in asked
    assert asked <= {node, "asked 127.0.0.1"}
    assert "Base: 0.002 arrived in the wallet\n" in out
    assert "Quote: 0.1 arrived in the wallet\n" in out
    assert leaver.wallet() == [200 * QUANTUM[BASE], 100 * QUANTUM[QUOTE]]
    assert leaver.balances() == [0, 0]
    assert leaver.chain.nullifier_word(leaver.address, 0) == 7
    assert "nothing to do" in leaver.run().stdout


def test_a_keystore_and_an_address_are_enough(leaver: Leaver, tmp_path: Path) -> None:
    bare = ("--keystore", str(leaver.home / "keystore.json"), "--vault", address_hex(leaver.chain.vault))
    empty = ("--home", str(tmp_path / "nowhere"))
    done = leaver.json(*empty, *bare, "--no-wait", "--cancel-up-to", "2")
    assert [t["call"] for t in done["transactions"]][2:] == ["request_cancel(0, 3)"]
    assert [row["requested"] for row in done["left"]] == ["0.002", "0.1"]
    assert not (tmp_path / "nowhere").exists()


def test_a_run_ended_with_a_transaction_under_way_asks_for_nothing_twice(leaver: Leaver) -> None:
    leaver.rpc("evm_setAutomine", False)
    try:
        with leaver.started("--no-wait") as first:
            ends = time.monotonic() + SECONDS
            while len(set(leaver.chain.evm.nonces(leaver.address))) == 1:
                assert time.monotonic() < ends
                time.sleep(0.1)
            first.kill()
        with leaver.started("--no-wait") as second:
            time.sleep(5)
            assert second.poll() is None
            leaver.rpc("evm_setAutomine", True)
            leaver.rpc("evm_mine")
            assert second.wait(SECONDS) == 0
    finally:
        leaver.rpc("evm_setAutomine", True)
    asked = [e.token for e in leaver.chain.withdrawal_requests() if e.account == leaver.address]
    assert asked == [BASE, QUOTE]


# --- what can be wrong ------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_node_that_hangs_is_given_up_within_seconds(leaver: Leaver) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        done = leaver.run(
            "--dry-run", code=4, DARKPOOL_RPC_URL=f"http://me:hunter2@127.0.0.1:{silent.getsockname()[1]}/k3y"
        )
        assert time.monotonic() - started < 25
    assert "hint: " in done.stderr
    assert "hunter2" not in done.stderr
    assert "k3y" not in done.stderr


def test_without_ether_it_says_how_much_is_missing_and_where(leaver: Leaver) -> None:
    leaver.rpc("anvil_setBalance", address_hex(leaver.address), "0x1")
    done = leaver.run(code=1)
    assert address_hex(leaver.address) in done.stderr
    assert re.search(r"hint: send 0\.000\d+ ether or more", done.stderr)
    assert leaver.chain.withdrawal_requests() == []


def set_base_fee(leaver: Leaver, gwei: int) -> None:
    leaver.rpc("anvil_setNextBlockBaseFeePerGas", hex(gwei * 10**9))
    leaver.rpc("evm_mine")


@pytest.mark.slow
def test_no_more_than_the_limit_is_offered_for_gas(leaver: Leaver) -> None:
    set_base_fee(leaver, 150)
    done = leaver.run(code=4)
    assert re.search(r"fees: up to [23]\d\d\.?\d* gwei would be offered, --max-fee-gwei is 200", done.stderr)
    assert leaver.chain.withdrawal_requests() == []
    leaver.run("--no-wait", "--max-fee-gwei", "400")
    assert len(leaver.chain.withdrawal_requests()) == 2


@pytest.mark.slow
def test_a_fee_that_rose_during_the_wait_is_refused_too(leaver: Leaver) -> None:
    set_base_fee(leaver, 1)
    with leaver.started() as process:
        assert process.stderr is not None
        while not process.stderr.readline().startswith("waiting"):
            pass
        leaver.rpc("evm_increaseTime", DEFAULT_DELAY)
        set_base_fee(leaver, 500)
        _, err = process.communicate(timeout=SECONDS)
    set_base_fee(leaver, 1)
    assert process.returncode == 4
    assert "gwei would be offered, --max-fee-gwei is 200" in err
    assert leaver.balances() == [200, 100]


def test_a_token_whose_contract_is_broken_keeps_no_other_in(leaver: Leaver) -> None:
    leaver.rpc("anvil_setCode", address_hex(leaver.chain.token(BASE).contract), "0x60006000fd")
    leaver.run("--no-wait")
    leaver.chain.advance(DEFAULT_DELAY)
    done = leaver.run(code=1)
    assert re.search(r"withdraw\(0\) refused: ", done.stdout)
    assert "Quote: 0.1 arrived" in done.stdout
    assert leaver.balances() == [200, 0]


@pytest.mark.slow
def test_a_vault_that_holds_too_little_pays_in_proportion_and_says_so(leaver: Leaver) -> None:
    vault, token = address_hex(leaver.chain.vault), address_hex(leaver.chain.token(QUOTE).contract)
    leaver.rpc("anvil_impersonateAccount", vault)
    leaver.rpc("anvil_setBalance", vault, hex(10**18))
    arguments = bytes(12) + b"\x01" * 20 + (25 * QUANTUM[QUOTE]).to_bytes(32)
    data = keccak256(b"transfer(address,uint256)")[:4] + arguments
    leaver.rpc("eth_sendTransaction", {"from": vault, "to": token, "data": "0x" + data.hex()})
    assert "Quote: the vault holds 75% of what it owes" in leaver.run("--no-wait").stdout
    leaver.chain.advance(DEFAULT_DELAY)
    assert "Quote: 0.075 arrived in the wallet of 0.1: the vault held less" in leaver.run().stdout
    assert leaver.balances() == [0, 0]


def test_the_calls_of_the_manual_do_the_same_without_us(leaver: Leaver) -> None:
    rows = re.findall(
        r"\| `(\w+\([\w,]*\))` \| `(0x[0-9a-f]{8})` \|", (ROOT / "docs" / "exit.md").read_text()
    )
    for signature, selector in rows:
        assert selector == "0x" + keccak256(signature.encode())[:4].hex()
    selectors = {signature.partition("(")[0]: selector for signature, selector in rows}
    vault, account = address_hex(leaver.chain.vault), address_hex(leaver.address)

    def data(function: str, *arguments: int) -> str:
        return str(selectors[function]) + b"".join(a.to_bytes(32) for a in arguments).hex()

    def ask(function: str, *arguments: int) -> int:
        return int(
            leaver.rpc("eth_call", {"to": vault, "data": data(function, *arguments)}, "latest")[:66], 16
        )

    def send(function: str, *arguments: int) -> None:
        call = {"from": account, "to": vault, "data": data(function, *arguments)}
        leaver.rpc("eth_sendTransaction", call)

    leaver.rpc("anvil_impersonateAccount", account)
    number = int.from_bytes(leaver.address)
    balances = [ask("balance_of", token, number) for token in range(ask("TOKEN_COUNT"))]
    assert balances == [200, 100]
    for token, balance in enumerate(balances):
        send("request_withdrawal", token, balance)
    send("request_cancel", 0, 7)
    assert ask("withdrawal_requests", number, 1) == 100
    assert ask("cancel_requests", number, 0) == 7
    leaver.rpc("evm_increaseTime", max(ask("WITHDRAW_DELAY"), ask("CANCEL_DELAY")))
    for token in range(2):
        send("withdraw", token)
    send("finalize_cancel", 0)
    assert ask("nullifiers", number, 0) == 7
    assert leaver.wallet() == [200 * QUANTUM[BASE], 100 * QUANTUM[QUOTE]]
