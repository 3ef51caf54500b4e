"""One EVM chain behind web3: signed transactions, calls, events and time.

The same code drives a chain inside this process (eth-tester with py-evm) and a node over HTTP. Transactions
are signed here and sent raw; only a development node's faucet may be an unlocked account. web3 is imported
when a chain is opened, because that takes a second.

Time. A block's time is later than its parent's, so a development chain that mines faster than a block a
second runs ahead of the clock on the wall, and one that mines nothing stays behind it; `sealing_time` covers
both.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast
from urllib.parse import urlsplit

import contracts
from darkpool.eip712 import address_of
from darkpool.errors import ChainError, ChainRefused, ConfigError
from darkpool.evm_errors import NodeRefused, Posted, asked, posted
from darkpool.evm_records import Block, Event, Fees, Receipt, Signed
from darkpool.types import Address, PrivateKey, address_hex, parse_address

if TYPE_CHECKING:
    from eth_tester import EthereumTester
    from eth_typing import ChecksumAddress, Hash32
    from web3 import Web3
    from web3.contract import Contract
    from web3.types import LogReceipt

__all__ = ["Block", "Event", "Evm", "Fees", "Posted", "Receipt", "Signed"]

T = TypeVar("T")

EMBEDDED_GAS_LIMIT: Final = 60_000_000
"""Block gas limit of the embedded chain: room for the largest settlement with nothing warm."""

MAX_TRANSACTION_GAS: Final = 1 << 24
"""Most gas of one transaction on chains with EIP-7825; asked of remote nodes."""

REQUEST_TIMEOUT: Final = 10
"""Seconds an HTTP request to a node may take."""

RECEIPT_TIMEOUT: Final = 180
"""Seconds to wait for a transaction to be mined."""

_EMBEDDED_FAUCET: Final = PrivateKey((1).to_bytes(32))  # eth-tester's first account, rich on every such chain
_TIP: Final = 10**9


class Evm:
    """An open connection to a chain, or the chain itself. Not for use by several threads at once."""

    def __init__(
        self, web3: Web3, tester: EthereumTester | None, faucet: PrivateKey | None, where: str = ""
    ) -> None:
        self._where = where  # host and port of the node, without what a URL may hold besides
        self._web3 = web3
        self._tester = tester
        self._faucet = faucet
        self._lead = 0  # seconds by which `advance` moved the embedded chain ahead of the wall clock
        # Calls on the embedded chain need a sender with ether, and finding one doubles their time.
        self._reader: Any = {} if tester is None or faucet is None else {"from": _text(address_of(faucet))}
        self._interfaces: dict[tuple[str, Address], Contract] = {}
        # All logs of the embedded chain: it has no transactions but ours, and its own search for logs takes
        # time that grows with the square of the number of blocks.
        self._logs: list[LogReceipt] = []
        self.chain_id: Final[int] = self._asked(lambda: int(web3.eth.chain_id))

    @classmethod
    def embedded(cls) -> Evm:
        """A new chain in this process; it ends with the object."""
        from eth_tester import EthereumTester, PyEVMBackend
        from web3 import EthereumTesterProvider, Web3

        genesis = PyEVMBackend.generate_genesis_params({"gas_limit": EMBEDDED_GAS_LIMIT})
        tester = EthereumTester(PyEVMBackend(genesis_parameters=genesis))
        return cls(Web3(EthereumTesterProvider(tester)), tester, _EMBEDDED_FAUCET)

    @classmethod
    def rpc(cls, url: str, faucet: PrivateKey | None = None) -> Evm:
        """The chain of a node at an http or https URL. Raises `ConfigError`, `ChainError`.

        `faucet` pays `fund`; without it the node's first unlocked account does, as development nodes have.
        """
        from web3 import HTTPProvider, Web3

        if urlsplit(url).scheme not in {"http", "https"} or not urlsplit(url).netloc:
            # The URL itself may hold a password.
            raise ConfigError("chain url: neither http nor https", "for example http://127.0.0.1:8545")
        # Whoever asks tries again itself, and knows for how long.
        provider = HTTPProvider(
            url, request_kwargs={"timeout": REQUEST_TIMEOUT}, exception_retry_configuration=None
        )
        return cls(Web3(provider), None, faucet, urlsplit(url).netloc.rpartition("@")[2])

    # Blocks and time

    def head(self) -> int:
        """Number of the latest block."""
        return self._asked(lambda: int(self._web3.eth.block_number))

    def block(self, number: int) -> Block:
        """A block's time and hash. Raises `ChainError` if the chain has none of that number."""
        found = self._asked(lambda: self._web3.eth.get_block(number))
        return Block(int(found["timestamp"]), bytes(found["hash"]))

    def now(self) -> int:
        """Time of the latest block, unix seconds."""
        return self._asked(lambda: int(self._web3.eth.get_block("latest")["timestamp"]))

    def sealing_time(self) -> int:
        """A time that is not in the future for the next block, and as late as that allows, unix seconds."""
        return max(self.now(), int(time.time()) + self._lead)

    def advance(self, seconds: int) -> None:
        """Mine a block at least `seconds` later than the latest one. Development chains only."""
        if seconds < 1:
            raise ConfigError(f"advance: {seconds} seconds, must be at least 1")
        if self._tester is not None:
            target = self.now() + seconds
            self._lead = max(self._lead, target - int(time.time()))
            self._set_pending_time(target)
            self._asked(self._tester.mine_block)
            return
        target = self.now() + seconds
        self._request("evm_setNextBlockTimestamp", [target])
        self._request("evm_mine", [])

    def code(self, address: Address) -> bytes:
        """The code at an address; empty if it is no contract."""
        return self._asked(lambda: bytes(self._web3.eth.get_code(_text(address))))

    def ether(self, account: Address) -> int:
        """What an account has to pay gas with, wei."""
        return self._asked(lambda: int(self._web3.eth.get_balance(_text(account))))

    # Transactions

    def fund(self, account: Address, wei: int) -> None:
        """Give an account ether from the faucet."""
        if self._faucet is not None:
            self._send(self._faucet, account, b"", 21_000, wei)
            return
        accounts = self._asked(lambda: self._web3.eth.accounts)
        if not accounts:
            raise ChainError("faucet: the node has no unlocked account", "give the chain a faucet key")
        transaction: Any = {"from": accounts[0], "to": address_hex(account), "value": wei}
        self._mined(bytes(self._asked(lambda: self._web3.eth.send_transaction(transaction))))

    def deploy(self, key: PrivateKey, name: str, arguments: Sequence[Any], gas: int) -> Receipt:
        """Create the contract of that name from its artifact; the receipt names its address."""
        artifact = contracts.load(name)
        factory = self._web3.eth.contract(abi=artifact.abi, bytecode=artifact.bytecode)
        data = self._encoded(lambda: factory.constructor(*arguments).data_in_transaction)
        return self._send(key, None, bytes.fromhex(str(data).removeprefix("0x")), gas)

    def send(
        self,
        key: PrivateKey,
        name: str,
        address: Address,
        function: str,
        arguments: Sequence[Any],
        gas: int,
        fees: Fees | None = None,
        value: int = 0,
    ) -> Receipt:
        """Call a function of a contract in a transaction signed by `key`, and wait until it is mined.

        `gas` bounds what it may use; a remote node is asked for an estimate instead. `fees` is what it
        offers; if None, what the next blocks take. `value`: wei to go with it. Raises `ChainRefused` with the
        contract's reason, if possible before anything is sent, and `ChainError`.
        """
        return self._send(key, address, self.encoded(name, address, function, arguments), gas, value, fees)

    def encoded(self, name: str, address: Address, function: str, arguments: Sequence[Any]) -> bytes:
        """What a transaction says to call a function of a contract. Raises `ConfigError`."""
        interface = self._interface(name, address)
        text = self._encoded(lambda: interface.encode_abi(function, arguments))
        return bytes.fromhex(text.removeprefix("0x"))

    def nonces(self, account: Address) -> tuple[int, int]:
        """How many transactions of the account are in blocks, and how many with those that wait."""
        count, sender = self._web3.eth.get_transaction_count, _text(account)
        return self._asked(lambda: (int(count(sender, "latest")), int(count(sender, "pending"))))

    def fees(self) -> Fees:
        """What the next blocks will take, though the base fee may double before."""
        base = self._asked(lambda: int(self._web3.eth.get_block("latest")["baseFeePerGas"]))
        tip = max(_TIP, self._asked(lambda: int(self._web3.eth.max_priority_fee)))
        return Fees(2 * base + tip, tip)

    def estimate(
        self, sender: Address, to: Address | None, data: bytes, at: str = "pending", value: int = 0
    ) -> int:
        """Gas to allow for a transaction of `value` wei on the state `at` ("latest" or "pending").

        Raises `ChainRefused` with the contract's reason if it would fail.
        """
        transaction: Any = {"from": _text(sender), "value": value, **_target(to), "data": data}
        if self._tester is not None:
            self._set_pending_time(max(self.now() + 1, int(time.time()) + self._lead))
            # Its estimator runs the transaction a dozen times; one run tells whether it reverts.
            transaction["gas"] = EMBEDDED_GAS_LIMIT
            self._asked(lambda: self._web3.eth.call(transaction, "pending"))
            return MAX_TRANSACTION_GAS
        estimate = self._asked(lambda: int(self._web3.eth.estimate_gas(transaction, at)))  # type: ignore[arg-type]
        return min(estimate * 5 // 4, max(estimate, MAX_TRANSACTION_GAS))

    def sign(
        self,
        key: PrivateKey,
        to: Address | None,
        data: bytes,
        nonce: int,
        gas: int,
        fees: Fees,
        value: int = 0,
    ) -> Signed:
        """A transaction signed by `key`: the same for the same arguments."""
        transaction: Any = {
            **_target(to),
            "type": 2,
            "chainId": self.chain_id,
            "data": data,
            "value": value,
            "nonce": nonce,
            "gas": gas,
            "maxFeePerGas": fees.most,
            "maxPriorityFeePerGas": fees.tip,
        }
        signed = self._web3.eth.account.sign_transaction(transaction, key)
        return Signed(bytes(signed.hash), bytes(signed.raw_transaction))

    def post(self, signed: Signed) -> Posted:
        """Hand a transaction to the node, without waiting. After a `ChainError` it may have it or not."""
        try:
            self._asked(lambda: self._web3.eth.send_raw_transaction(signed.raw))
        except NodeRefused as error:
            return posted(error)
        if self._tester is not None:
            self._logs += self._web3.eth.get_transaction_receipt(_hash(signed.tx_hash))["logs"]
        return Posted.TAKEN

    def known(self, tx_hash: bytes) -> bool:
        """Whether the node has the transaction, in a block or waiting."""
        return self._found(lambda: self._web3.eth.get_transaction(_hash(tx_hash))) is not None

    def mined(self, tx_hash: bytes) -> Receipt | None:
        """The receipt of a transaction; None while it is in no block. Raises `ChainRefused` if it failed."""
        receipt = self._found(lambda: self._web3.eth.get_transaction_receipt(_hash(tx_hash)))
        if receipt is None:
            return None
        block = int(receipt["blockNumber"])
        if receipt["status"] != 1:
            # It passed before it was sent; run it again on the block it failed in to hear why.
            sent = self._asked(lambda: self._web3.eth.get_transaction(_hash(tx_hash)))
            replay: Any = {
                "from": sent["from"],
                "value": sent["value"],
                "data": sent["input"],
                **({"to": sent["to"]} if sent.get("to") else {}),
            }
            self._asked(lambda: self._web3.eth.call(replay, block))
            raise ChainRefused("the transaction failed, and would not now", "send it again")
        created = receipt.get("contractAddress")
        contract = parse_address(created) if created else None
        return Receipt(tx_hash, int(receipt["gasUsed"]), block, contract, int(receipt["effectiveGasPrice"]))

    def call(self, name: str, address: Address, function: str, *arguments: Any) -> Any:  # noqa: ANN401
        """The value of a view function at the latest block; addresses come as checksummed text."""
        interface = self._interface(name, address)
        return self._asked(lambda: interface.functions[function](*arguments).call(self._reader))

    def events(
        self,
        name: str,
        address: Address,
        event: str,
        from_block: int,
        to_block: int,
        having: Mapping[str, int] = MappingProxyType({}),
    ) -> list[Event]:
        """Events of one kind in the closed range of blocks, in chain order; `having`: indexed arguments."""
        if from_block > to_block:
            return []
        kind = self._interface(name, address).events[event]()
        if self._tester is not None:
            from eth_utils.abi import event_abi_to_log_topic

            topic, emitter = event_abi_to_log_topic(kind.abi), _text(address)
            found = [
                kind.process_log(log)
                for log in self._logs
                if log["address"] == emitter
                and bytes(log["topics"][0]) == topic
                and from_block <= int(log["blockNumber"]) <= to_block
            ]
        else:
            found = list(self._asked(lambda: kind.get_logs(dict(having), from_block, to_block)))
        events = [
            Event(int(e["blockNumber"]), int(e["logIndex"]), bytes(e["transactionHash"]), e["args"])
            for e in found
            if having.items() <= e["args"].items()
        ]
        return sorted(events, key=lambda entry: (entry.block, entry.log_index))

    # Inside

    def _interface(self, name: str, address: Address) -> Contract:
        cached = self._interfaces.get((name, address))
        if cached is None:
            cached = self._web3.eth.contract(_text(address), abi=contracts.load(name).abi)
            self._interfaces[name, address] = cached
        return cached

    def _send(
        self,
        key: PrivateKey,
        to: Address | None,
        data: bytes,
        gas: int,
        value: int = 0,
        fees: Fees | None = None,
    ) -> Receipt:
        sender = address_of(key)
        estimate = self.estimate(sender, to, data, value=value) if data else gas
        allowed = estimate if self._tester is None else min(gas, EMBEDDED_GAS_LIMIT)
        signed = self.sign(key, to, data, self.nonces(sender)[1], allowed, fees or self.fees(), value)
        if self.post(signed) is not Posted.TAKEN:
            raise ChainError("node: took another transaction of this account meanwhile", "try again")
        return self._mined(signed.tx_hash)

    def _mined(self, tx_hash: bytes) -> Receipt:
        """Wait for its receipt. Raises as `mined`, and `ChainError` after RECEIPT_TIMEOUT."""
        wait = self._web3.eth.wait_for_transaction_receipt
        self._asked(lambda: wait(_hash(tx_hash), timeout=RECEIPT_TIMEOUT))
        found = self.mined(tx_hash)
        if found is None:
            raise ChainError("transaction: its block was reorganised away", "look before sending again")
        return found

    def _found(self, ask: Callable[[], T]) -> T | None:
        """The answer, or None if the node knows no such transaction."""
        from web3.exceptions import TransactionNotFound

        def tried() -> T | None:
            try:
                return ask()
            except TransactionNotFound:
                return None

        return self._asked(tried)

    def _set_pending_time(self, timestamp: int) -> None:
        """Date the block being built; eth-tester dates it when its parent is mined, however long ago."""
        if self._tester is not None:
            chain = self._tester.backend.chain
            chain.header = chain.header.copy(timestamp=timestamp)

    def _request(self, method: str, parameters: list[int]) -> None:
        def request() -> None:
            answer = self._web3.provider.make_request(method, parameters)  # type: ignore[arg-type]
            if "error" in answer:
                raise ChainError(f"{method}: the node refused", "only a development chain can do this")

        self._asked(request)

    def _encoded(self, encode: Callable[[], T]) -> T:
        """Arguments that do not fit the contract's types are the caller's fault."""
        from eth_abi.exceptions import EncodingError
        from web3.exceptions import Web3Exception

        try:
            return encode()
        except (Web3Exception, EncodingError, TypeError, ValueError) as error:
            raise ConfigError("contract arguments: a value does not fit its type in the contract") from error

    def _asked(self, ask: Callable[[], T]) -> T:
        """The answer to a question to the node, or the errors of this package."""
        return asked(ask, self._where, embedded=self._tester is not None)


def _text(address: Address) -> ChecksumAddress:
    return cast("ChecksumAddress", address_hex(address))


def _hash(tx_hash: bytes) -> Hash32:
    return cast("Hash32", tx_hash)


def _target(to: Address | None) -> dict[str, str]:
    """Whom a transaction calls; nobody, if it creates a contract."""
    return {} if to is None else {"to": _text(to)}
