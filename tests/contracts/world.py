"""A chain with a vault on it, driven directly through eth-tester, for the contract tests."""

# ruff: noqa: ANN401  # web3 makes contract objects from an ABI at run time

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeVar

from eth_tester import EthereumTester, PyEVMBackend
from eth_tester.exceptions import TransactionFailed
from web3 import EthereumTesterProvider, Web3

import contracts
from darkpool import eip712
from darkpool.eip712 import Domain, sign_digest
from darkpool.settlement import (
    NullifierRow,
    Settlement,
    committee_digest,
    delta_rows,
    nullifier_rows,
    ordered_signatures,
    sign,
)
from darkpool.types import Address, Nonce, PrivateKey, Signature, TokenIndex, address_hex, parse_address

T = TypeVar("T")

WINDOW: Final = 600
FINALITY: Final = 60
DELAY: Final = 700
COMMITTEE_DELAY: Final = 1_500
QUANTA: Final = (10, 1_000)
"""Token units per quantum of the two tokens."""

GAS: Final = 30_000_000
START: Final = 4_102_444_800
"""Time of the first block, unix seconds: ahead of the wall clock, which py-evm would follow otherwise."""

TOKENS: Final = Path(__file__).parent / "tokens"
ROOT: Final = b"\x11" * 32
TRANSCRIPT: Final = b"\x22" * 32


def key(number: int) -> PrivateKey:
    return PrivateKey(number.to_bytes(32))


address_of = cache(eip712.address_of)

ALICE, BOB, CAROL, NOBODY = (key(100 + i) for i in range(4))
ACCOUNTS: Final = (ALICE, BOB, CAROL)
GUARDIAN, NEXT_GUARDIAN = key(400), key(401)
MEMBERS: Final = tuple(sorted((key(200 + i) for i in range(4)), key=address_of))
NEXT_MEMBERS: Final = tuple(sorted((key(300 + i) for i in range(5)), key=address_of))


@cache
def compiled_token(name: str) -> dict[str, Any]:
    from vyper.compiler import compile_code

    source = (TOKENS / f"{name}.vy").read_text()
    return dict(compile_code(source, output_formats=["abi", "bytecode"]))


@dataclass(frozen=True)
class Outcome:
    status: int
    gas: int
    logs: int


class World:
    """Four members with t = 1 and two tokens, unless told otherwise.

    Time moves by `wait`, and by a second a block, so that equal runs are equal to the last unit of gas.
    """

    def __init__(self, rules: type[Any] | None = None) -> None:
        genesis = PyEVMBackend.generate_genesis_params({"gas_limit": 2 * GAS, "timestamp": START})
        forks = None if rules is None else ((0, rules),)
        self.tester = EthereumTester(PyEVMBackend(genesis_parameters=genesis, vm_configuration=forks))
        self.web3 = Web3(EthereumTesterProvider(self.tester))
        self.deployer = self.web3.eth.accounts[0]
        self.logs: list[Any] = []
        for account in (*ACCOUNTS, NOBODY, GUARDIAN, NEXT_GUARDIAN, MEMBERS[0]):
            self.tester.add_account("0x" + account.hex())
            gift: Any = {
                "from": self.deployer,
                "to": address_hex(address_of(account)),
                "value": 10**20,
                "gas": 21_000,
            }
            self.web3.eth.send_transaction(gift)
        self.tokens = [self.deploy_artifact("TestToken", "Token", "T", 6) for _ in QUANTA]
        self.arbiter = self.deploy_artifact("Arbiter")
        self.vault = self.deploy_artifact("Vault", *self.terms())
        self.use(self.vault)

    def use(self, vault: Any) -> None:
        self.vault = vault
        self.domain = Domain(self.web3.eth.chain_id, parse_address(vault.address))

    def terms(self, **changes: Any) -> tuple[Any, ...]:
        terms: dict[str, Any] = {
            "settle_window": WINDOW,
            "finality": FINALITY,
            "withdraw_delay": DELAY,
            "cancel_delay": DELAY,
            "committee_delay": COMMITTEE_DELAY,
            "members": addresses(MEMBERS),
            "threshold": 1,
            "guardian": addresses([GUARDIAN])[0],
            "tokens": [(token.address, q) for token, q in zip(self.tokens, QUANTA, strict=False)],
            "arbiter": self.arbiter.address,
        }
        assert changes.keys() <= terms.keys()
        return tuple((terms | changes).values())

    # Contracts and transactions

    def deploy_artifact(self, name: str, *arguments: Any) -> Any:
        artifact = contracts.load(name)
        return self.deploy(artifact.abi, artifact.bytecode, *arguments)

    def deploy_token(self, name: str) -> Any:
        output = compiled_token(name)
        return self.deploy(output["abi"], output["bytecode"])

    def use_token(self, name: str, quantum: int) -> Any:
        """A new vault of one of the odd tokens alone; the token."""
        token = self.deploy_token(name)
        self.tokens = [token]
        self.use(self.deploy_artifact("Vault", *self.terms(tokens=[(token.address, quantum)])))
        return token

    def deploy(self, abi: Any, bytecode: Any, *arguments: Any) -> Any:
        factory = self.web3.eth.contract(abi=abi, bytecode=bytecode)
        tx = factory.constructor(*arguments).transact({"from": self.deployer, "gas": GAS})
        receipt = self.web3.eth.get_transaction_receipt(tx)
        assert receipt["status"] == 1, "creation reverted"
        self.logs += receipt["logs"]
        return self.web3.eth.contract(address=receipt["contractAddress"], abi=abi)

    def creation_reason(self, *arguments: Any) -> str:
        """The reason a vault with these arguments is refused."""
        artifact = contracts.load("Vault")
        factory = self.web3.eth.contract(abi=artifact.abi, bytecode=artifact.bytecode)
        data = factory.constructor(*arguments).data_in_transaction
        try:
            self.web3.eth.call({"from": self.deployer, "data": data, "gas": GAS})
        except TransactionFailed as error:
            return str(error.args[0]).removeprefix("execution reverted: ")
        return ""

    def send(self, sender: PrivateKey | None, contract: Any, function: str, *arguments: Any) -> Outcome:
        """Mine the call, whatever becomes of it."""
        transaction = {"from": self._sender(sender), "gas": GAS}
        tx = contract.functions[function](*arguments).transact(transaction)
        receipt = self.web3.eth.get_transaction_receipt(tx)
        self.logs += receipt["logs"]
        return Outcome(receipt["status"], receipt["gasUsed"], len(receipt["logs"]))

    def done(self, sender: PrivateKey | None, function: str, *arguments: Any) -> Outcome:
        """A call of the vault that must succeed."""
        outcome = self.send(sender, self.vault, function, *arguments)
        if outcome.status != 1:
            raise AssertionError(f"{function} reverted: {self.reason(sender, function, *arguments)}")
        return outcome

    def reason(self, sender: PrivateKey | None, function: str, *arguments: Any) -> str:
        """Why the vault would refuse the call in the next block; empty if it would not."""
        transaction = {"from": self._sender(sender), "gas": GAS}
        try:
            self.vault.functions[function](*arguments).call(transaction, "pending")
        except TransactionFailed as error:
            return str(error.args[0]).removeprefix("execution reverted: ")
        return ""

    def refused(self, reason: str, sender: PrivateKey | None, function: str, *arguments: Any) -> None:
        """The call is refused with that reason, and mining it changes no storage and leaves no log.

        What follows "; " in a reason is advice, which need not be given here.
        """
        said = self.reason(sender, function, *arguments)
        assert reason in {said, said.split("; ")[0]}
        before = self.storage()
        outcome = self.send(sender, self.vault, function, *arguments)
        assert (outcome.status, outcome.logs) == (0, 0)
        assert self.storage() == before

    def storage(self) -> tuple[bytes, ...]:
        """Storage roots of the vault and its tokens: equal exactly if nothing changed."""
        state = self.tester.backend.chain.get_vm().state
        state.persist()
        places = [self.vault, *self.tokens]
        return tuple(
            state._account_db._get_account(bytes.fromhex(place.address[2:])).storage_root for place in places
        )

    def _sender(self, sender: PrivateKey | None) -> str:
        return self.deployer if sender is None else address_hex(address_of(sender))

    # Time

    def now(self) -> int:
        """Time of the block being built."""
        return int(self.tester.backend.chain.header.timestamp)

    def wait(self, seconds: int) -> None:
        """Date the block being built that much later."""
        chain = self.tester.backend.chain
        chain.header = chain.header.copy(timestamp=chain.header.timestamp + seconds)

    # The vault

    def hold(self, account: PrivateKey, token: int, quanta: int) -> None:
        """Mint, approve and deposit."""
        address, units = address_hex(address_of(account)), quanta * QUANTA[token]
        self.send(None, self.tokens[token], "mint", address, units)
        self.send(account, self.tokens[token], "approve", self.vault.address, units)
        self.done(account, "deposit", token, quanta)

    def number(self, contract: Any, function: str, *arguments: Any) -> int:
        """A number that a view returns; past web3, which triples the time of so small a call."""
        transaction = {
            "from": bytes.fromhex(self.deployer[2:]),
            "to": bytes.fromhex(contract.address[2:]),
            "data": bytes.fromhex(contract.encode_abi(function, arguments)[2:]),
            "gas": GAS,
        }
        return int.from_bytes(self.tester.backend.call(transaction))

    def balance(self, account: PrivateKey, token: int) -> int:
        return self.number(self.vault, "balance_of", token, address_hex(address_of(account)))

    def bits(self, account: PrivateKey, word: int) -> int:
        return self.number(self.vault, "nullifiers", address_hex(address_of(account)), word)

    def settlement(
        self,
        nets: dict[tuple[int, PrivateKey], int] | None = None,
        spent: Sequence[tuple[PrivateKey, int]] = (),
        **changes: Any,
    ) -> Settlement:
        """The next settlement, sealed now."""
        rows = {(TokenIndex(t), address_of(a)): net for (t, a), net in (nets or {}).items()}
        fields: dict[str, Any] = {
            "id": self.number(self.vault, "next_id"),
            "epoch": self.number(self.vault, "epoch"),
            "sealed_at": self.now(),
            "root": ROOT,
            "transcript": TRANSCRIPT,
            "deltas": delta_rows(rows),
            "nullifiers": nullifier_rows((address_of(a), Nonce(nonce)) for a, nonce in spent),
        }
        return Settlement(**(fields | changes))

    def signed(
        self, settlement: Settlement, signers: Sequence[PrivateKey] = MEMBERS[:3]
    ) -> tuple[Any, list[Signature]]:
        """The arguments of `settle`."""
        signatures = [sign(settlement, self.domain, signer) for signer in signers]
        return settlement.packed(), list(ordered_signatures(settlement, self.domain, signatures))

    def proposal(
        self,
        members: Sequence[PrivateKey] = NEXT_MEMBERS,
        threshold: int = 2,
        signers: Sequence[PrivateKey] = MEMBERS[:3],
        guardian: PrivateKey = NEXT_GUARDIAN,
    ) -> tuple[list[str], int, str, list[Signature]]:
        """The arguments of `propose_committee`."""
        number, places = self.number(self.vault, "last_epoch") + 1, [address_of(m) for m in members]
        digest = committee_digest(number, places, threshold, address_of(guardian), self.domain)
        signatures = [sign_digest(digest, signer) for signer in signers]
        return addresses(members), threshold, addresses([guardian])[0], signatures


def addresses(keys: Sequence[PrivateKey]) -> list[str]:
    return [address_hex(address_of(key)) for key in keys]


def unchecked(kind: type[T], **fields: Any) -> T:
    """An object of a validated class without its validation, to show the contract what it refuses."""
    made = object.__new__(kind)
    for name, value in fields.items():
        object.__setattr__(made, name, value)
    return made


def row(account: PrivateKey, word: int, mask: int) -> NullifierRow:
    return unchecked(NullifierRow, account=Address(address_of(account)), word=word, mask=mask)
