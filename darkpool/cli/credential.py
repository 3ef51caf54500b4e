"""The issuer's commands: credentials about accounts, and the list of those it no longer stands by."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from darkpool.cli.options import JsonOption
from darkpool.cli.trader import PassphraseOption, passphrase

if TYPE_CHECKING:
    from compliance.credential_revocations import RevocationList
    from darkpool.eip712 import Domain
    from darkpool.keystore import Keystore

credential = typer.Typer(help="An issuer's credentials about accounts.", no_args_is_help=True)

KeystoreOption = Annotated[Path, typer.Option(help="The issuer's keystore.", show_default=False)]
ChainOption = Annotated[
    int, typer.Option("--chain-id", help="Chain of the venue.", min=1, show_default=False)
]
ContractOption = Annotated[str, typer.Option("--contract", help="The venue's vault.", show_default=False)]
_DAY = 86_400


@credential.command(
    epilog="Example: darkpool credential issue --keystore issuer.json --subject 0x… --jurisdiction US "
    "--class institutional --chain-id 1 --contract 0x… --out credential.json"
)
def issue(
    keystore: KeystoreOption,
    subject: Annotated[str, typer.Option(help="The account it is about.", show_default=False)],
    jurisdiction: Annotated[str, typer.Option(help="ISO 3166 code, like US or US-NY.", show_default=False)],
    investor_class: Annotated[str, typer.Option("--class", help="Investor class.", show_default=False)],
    chain_id: ChainOption,
    contract: ContractOption,
    out: Annotated[Path, typer.Option(help="File to write.", show_default=False)],
    days: Annotated[int, typer.Option(help="How long it counts.", min=1, max=1830)] = 365,
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """State an account's jurisdiction and investor class, for one venue."""
    import secrets
    import time

    from compliance.credential_check import MAX_SERIAL
    from compliance.credentials import Claim, Credential
    from darkpool.client.files import write_file
    from darkpool.errors import ConfigError
    from darkpool.types import parse_address

    domain, account, now = domain_of(chain_id, contract), parse_address(subject), int(time.time())
    if out.exists():
        raise ConfigError(f"{out}: exists already", "choose another file")
    key, serial = _opened(keystore, passphrase_file), secrets.randbelow(MAX_SERIAL + 1)
    claim = Claim(account, jurisdiction, investor_class, now, now + days * _DAY, serial, key.address)
    document = Credential(claim, domain).signed(key.private_key).as_json()
    write_file(out, (json.dumps(document, indent=2) + "\n").encode())
    text = f"{out}: number {serial}, for {days} days; revoke it by that number"
    typer.echo(json.dumps(document) if as_json else text)


@credential.command(epilog="Example: darkpool credential show credential.json --policy policy/")
def show(
    file: Annotated[Path, typer.Argument(help="A credential or a revocation list.", show_default=False)],
    folder: Annotated[
        Path | None, typer.Option("--policy", help="Also verify it by this policy, now, for its subject.")
    ] = None,
    revocations: Annotated[
        list[Path] | None, typer.Option(help="An issuer's revocation list; repeat it for several.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """What a credential states or a list revokes, and whether its signature holds."""
    import time

    from compliance.credential_revocations import Revocations
    from compliance.credentials import Credential
    from compliance.policy import Policy
    from darkpool.types import address_hex

    data = read(file)
    if b'"darkpool-revocations"' in data:
        held = read_revocations(file)
        text = f"list {held.sequence} of {address_hex(held.issuer)}: {len(held.serials)} revoked"
        typer.echo(json.dumps(held.as_json()) if as_json else text)
        return
    found = Credential.from_bytes(data)
    found.check_signature()
    if folder is not None:
        lists = Revocations(found.domain, (read_revocations(each) for each in revocations or []))
        policy = Policy.load(folder)
        found.verify(found.domain, policy.issuers, found.claim.subject, int(time.time()), lists)
    rows = "\n".join(f"{name:15}{value}" for name, value in found.as_json().items())
    typer.echo(json.dumps(found.as_json()) if as_json else rows)


@credential.command(
    epilog="Example: darkpool credential revoke revocations.json --keystore issuer.json --serial 123 "
    "--chain-id 1 --contract 0x…"
)
def revoke(
    file: Annotated[Path, typer.Argument(help="The issuer's list; made if it is not there.")],
    keystore: KeystoreOption,
    chain_id: ChainOption,
    contract: ContractOption,
    serial: Annotated[
        list[int] | None, typer.Option(help="Number of a credential; none to renew the list as it is.", min=0)
    ] = None,
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Sign the next revocation list: the old one and these numbers. Hand it to every venue."""
    import time

    from compliance.credential_revocations import RevocationList
    from darkpool.client.files import write_file
    from darkpool.errors import ConfigError

    domain, now = domain_of(chain_id, contract), int(time.time())
    key = _opened(keystore, passphrase_file)
    held = read_revocations(file) if file.exists() else RevocationList(key.address, domain, 0, now, ())
    if held.issuer != key.address or held.domain != domain:
        raise ConfigError(f"{file}: another issuer's list, or for another venue", "give your own list")
    signed = held.next(now, serial or ()).signed(key.private_key)
    write_file(file, (json.dumps(signed.as_json()) + "\n").encode())
    text = f"{file}: list {signed.sequence}, {len(signed.serials)} revoked"
    typer.echo(json.dumps(signed.as_json()) if as_json else text)


# --- what the commands share ------------------------------------------------------------------------


def domain_of(chain_id: int | None, contract: str) -> Domain:
    """The venue that a credential is for. Raises ConfigError."""
    from darkpool.eip712 import Domain
    from darkpool.errors import ConfigError
    from darkpool.types import parse_address

    if chain_id is None or not contract:
        raise ConfigError("--chain-id and --contract: a credential is for one venue", "give both")
    return Domain(chain_id, parse_address(contract))


def read(path: Path) -> bytes:
    """The bytes of a credential or revocation list. Raises ConfigError."""
    from compliance.credential_revocations import MAX_BYTES
    from darkpool.client.files import read_file
    from darkpool.errors import ConfigError

    data = read_file(path, MAX_BYTES)
    if data is None:
        raise ConfigError(f"{path}: not found", "check the path")
    return data


def read_revocations(path: Path) -> RevocationList:
    """The revocation list in a file, signed by its issuer. Raises ConfigError, RevocationsRefused."""
    from compliance.credential_revocations import RevocationList

    return RevocationList.from_bytes(read(path))


def _opened(path: Path, file: Path | None) -> Keystore:
    from darkpool.keystore import Keystore

    return Keystore.open(path, passphrase(file))
