"""Two people with two keystores at a venue of `darkpool up`, each with nothing but the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.anvil import anvil_path
from tests.e2e.service import Service

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 60


@dataclass
class Desk:
    """One trader's command line, with the chain to check the venue by."""

    service: Service
    home: Path

    def run(self, *arguments: str, code: int = 0) -> str:
        done = subprocess.run(
            self.command(*arguments), capture_output=True, text=True, check=False, **self.setting
        )
        assert done.returncode == code, done.stderr
        return str(done.stdout if code == 0 else done.stderr)

    def json(self, *arguments: str) -> Any:  # noqa: ANN401 - JSON
        return json.loads(self.run(*arguments, "--json"))

    def command(self, *arguments: str) -> list[str]:
        start = [sys.executable, "-c", "from darkpool.cli import main; main()"]
        return [*start, *arguments, "--home", str(self.home)]

    @property
    def setting(self) -> dict[str, Any]:
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "DARKPOOL_PASSPHRASE": "correct horse",
            "DARKPOOL_VENUE_URL": self.service.url,
            "DARKPOOL_RPC_URL": self.service.rpc_url,
        }
        return {"env": environment, "cwd": ROOT, "timeout": SECONDS}

    def until(self, *arguments: str, **values: object) -> dict[str, Any]:
        """The first row of a command's answer with these values, as soon as there is one."""
        ends = time.monotonic() + SECONDS
        while True:
            for row in self.json(*arguments):
                if values.items() <= row.items():
                    return dict(row)
            assert time.monotonic() < ends, self.json(*arguments)

    def funded(self) -> None:
        self.run("keygen", "--backup", str(self.home.with_suffix(".backup")))
        self.run("deposit", "10", "WETH", "--faucet", "--no-wait")
        self.run("deposit", "20000", "USDC", "--faucet")

    def everything(self) -> list[Any]:
        return [self.json(*command) for command in (("order", "status"), ("fills",), ("balance",))]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    anvil_path()
    with Service(tmp_path_factory.mktemp("up") / "venue") as found:
        found.wait()
        yield found


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_traders_trade_and_recover_everything_from_their_secrets(
    service: Service, tmp_path: Path
) -> None:
    ada, ben = (Desk(service, tmp_path / name) for name in ("ada", "ben"))
    ada.funded()
    ben.funded()
    # Orders meet, both see their fills, and what is left of the larger one is renewed while somebody watches.
    bought = ada.json("order", "submit", "buy", "0.50", "2000.05", "--reference", "desk-7")
    assert ada.json("order", "submit", "buy", "0.50", "2000.05", "--reference", "desk-7") == bought
    sold = ben.json("order", "submit", "sell", "0.30")
    fill = ada.until("fills", id=bought["id"], state="settled")
    assert (fill["side"], fill["quantity"], fill["reference"]) == ("buy", "0.3", "desk-7")
    assert ben.until("fills", id=sold["id"], state="settled")["price"] == fill["price"]
    assert ben.until("order", "status", id=sold["id"])["state"] == "filled"
    with subprocess.Popen(
        ada.command("watch", "--renew", "--json"),
        stdout=subprocess.PIPE,
        text=True,
        env=ada.setting["env"],
        cwd=ROOT,
    ) as watching:
        assert watching.stdout is not None
        for line in watching.stdout:
            told = json.loads(line)
            if told["kind"] == "order" and told["remaining"] == "0.2" and told["state"] == "standing":
                break
        watching.terminate()
        watching.communicate()
    # Both read the same from the secrets alone, receipts included; and every receipt holds.
    assert {row["finding"][:15] for row in ada.json("receipt", "check", bought["id"])} >= {"sealed in round"}
    for desk in (ada, ben):
        copy = Desk(service, desk.home.with_suffix(".copy"))
        files = [str(desk.home.with_suffix(".backup") / name) for name in ("seed.hex", "key.hex")]
        found = copy.json("recover", "--seed-file", files[0], "--key-file", files[1])
        assert found["not_renewed"] == []
        assert copy.everything() == desk.everything()
        receipts = [{p.name: p.read_text() for p in (d.home / "receipts").iterdir()} for d in (desk, copy)]
        assert receipts[0] == receipts[1]
    # A copy can trade on, cancel and leave.
    copy = Desk(service, ada.home.with_suffix(".copy"))
    replaced = copy.json("order", "replace", bought["id"], "buy", "0.10", "1999.00")
    assert replaced["id"] == bought["id"]
    copy.run("order", "cancel", bought["id"])
    assert "cancelled" in copy.run("order", "cancel", bought["id"], code=1)
    copy.run("order", "submit", "sell", "0.05")
    copy.run("order", "cancel-all")
    assert {row["state"] for row in copy.json("order", "status")} == {"cancelled"}
    copy.run("withdraw", "USDC", "100")
    assert "error: " in copy.run("withdraw", "USDC", code=1)  # its delay is two hours


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_program_trades_through_the_gateway(service: Service, tmp_path: Path) -> None:
    cyd, dot = (Desk(service, tmp_path / name) for name in ("cyd", "dot"))
    cyd.funded()
    dot.funded()
    with subprocess.Popen(
        cyd.command("gateway", "--port", "18470"),
        stderr=subprocess.PIPE,
        text=True,
        env=cyd.setting["env"],
        cwd=ROOT,
    ) as gateway:
        try:
            assert gateway.stderr is not None
            assert "gateway http://127.0.0.1:18470" in gateway.stderr.readline()
            token = (cyd.home / "gateway.token").read_text().strip()
            headers = {"Authorization": f"Bearer {token}"}
            with httpx.Client(
                base_url="http://127.0.0.1:18470", headers=headers, timeout=SECONDS, trust_env=False
            ) as http:
                order = {"side": "buy", "quantity": "1", "price": "2000.05", "reference": "r"}
                placed = [http.post("/orders", json=order).json() for _ in range(2)]
                assert placed[0] == placed[1]
                assert "another darkpool client" in cyd.run("order", "cancel", "0", code=2)
                dot.run("order", "submit", "sell", "0.4")
                ends = time.monotonic() + SECONDS
                while (found := http.get(f"/orders/{placed[0]['id']}").json())["remaining"] != "0.6" or found[
                    "state"
                ] != "standing":
                    assert time.monotonic() < ends, found
                    time.sleep(0.2)
                assert found["filled"] == "0.4"
                assert http.delete("/orders").status_code == 200
        finally:
            gateway.terminate()
            gateway.communicate()
    assert gateway.returncode in {0, 130}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_desks_of_a_devnet_trade_with_a_newcomer(service: Service, tmp_path: Path) -> None:
    newcomer = Desk(service, tmp_path / "newcomer")
    newcomer.funded()
    with subprocess.Popen(
        [sys.executable, "-m", "darkpool.flow", str(tmp_path / "flow"), service.url],
        stdin=subprocess.PIPE,
        env={**newcomer.setting["env"], "DARKPOOL_CHAIN__RPC_URL": service.rpc_url},
        cwd=ROOT,
    ) as flow:
        placed = newcomer.json("order", "submit", "buy", "0.10")
        assert newcomer.until("fills", id=placed["id"], state="settled")["quantity"] == "0.1"
        assert flow.stdin is not None
        flow.stdin.close()  # as when `darkpool up` ends, or is killed
        assert flow.wait(30) == 0
    secrets_ = [p for p in (tmp_path / "flow").rglob("*") if p.is_file() and p.stat().st_mode & 0o077]
    assert secrets_ == []
