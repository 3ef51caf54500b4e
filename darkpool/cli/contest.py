"""`darkpool contest`: a false settlement shown to the chain, and unwound."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from darkpool.cli.options import JsonOption
from darkpool.cli.trader import (
    DEFAULT_HOME,
    DEFAULT_RPC,
    DEFAULT_VENUE,
    ChainOption,
    HomeOption,
    PassphraseOption,
    VenueOption,
    home_of,
    opened,
    show,
)

if TYPE_CHECKING:
    from darkpool.chain import Chain
    from darkpool.client.trader_home import TraderHome
    from darkpool.contest import Case, Evidence, SettledRecord
    from darkpool.evm import Receipt
    from darkpool.keystore import Keystore

_COLUMNS = ("settlement", "rounds", "finding")


def contest(
    round_number: Annotated[
        int | None, typer.Argument(metavar="ROUND", help="A round of it. Default: look at all.", min=1)
    ] = None,
    market: Annotated[str, typer.Option(help="The round's market, if there are several.")] = "",
    settlement: Annotated[
        int | None, typer.Option(help="The settlement by its id, instead of a round.", min=1)
    ] = None,
    deny: Annotated[
        bool,
        typer.Option("--deny", help="Though its rounds are unknown: deny that it has any."),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be sent, and end.")] = False,
    wait: Annotated[bool, typer.Option(help="Wait until what is denied cannot be refuted any more.")] = True,
    home: HomeOption = DEFAULT_HOME,
    venue: VenueOption = DEFAULT_VENUE,
    rpc_url: ChainOption = DEFAULT_RPC,
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the chain that a settlement took what no fills of your orders could have cost, and have it undone.

    Needs a node and the keystore; the venue only for what `darkpool watch` has not kept. It opens your orders
    of that settlement to everybody. docs/dispute.md says what is proven and what a false claim costs.
    """
    from darkpool.client.contesting import chain_of
    from darkpool.client.disputes import judged
    from darkpool.errors import OrderRefused

    folder = home_of(home)
    keystore, chain = opened(folder, passphrase_file), chain_of(folder, rpc_url)
    cases, names = _cases(chain, folder, keystore, venue)
    if round_number is None and settlement is None:
        rows = [_row(case, judged(case, keystore, folder), names) for case in cases]
        show("Settlements that can be contested", rows, as_json=as_json, columns=_COLUMNS)
        return
    case = _chosen(cases, round_number, names.get(market, market), settlement)
    if not case.rounds and not deny and case.record.consumed(keystore.address):
        raise OrderRefused(
            f"settlement {case.record.id}: its rounds are not known here, so neither is what you may expect",
            "run it while the venue answers; with --deny you claim that it has none, and who shows one wins",
        )
    evidence = judged(case, keystore, folder)
    if evidence is None:
        raise OrderRefused(
            f"settlement {case.record.id}: what it did to this account can have come of fills of its orders",
            "a contest would lose the bond; docs/dispute.md says what cannot be shown",
        )
    _run(chain, keystore, case.record, evidence, dry_run=dry_run, wait=wait, as_json=as_json)


def _cases(
    chain: Chain, folder: TraderHome, keystore: Keystore, venue: str
) -> tuple[list[Case], dict[str, str]]:
    """Of every settlement that can be contested: kept, else as the venue tells, else as shown on chain.

    With them ids of markets by name, if the venue had to be asked.
    """
    from darkpool.arbiter import rounds_shown, settled_of_late
    from darkpool.client.disputes import kept_case
    from darkpool.client.trader import Trader
    from darkpool.contest import Case
    from darkpool.errors import DarkpoolError
    from darkpool.jsonfields import hex_text

    records, names = settled_of_late(chain), {}
    kept = {record.id: kept_case(folder, record) for record in records}
    if not all(kept.values()):
        try:
            with Trader.open(venue, folder, keystore, read_only=True) as trader:
                names = {info.name: hex_text(market) for market, info in trader.markets.items()}
                for record in records:
                    kept[record.id] = kept[record.id] or trader.case(record)
        except DarkpoolError as error:
            typer.echo(f"the venue does not help: {error.message}", err=True)
    shown = {} if all(kept.values()) else rounds_shown(chain)
    return [kept[record.id] or Case.of(record, shown.get(record.id, ())) for record in records], names


def _chosen(cases: list[Case], number: int | None, market: str, settlement: int | None) -> Case:
    """Raises OrderRefused unless there is one such case; `market` is an id, if it is given."""
    from darkpool.errors import OrderRefused
    from darkpool.jsonfields import hex_text

    found = [
        case
        for case in cases
        if case.record.id == settlement
        or any(
            words.number == number and market in {"", hex_text(words.market)}
            for words in case.rounds.values()
        )
    ]
    if len(found) != 1:
        raise OrderRefused(
            f"contest: {len(found)} settlements of that name can be contested",
            "`darkpool contest` lists them; name the market with --market, or one of them with --settlement",
        )
    return found[0]


def _row(case: Case, evidence: Evidence | None, names: dict[str, str]) -> dict[str, Any]:
    from darkpool.jsonfields import hex_text

    market_names = {market: name for name, market in names.items()}
    rounds = [
        {"market": market_names.get(hex_text(w.market), hex_text(w.market)), "round": w.number}
        for w in case.rounds.values()
    ]
    finding = "agrees with your orders" if evidence is None else "FALSE: contest it"
    return {
        "settlement": case.record.id,
        "rounds": ", ".join(str(r["round"]) for r in rounds),
        "finding": finding if case.rounds or evidence is None else "its rounds are unknown",
        "of": rounds,
    }


def _run(
    chain: Chain,
    keystore: Keystore,
    record: SettledRecord,
    evidence: Evidence,
    *,
    dry_run: bool,
    wait: bool,
    as_json: bool,
) -> None:
    from darkpool.client.contesting import Contesting
    from darkpool.evm_records import ether_text

    view: dict[str, Any] = {
        "settlement": record.id,
        "shown": [own.nonce for own, _ in evidence.shown],
        "without place": evidence.claimed,
        "denied": list(evidence.denied),
        "judged": "at once" if evidence.complete else "when nobody has refuted what is denied",
    }
    contesting, sent = Contesting(chain, keystore, record), []
    if contesting.is_open_to(evidence):
        plan = contesting.plan(evidence)
        view |= {"gas": plan.gas, "bond": ether_text(plan.bond)}
    if not as_json:
        for name, value in view.items():
            typer.echo(f"{name}: {value}")
    done = False
    if not dry_run:

        def tell(what: str, receipt: Receipt) -> None:
            sent.append({"call": what, "transaction": "0x" + receipt.tx_hash.hex(), "gas": receipt.gas_used})
            typer.echo(f"{what}: done in block {receipt.block}", err=as_json)

        def waiting(left: int) -> None:
            typer.echo(f"{left} s in which what is denied may be refuted", err=True)

        done = contesting.run(evidence, tell, waiting, wait=wait)
    if as_json:
        typer.echo(json.dumps({**view, "transactions": sent, "unwound": done}))
    elif done:
        typer.echo(f"settlement {record.id} is unwound, and the committee frozen; leave: `darkpool exit`")
