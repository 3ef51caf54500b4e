"""The trader's commands: orders, fills, receipts, the live view, the gateway."""

from __future__ import annotations

import json
import time
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from darkpool.cli import money
from darkpool.cli.arguments import (
    NEGATIVE,
    IdArgument,
    OptionalId,
    PriceArgument,
    QuantityArgument,
    SideArgument,
    SideName,
)
from darkpool.cli.options import JsonOption
from darkpool.cli.trader import (
    DEFAULT_HOME,
    DEFAULT_VENUE,
    CheckOption,
    HomeOption,
    PassphraseOption,
    VenueOption,
    home_of,
    opened,
    say,
    show,
    tell_set_aside,
    trader,
)

if TYPE_CHECKING:
    from darkpool.client.intent import Wanted

order = typer.Typer(help="Place hidden orders, and look after them.", no_args_is_help=True)
receipt = typer.Typer(help="Hold the operator to its receipts.", no_args_is_help=True)

_ORDER_COLUMNS = ("id", "market", "side", "quantity", "price", "state", "filled", "remaining", "reference")
_FILL_COLUMNS = ("id", "market", "round", "side", "quantity", "price", "state", "reference")


class TimeName(StrEnum):
    """Times in force."""

    ROUND = "round"
    GOOD_TILL_TIME = "gtt"
    GOOD_TILL_CANCELLED = "gtc"


TimeOption = Annotated[
    TimeName,
    typer.Option("--time-in-force", help="This round only, till --valid-until, or till cancelled."),
]
ValidOption = Annotated[int | None, typer.Option(help="With gtt: unix seconds.", min=1)]
MarketOption = Annotated[str, typer.Option(help="Name of the market; needed if there are several.")]


def _wanted(
    market: str,
    side: SideName,
    quantity: str,
    price: str | None,
    time_in_force: TimeName,
    valid_until: int | None,
    reference: str,
) -> Wanted:
    from darkpool.client.views import wanted

    return wanted(market, side.value, quantity, price, time_in_force.value, valid_until, reference)


@order.command(
    context_settings=NEGATIVE, epilog="Example: darkpool order submit buy 0.50 1999.95 --reference desk-7"
)
def submit(
    side: SideArgument,
    quantity: QuantityArgument,
    price: PriceArgument = None,
    market: MarketOption = "",
    time_in_force: TimeOption = TimeName.GOOD_TILL_CANCELLED,
    valid_until: ValidOption = None,
    reference: Annotated[
        str, typer.Option(help="Your own name for it; an order submitted twice under one is placed once.")
    ] = "",
    home: HomeOption = DEFAULT_HOME,
    venue: VenueOption = DEFAULT_VENUE,
    rpc_url: CheckOption = None,
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Seal, prove, sign and submit an order; nobody but you can read it."""
    from darkpool.client.views import placed_view

    want = _wanted(market, side, quantity, price, time_in_force, valid_until, reference)
    with trader(home, venue, passphrase_file, rpc_url=rpc_url) as found:
        view = placed_view(found.submit(want))
    text = f"order {view['id']} is entry {view['sequence']} of the log, round {view['round']}"
    say(view, text, as_json=as_json)


@order.command(context_settings=NEGATIVE, epilog="Example: darkpool order status 3 --json")
def status(
    order_id: OptionalId = None,
    home: HomeOption = DEFAULT_HOME,
    venue: VenueOption = DEFAULT_VENUE,
    rpc_url: CheckOption = None,
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Orders, and what became of them; unanswered ones are sent again when the next order is placed."""
    from darkpool.client.views import order_views
    from darkpool.errors import OrderRefused

    with trader(home, venue, passphrase_file, rpc_url=rpc_url, read_only=True) as found:
        unanswered = found.unanswered()  # first: what is answered meanwhile is in the orders
        families, now = found.orders().values(), int(time.time())
        rows = order_views(families, unanswered, found.markets, now, found.ended)
    if order_id is not None:
        rows = [row for row in rows if row["id"] == str(order_id)]
        if not rows:
            raise OrderRefused(f"order: none of the name {order_id}", "darkpool order status lists them")
    show("Orders", rows, as_json=as_json, columns=_ORDER_COLUMNS)


@order.command(context_settings=NEGATIVE, epilog="Example: darkpool order cancel 3")
def cancel(
    order_id: IdArgument,
    home: HomeOption = DEFAULT_HOME,
    venue: VenueOption = DEFAULT_VENUE,
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take an order out of the book; nothing of it is renewed, or sent again if it had no answer."""
    with trader(home, venue, passphrase_file, send=False) as found:
        unanswered = any(own.root == order_id for own in found.unanswered())
        done = found.cancel(order_id)
    entry = None if done is None else done.sequence
    text = f"order {order_id} is cancelled"
    if entry is not None:
        text += f", entry {entry} of the log"
    elif unanswered:
        text = f"order {order_id} is taken back: the venue does not have it, and it is not sent again"
    say({"id": str(order_id), "sequence": entry}, text, as_json=as_json)


@order.command("cancel-all", epilog="Example: darkpool order cancel-all --market WETH-USDC")
def cancel_all(
    market: Annotated[str, typer.Option(help="Of this market only.")] = "",
    home: HomeOption = DEFAULT_HOME,
    venue: VenueOption = DEFAULT_VENUE,
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take every unsealed order out of the book; nothing is renewed or sent again."""
    with trader(home, venue, passphrase_file, send=False) as found:
        ended, unanswered = found.ended, len(found.unanswered())
        entries = [done.sequence for done in found.cancel_all(market)]
        ceased = len(found.ended - ended) + unanswered - len(found.unanswered())
    if entries:
        text = f"all unsealed orders are cancelled, log entry {', '.join(map(str, entries))}"
    elif ceased:
        text = "no unsealed order stood; what was sealed, left over or unanswered is not placed again"
    else:
        text = "there was nothing to cancel"
    say({"sequences": entries}, text, as_json=as_json)


@order.command(context_settings=NEGATIVE, epilog="Example: darkpool order replace 3 buy 0.80 2000.00")
def replace(
    order_id: IdArgument,
    side: SideArgument,
    quantity: QuantityArgument,
    price: PriceArgument = None,
    time_in_force: TimeOption = TimeName.GOOD_TILL_CANCELLED,
    valid_until: ValidOption = None,
    home: HomeOption = DEFAULT_HOME,
    venue: VenueOption = DEFAULT_VENUE,
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put another order in the place of one that stands, in one step; it keeps its id."""
    from darkpool.client.views import placed_view

    want = _wanted("", side, quantity, price, time_in_force, valid_until, "")
    with trader(home, venue, passphrase_file) as found:
        view = placed_view(found.replace(order_id, want))
    say(view, f"order {order_id} is replaced, entry {view['sequence']} of the log", as_json=as_json)


def fills(
    home: HomeOption = DEFAULT_HOME,
    venue: VenueOption = DEFAULT_VENUE,
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """What your orders got, opened here and checked against what the members signed."""
    from darkpool.client.views import fill_views

    with trader(home, venue, passphrase_file, read_only=True) as found:
        rows = [row for f in found.fills() for row in fill_views(f, found.markets[f.market])]
    show("Fills", rows, as_json=as_json, columns=_FILL_COLUMNS)


def watch(
    home: HomeOption = DEFAULT_HOME,
    venue: VenueOption = DEFAULT_VENUE,
    renew: Annotated[
        bool, typer.Option("--renew", help="Re-submit what is left of orders, after a random delay.")
    ] = False,
    rpc_url: CheckOption = None,
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Rounds, orders and fills as they happen, until Ctrl-C; and a warning if a settlement is false.

    It keeps what `darkpool contest` needs with the venue switched off. With --rpc-url it looks at what the
    chain did, else at what the venue says.
    """
    import asyncio

    from darkpool.client.live import Live
    from darkpool.client.trader import AsyncTrader

    def tell(kind: str, data: dict[str, Any]) -> None:
        words = " ".join(f"{name}={value}" for name, value in data.items() if value not in {None, ""})
        typer.echo(json.dumps({"kind": kind, **data}) if as_json else f"{kind:6} {words}")

    async def run() -> None:
        folder = home_of(home)
        keystore = opened(folder, passphrase_file)
        async with AsyncTrader.open(venue, folder, keystore, rpc_url=rpc_url, read_only=not renew) as found:
            tell_set_aside(found.set_aside)
            async for kind, data in Live(found, renew=renew).events():
                tell(kind, data)

    asyncio.run(run())


@receipt.command(context_settings=NEGATIVE, epilog="Example: darkpool receipt check 3")
def check(
    order_id: IdArgument,
    home: HomeOption = DEFAULT_HOME,
    venue: VenueOption = DEFAULT_VENUE,
    rpc_url: CheckOption = None,
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Prove what became of an order: its receipt, its place in the log, the list the members signed."""
    from darkpool.errors import OrderRefused
    from darkpool.jsonfields import hex_text

    with trader(home, venue, passphrase_file, rpc_url=rpc_url, read_only=True) as found:
        family = found.orders().get(order_id)
        if family is None:
            raise OrderRefused(f"order: none of the name {order_id}", "darkpool order status lists them")
        rows = [
            {"hash": hex_text(known.own.hash), "finding": found.check_inclusion(known.own.hash)}
            for known in family.members
        ]
    show("Receipts that hold", rows, as_json=as_json, columns=("hash", "finding"))


def gateway(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.", min=1, max=65_535)] = 8470,
    allow_remote: Annotated[
        bool, typer.Option("--allow-remote", help="Allow an address that others can reach.")
    ] = False,
    workers: Annotated[int, typer.Option(help="Processes that seal orders.", min=1, max=64)] = 1,
    home: HomeOption = DEFAULT_HOME,
    venue: VenueOption = DEFAULT_VENUE,
    rpc_url: CheckOption = None,
    passphrase_file: PassphraseOption = None,
) -> None:
    """Serve a plain REST API to programs on this machine: orders in, fills out, sealed here."""
    import asyncio

    from darkpool.gateway.serve import serve

    folder = home_of(home)
    keystore = opened(folder, passphrase_file)
    asyncio.run(
        serve(
            venue, folder, keystore, rpc_url, host=host, port=port, allow_remote=allow_remote, workers=workers
        )
    )


def register(app: typer.Typer) -> None:
    """Make these commands part of the command line."""
    app.add_typer(order, name="order")
    app.add_typer(receipt, name="receipt")
    for command, example in (
        (money.keygen, "keygen --backup ./paper"),
        (money.recover, "recover --seed-file paper/seed.hex --key-file paper/key.hex"),
        (money.deposit, "deposit 10000 USDC --faucet"),
        (money.withdraw, "withdraw USDC 250"),
        (money.balance, "balance --json"),
        (fills, "fills"),
        (watch, "watch --renew"),
        (gateway, "gateway --port 8470"),
    ):
        settings = NEGATIVE if command in {money.deposit, money.withdraw} else None
        app.command(epilog=f"Example: darkpool {example}", context_settings=settings)(command)
