"""What makes one venue of a data folder: committee, operator's key, vault and tokens on a chain.

    darkpool.toml    settings (config.py)
    venue.json       public: identity, chain, vault, tokens, key and signers of the first committee
    operator.key     secret: signs receipts and pays gas
    committee.json and the members: see convening.py
    venue.db         the operator's database, unless settings name another

Everything is made once, and each file is written whole or not at all: whoever is interrupted starts again.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from commitments.errors import CommitmentsError
from commitments.paillier import PublicKey, public_key
from darkpool import eip712
from darkpool.chain import Chain, Token, VaultTerms
from darkpool.config import FILE, MarketSettings, Settings
from darkpool.errors import ConfigError
from darkpool.files import write_whole
from darkpool.jsontext import parsed
from darkpool.market import Grid, Market
from darkpool.message import Message
from darkpool.netting import Signers
from darkpool.order import Terms
from darkpool.screening import PolicyTerms
from darkpool.timing import block_seconds, check_pace
from darkpool.types import Address, Lots, PrivateKey, address_hex, parse_address

VENUE: Final = "venue.json"
OPERATOR: Final = "operator.key"
_MAX_FILE: Final = 1 << 16
_ETHER: Final = 10**20
NO_POLICY: Final = PolicyTerms()


@dataclass(frozen=True, slots=True)
class Deployment:
    """Where a venue lives. `tokens` as the vault has them, in the order of the settings.

    key, signers: of its first committee; its log says which one is in office (tenure.py).
    """

    venue: bytes
    chain_id: int
    vault: Address
    tokens: tuple[Address, ...]
    key: PublicKey
    signers: Signers
    settle_window: int

    def save(self, folder: Path) -> None:
        """Write venue.json."""
        document = {
            "venue": self.venue.hex(),
            "chain_id": self.chain_id,
            "vault": address_hex(self.vault),
            "tokens": [address_hex(token) for token in self.tokens],
            "modulus": f"{int(self.key.n):x}",
            "settle_window": self.settle_window,
            "threshold": self.signers.threshold,
            "signers": {str(i): address_hex(a) for i, a in self.signers.addresses.items()},
        }
        write_whole(folder / VENUE, json.dumps(document, indent=2) + "\n", 0o644)

    @staticmethod
    def load(folder: Path) -> Deployment | None:
        """What venue.json says; None if there is none yet. Raises ConfigError."""
        try:
            with (folder / VENUE).open("rb") as file:
                data = file.read(_MAX_FILE)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ConfigError(f"{folder / VENUE}: {error.strerror}", "make it readable") from None
        try:
            document = dict(parsed(data, VENUE))  # type: ignore[call-overload]  # a TypeError is caught
            message = Message("venue", document)
            addresses = {int(i): parse_address(a) for i, a in document["signers"].items()}
            return Deployment(
                message.octets("venue", 32),
                message.integer("chain_id", 1),
                parse_address(message.text("vault", 42)),
                tuple(parse_address(token) for token in document["tokens"]),
                public_key(int(message.text("modulus", 2_048), 16)),
                Signers(message.integer("threshold", 1), addresses),
                message.integer("settle_window", 1),
            )
        except (CommitmentsError, ConfigError, KeyError, TypeError, ValueError) as error:
            raise ConfigError(
                f"{folder / VENUE}: not what this program wrote ({type(error).__name__})",
                "restore the folder from a backup",
            ) from None

    def terms(
        self,
        settings: Settings,
        market: MarketSettings,
        name: str = "",
        policy: PolicyTerms = NO_POLICY,
        grid: Grid | None = None,
    ) -> Terms:
        """The terms of a market of the settings, on the grid given or on theirs. Raises ConfigError.

        name: in the log, if it is a segment's.
        """
        symbols = [token.symbol for token in settings.token]
        base, quote = (self.tokens[symbols.index(symbol)] for symbol in (market.base, market.quote))
        instrument = settings.instrument(market)
        return Terms(
            chain_id=self.chain_id,
            contract=self.vault,
            venue=self.venue,
            market=Market(
                id=self.market_id(name or market.name),
                name=name or market.name,
                base=base,
                quote=quote,
                lot=instrument.lot,
                grid=grid or settings.grid(market),
                pressure_ticks=market.pressure_ticks,
                min_volume=Lots(market.min_volume),
                min_accounts=market.min_accounts,
                min_orders=market.min_orders,
            ),
            key=self.key,
            policy_hash=policy.hash,
            tokens=self.tokens,
            settle_window=self.settle_window,
            auditor_keys=policy.auditor_keys,
        )

    def market_id(self, name: str) -> bytes:
        """The id of the venue's market of that name."""
        return eip712.keccak256(self.venue + name.encode())


def operator_key(folder: Path) -> PrivateKey:
    """The operator's key, made at the first call. Raises ConfigError."""
    path = folder / OPERATOR
    if not path.exists():
        write_whole(path, eip712.fresh_key().hex() + "\n", 0o600)
    if path.stat().st_mode & 0o077:
        raise ConfigError(f"{path}: others may read it", f"run chmod 600 {path}")
    try:
        key = PrivateKey(bytes.fromhex(path.read_text("ascii").strip()))
    except ValueError:
        raise ConfigError(f"{path}: not a key", "restore it from a backup") from None
    eip712.address_of(key)
    return key


def deploy(
    folder: Path,
    settings: Settings,
    chain: Chain,
    committee: PublicKey,
    signers: Signers,
    key: PrivateKey,
) -> Deployment:
    """The venue's vault, attached to or deployed by `key` at the first call.

    `committee` and `signers` are of its first committee. Raises ConfigError, ChainError.
    """
    found = Deployment.load(folder)
    if found is not None:
        if found.chain_id != chain.chain_id:
            raise ConfigError(
                f"chain: its id is {chain.chain_id}, the venue lives on {found.chain_id}", "give its own node"
            )
        chain.attach(found.vault)
        _check_clocks(settings, chain)
        return found
    if settings.chain.vault:
        chain.attach(parse_address(settings.chain.vault))
        if (number := chain.next_id()) != 1:
            raise ConfigError(
                f"chain.vault: {address_hex(chain.vault)} has settled before: settlement {number} is next",
                "deploy a vault for this venue: its log knows nothing of settlements before it",
            )
    else:
        _deploy_vault(settings, chain, signers, key)
    members = tuple(sorted(signers.addresses.values()))
    if chain.members() != members or len(chain.tokens) != len(settings.token):
        raise ConfigError(
            f"vault: {address_hex(chain.vault)} has another committee or other tokens",
            "deploy one for this venue",
        )
    _check_clocks(settings, chain)
    deployment = Deployment(
        secrets.token_bytes(32),
        chain.chain_id,
        chain.vault,
        tuple(token.contract for token in chain.tokens),
        committee,
        signers,
        chain.settle_window(),
    )
    deployment.save(folder)
    return deployment


def _check_clocks(settings: Settings, chain: Chain) -> None:
    """A settlement can land for as long as the vault says, whatever the settings do; blocks come in time."""
    vault = chain.settle_window()
    if settings.chain.settle_window != vault:
        raise ConfigError(
            f"chain.settle_window: {settings.chain.settle_window} s, but the vault's is {vault} s for good",
            f"set it to {vault}",
        )
    check_pace(chain, block_seconds(chain) if settings.chain.rpc_url else settings.chain.block_seconds)


def _deploy_vault(settings: Settings, chain: Chain, signers: Signers, key: PrivateKey) -> None:
    limits = settings.chain
    if not limits.rpc_url:
        chain.fund(eip712.address_of(key), _ETHER)
    tokens = [
        Token(
            parse_address(token.address)
            if token.address
            else chain.deploy_token(key, token.name, token.symbol, token.decimals),
            settings.units(token.symbol).quantum,
        )
        for token in settings.token
    ]
    terms = VaultTerms(
        tuple(sorted(signers.addresses.values())),
        signers.threshold,
        tuple(tokens),
        limits.settle_window,
        limits.finality_seconds,
        limits.withdraw_delay,
        limits.cancel_delay,
        limits.committee_delay,
        parse_address(limits.guardian) if limits.guardian else None,
    )
    chain.deploy_vault(key, terms)


def remember_options(
    folder: Path, settings: Settings, overrides: Mapping[str, Mapping[str, object]]
) -> Settings:
    """Write options of the command line into a new folder's darkpool.toml, so that the next start has them.

    Every process of the venue reads its settings there. Raises ConfigError if a file there says otherwise.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not overrides:
        return settings
    path = folder / FILE
    if not path.exists():
        lines = [
            f"[{group}]\n" + "".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items())
            for group, values in overrides.items()
        ]
        write_whole(path, "\n".join(lines), 0o600)
    kept = Settings.load(folder)
    other = [
        f"{group}.{name} is {getattr(getattr(kept, group), name)}, not {value}"
        for group, values in overrides.items()
        for name, value in values.items()
        if getattr(getattr(kept, group), name) != getattr(getattr(settings, group), name)
    ]
    if other:
        raise ConfigError(f"{path}: {'; '.join(other)}", "change it there, or leave the option out")
    return settings
