"""The vault on a chain: deposits and withdrawals of accounts, settlements, and the finalised events.

Every operation is one or two transactions signed here by the key that is passed; nothing is kept of it. A
call that the contract would revert raises `ChainRefused` with the contract's reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeVar

from darkpool.eip712 import Domain, address_of
from darkpool.errors import ChainError, ChainRefused, ConfigError
from darkpool.evm import Block, Event, Evm, Receipt
from darkpool.settlement import Settlement
from darkpool.types import Address, PrivateKey, Quanta, Signature, TokenIndex, address_hex, parse_address
from darkpool.vault import (
    Cancellation,
    CancelRequest,
    Deposit,
    Place,
    Proposal,
    Settled,
    Token,
    VaultEvent,
    VaultTerms,
    Withdrawal,
    WithdrawalRequest,
)

__all__ = ["Chain", "Receipt", "Token", "VaultTerms"]

# Bounds of gas, well above what is used; unused gas is not paid.
_GAS_DEPLOY: Final = 8_000_000
_GAS_CALL: Final = 300_000
_GAS_COMMITTEE: Final = 2_000_000
_GAS_SETTLE: Final = 500_000
_GAS_ROW: Final = 30_000

_RECENT_BLOCKS: Final = 256


V = TypeVar("V", bound=VaultEvent)


class Chain:
    """A chain, and once deployed or attached the vault on it. Not for use by several threads at once.

    `finality` is how many blocks below the head a block counts as final.
    """

    def __init__(self, evm: Evm, finality: int) -> None:
        if finality < 0:
            raise ConfigError(f"finality: {finality} blocks, must not be negative")
        self._evm: Final = evm
        self.finality: Final = finality
        self._vault: Address | None = None
        self._tokens: tuple[Token, ...] = ()

    @classmethod
    def embedded(cls, finality: int = 0) -> Chain:
        """A new chain in this process."""
        return cls(Evm.embedded(), finality)

    @classmethod
    def rpc(cls, url: str, finality: int = 2, faucet: PrivateKey | None = None) -> Chain:
        """The chain of a node; see `Evm.rpc`."""
        return cls(Evm.rpc(url, faucet), finality)

    # Setting up

    def deploy_token(self, key: PrivateKey, name: str, symbol: str, decimals: int) -> Address:
        """Create a token that anyone may mint, for tests and demonstrations."""
        return _created(self._evm.deploy(key, "TestToken", [name, symbol, decimals], _GAS_DEPLOY))

    def deploy_vault(self, key: PrivateKey, terms: VaultTerms) -> Address:
        """Create a vault, with an arbiter if the terms name none, and attach to it."""
        arbiter = terms.arbiter or _created(self._evm.deploy(key, "Arbiter", [], _GAS_DEPLOY))
        arguments = [
            terms.settle_window,
            terms.finality,
            terms.withdraw_delay,
            terms.cancel_delay,
            terms.committee_delay,
            [address_hex(member) for member in terms.members],
            terms.threshold,
            address_hex(terms.guardian or address_of(key)),
            [(address_hex(token.contract), token.quantum) for token in terms.tokens],
            address_hex(arbiter),
        ]
        vault = _created(self._evm.deploy(key, "Vault", arguments, _GAS_DEPLOY))
        self.attach(vault)
        return vault

    def attach(self, vault: Address) -> None:
        """Use an existing vault. Raises `ChainError` if no vault of this version lies there."""
        if not self._evm.code(vault):
            raise ChainError(f"vault: no contract at {address_hex(vault)}", "check the address and the chain")
        try:
            separator = self._evm.call("Vault", vault, "domain_separator")
        except ChainRefused as error:
            raise ChainError(
                f"vault: the contract at {address_hex(vault)} does not answer as one ({error.message})",
                "give the vault's address, not a token's",
            ) from None
        if separator != Domain(self.chain_id, vault).separator():
            raise ChainError(f"vault: {address_hex(vault)} signs under another domain")
        count = self._evm.call("Vault", vault, "TOKEN_COUNT")
        entries = (self._evm.call("Vault", vault, "tokens", place) for place in range(count))
        self._tokens = tuple(Token(parse_address(address), quantum) for address, quantum in entries)
        self._vault = vault

    def fund(self, account: Address, wei: int = 10**18) -> None:
        """Give an account ether for its transactions. Development chains only."""
        self._evm.fund(account, wei)

    def mint(self, key: PrivateKey, token: TokenIndex, account: Address, quanta: Quanta) -> Receipt:
        """Create quanta of a test token of the vault for an account."""
        chosen = self.token(token)
        units = quanta * chosen.quantum
        return self._evm.send(
            key, "TestToken", chosen.contract, "mint", [address_hex(account), units], _GAS_CALL
        )

    # Accounts

    def deposit(self, key: PrivateKey, token: TokenIndex, quanta: Quanta) -> Receipt:
        """Approve exactly what is needed, if not yet approved, and deposit; the receipt is the deposit's."""
        chosen, owner, spender = self.token(token), address_hex(address_of(key)), address_hex(self.vault)
        units = quanta * chosen.quantum
        if self._evm.call("TestToken", chosen.contract, "allowance", owner, spender) < units:
            self._evm.send(key, "TestToken", chosen.contract, "approve", [spender, units], _GAS_CALL)
        return self._send(key, "deposit", token, quanta)

    def request_withdrawal(self, key: PrivateKey, token: TokenIndex, quanta: Quanta) -> Receipt:
        """Ask for quanta back; `withdraw` pays after the vault's delay."""
        return self._send(key, "request_withdrawal", token, quanta)

    def withdraw(self, key: PrivateKey, token: TokenIndex) -> Receipt:
        """Collect what was requested, or the balance if that is less."""
        return self._send(key, "withdraw", token)

    def request_cancel(self, key: PrivateKey, word: int, mask: int) -> Receipt:
        """Ask to burn nonces 256 * word + i for the bits i of `mask`."""
        return self._send(key, "request_cancel", word, mask)

    def finalize_cancel(self, key: PrivateKey, word: int) -> Receipt:
        """Burn the requested nonces of a word after the vault's delay."""
        return self._send(key, "finalize_cancel", word)

    # Committee

    def settle(
        self, settlement: Settlement, signatures: Sequence[Signature], sender_key: PrivateKey
    ) -> Receipt:
        """Submit a settlement; `signatures` ascend by signer (`settlement.ordered_signatures`)."""
        rows = len(settlement.deltas) + len(settlement.nullifiers)
        gas = _GAS_SETTLE + _GAS_ROW * rows
        return self._evm.send(
            sender_key, "Vault", self.vault, "settle", [settlement.packed(), list(signatures)], gas
        )

    def landed(self, number: int) -> Settled | None:
        """The settlement of that id, final or not; None if no recent block has it."""
        head = self._evm.head()
        first = max(0, head - max(self.finality, _RECENT_BLOCKS))
        found = self._evm.events("Vault", self.vault, Settled.EVENT, first, head, {"id": number})
        return _decoded(Settled, found[-1]) if found else None

    def propose_committee(
        self,
        key: PrivateKey,
        members: Sequence[Address],
        threshold: int,
        guardian: Address,
        signatures: Sequence[Signature],
    ) -> Receipt:
        """Announce the next committee; `signatures` are of `committee_digest(last_epoch() + 1, ...)`."""
        arguments = [
            [address_hex(member) for member in members],
            threshold,
            address_hex(guardian),
            list(signatures),
        ]
        return self._evm.send(key, "Vault", self.vault, "propose_committee", arguments, _GAS_COMMITTEE)

    def activate_committee(self, key: PrivateKey) -> Receipt:
        """Put the announced committee into office after the vault's delay."""
        return self._evm.send(key, "Vault", self.vault, "activate_committee", [], _GAS_COMMITTEE)

    def pause_settling(self, guardian: PrivateKey) -> Receipt:
        """Make the vault refuse settlements until they are resumed; nothing else stops."""
        return self._send(guardian, "pause_settling")

    def resume_settling(self, guardian: PrivateKey) -> Receipt:
        """Let the vault take settlements again."""
        return self._send(guardian, "resume_settling")

    # State

    @property
    def evm(self) -> Evm:
        """The chain itself, for what is not about the vault."""
        return self._evm

    @property
    def chain_id(self) -> int:
        """The chain's EIP-155 number."""
        return self._evm.chain_id

    @property
    def vault(self) -> Address:
        """The vault in use. Raises `ConfigError` before `deploy_vault` or `attach`."""
        if self._vault is None:
            raise ConfigError("chain: no vault is attached", "deploy one or give its address")
        return self._vault

    @property
    def tokens(self) -> tuple[Token, ...]:
        """The vault's tokens by their index."""
        return self._tokens

    def token(self, index: TokenIndex) -> Token:
        """One of the vault's tokens. Raises `ConfigError`."""
        if not 0 <= index < len(self._tokens):
            raise ConfigError(f"token {index}: the vault has {len(self._tokens)}")
        return self._tokens[index]

    def domain(self) -> Domain:
        """What signatures for this vault are bound to."""
        return Domain(self.chain_id, self.vault)

    def balance(self, token: TokenIndex, account: Address) -> Quanta:
        """Quanta of an account at the latest block."""
        return Quanta(self._number("balance_of", token, address_hex(account)))

    def nullifier_word(self, account: Address, word: int) -> int:
        """Used nonces of an account at the latest block: bit i for nonce 256 * word + i."""
        return self._number("nullifiers", address_hex(account), word)

    def next_id(self) -> int:
        """The settlement id that is accepted next."""
        return self._number("next_id")

    def epoch(self) -> int:
        """Number of the present committee."""
        return self._number("epoch")

    def last_epoch(self) -> int:
        """Highest number given to a committee or a proposal."""
        return self._number("last_epoch")

    def proposal(self) -> Proposal:
        """What is proposed, at the latest block."""
        epoch, _, _, ready_at, _ = self._evm.call("Vault", self.vault, "proposal")
        return Proposal(int(epoch), int(ready_at))

    def quorum(self) -> int:
        """How many members sign: 2t + 1."""
        return 2 * self._number("threshold") + 1

    def members(self) -> tuple[Address, ...]:
        """Signers of the present committee, ascending."""
        return tuple(map(parse_address, self._evm.call("Vault", self.vault, "members")))

    def guardian(self) -> Address:
        """Who may pause settling."""
        return parse_address(self._evm.call("Vault", self.vault, "guardian"))

    def paused(self) -> bool:
        """Whether settling is paused, at the latest block."""
        return bool(self._evm.call("Vault", self.vault, "paused"))

    def frozen(self) -> bool:
        """Whether the committee is frozen, since a settlement it signed was proven false."""
        return bool(self._evm.call("Vault", self.vault, "frozen"))

    def arbiter(self) -> Address:
        """The contract that judges contests."""
        return parse_address(self._evm.call("Vault", self.vault, "ARBITER"))

    def settle_window(self) -> int:
        """Seconds after its sealing time for which a settlement is accepted."""
        return self._number("SETTLE_WINDOW")

    def request_delay(self) -> int:
        """Seconds that an account's requests wait: the shorter one of withdrawals and cancellations."""
        return min(self._number("WITHDRAW_DELAY"), self._number("CANCEL_DELAY"))

    def block(self, number: int) -> Block:
        """A block's time and hash."""
        return self._evm.block(number)

    def now(self) -> int:
        """Time of the latest block, unix seconds."""
        return self._evm.now()

    def sealing_time(self) -> int:
        """The time to seal a round with: not in the future for the next block, yet fresh (unix seconds)."""
        return self._evm.sealing_time()

    def advance(self, seconds: int) -> None:
        """Let time pass. Development chains only."""
        self._evm.advance(seconds)

    # Finalised events

    def head(self) -> int:
        """Number of the latest block."""
        return self._evm.head()

    def final_block(self) -> int:
        """Number of the latest final block; negative while there is none."""
        return self._evm.head() - self.finality

    def deposits(self, from_block: int = 0, to_block: int | None = None) -> list[Deposit]:
        """Final deposits in the closed range of blocks, in chain order; `None` is up to the latest."""
        return self._final(Deposit, from_block, to_block)

    def withdrawal_requests(
        self, from_block: int = 0, to_block: int | None = None
    ) -> list[WithdrawalRequest]:
        """Final requests for withdrawal, as `deposits`."""
        return self._final(WithdrawalRequest, from_block, to_block)

    def withdrawals(self, from_block: int = 0, to_block: int | None = None) -> list[Withdrawal]:
        """Final withdrawals, as `deposits`."""
        return self._final(Withdrawal, from_block, to_block)

    def cancel_requests(self, from_block: int = 0, to_block: int | None = None) -> list[CancelRequest]:
        """Final requests to burn nonces, as `deposits`."""
        return self._final(CancelRequest, from_block, to_block)

    def cancellations(self, from_block: int = 0, to_block: int | None = None) -> list[Cancellation]:
        """Final burnings of nonces, as `deposits`."""
        return self._final(Cancellation, from_block, to_block)

    def settlements(self, from_block: int = 0, to_block: int | None = None) -> list[Settled]:
        """Final settlements, as `deposits`; with the others they rebuild every balance and every bit."""
        return self._final(Settled, from_block, to_block)

    # Inside

    def _final(self, kind: type[V], from_block: int, to_block: int | None) -> list[V]:
        final = self.final_block()
        last = final if to_block is None else min(to_block, final)
        found = self._evm.events("Vault", self.vault, kind.EVENT, from_block, last)
        return [_decoded(kind, event) for event in found]

    def _send(self, key: PrivateKey, function: str, *arguments: int) -> Receipt:
        return self._evm.send(key, "Vault", self.vault, function, arguments, _GAS_CALL)

    def _number(self, function: str, *arguments: int | str) -> int:
        return int(self._evm.call("Vault", self.vault, function, *arguments))


def _decoded(kind: type[V], event: Event) -> V:
    return kind.decoded(Place(event.block, event.log_index, event.tx_hash), event.arguments)


def _created(receipt: Receipt) -> Address:
    if receipt.contract is None:
        raise ChainError("deployment: the receipt names no contract")
    return receipt.contract
