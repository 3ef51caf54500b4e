"""The operator's word to a running venue: signed with the key in the data folder, said over the API."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from darkpool.cli import committee, settling
from darkpool.cli.options import DEFAULT_FOLDER, FolderOption, JsonOption

operator = typer.Typer(help="The operator's word to a running venue.", no_args_is_help=True)
operator.add_typer(settling.settling, name="settling")
operator.add_typer(committee.committee, name="committee")

_EXPIRES_SECONDS = 30


def call(
    data: Path, method: str, path: str, body: Mapping[str, object] | None = None, seconds: float = 60
) -> Any:  # noqa: ANN401
    """The API's answer, within so many seconds, to a request that the operator signs.

    Raises OrderRefused with the problem's own words and code, ConfigError, PeerFault.
    """
    import time

    import httpx

    from darkpool import eip712
    from darkpool.config import Settings
    from darkpool.deployment import Deployment, operator_key
    from darkpool.errors import ConfigError, OrderRefused, PeerFault
    from darkpool.request import sign_request

    deployment, settings = Deployment.load(data), Settings.load(data)
    if deployment is None:
        raise ConfigError(f"{data}: no venue lives here", "give its folder with --data")
    content = json.dumps(body).encode() if body is not None else b""
    domain = eip712.Domain(deployment.chain_id, deployment.vault)
    expires = int(time.time()) + _EXPIRES_SECONDS
    headers = {
        "Authorization": sign_request(operator_key(data), domain, method, path, content, expires),
        "Content-Type": "application/json",
    }
    try:
        with httpx.Client(trust_env=False, timeout=seconds) as client:
            answer = client.request(method, settings.api_url + path, content=content, headers=headers)
    except httpx.HTTPError as error:
        raise PeerFault(f"no answer ({type(error).__name__})", "is it up?", "venue") from None
    document = answer.json() if answer.content else {}
    if answer.is_error and "type" in document:
        code = str(document["type"]).rpartition(":")[2]
        raise OrderRefused(str(document.get("detail")), str(document.get("hint", "")), code)
    return document


def market_id(data: Path, name: str) -> str:
    """The id of a market of that name in the log. Raises ConfigError."""
    from darkpool.errors import ConfigError

    markets = {m["name"]: str(m["id"]) for m in call(data, "GET", "/v1/markets")}
    if name not in markets:
        raise ConfigError(f"market {name!r}: not one of {', '.join(sorted(markets))}", "give a name of these")
    return markets[name]


@operator.command(epilog="Example: darkpool operator status --data ./data")
def status(data: FolderOption = DEFAULT_FOLDER, as_json: JsonOption = False) -> None:
    """What works, what does not, the open rounds, and what is not settled."""
    from rich.console import Console
    from rich.table import Table

    found, markets = call(data, "GET", "/v1/ready"), call(data, "GET", "/v1/markets")
    # Of the database, which may be what does not work.
    latest = [] if found["database"] else call(data, "GET", "/v1/settlements?limit=1")["items"]
    if as_json:
        typer.echo(json.dumps({**found, "markets": markets, "latest_settlement": next(iter(latest), None)}))
        return
    table = Table(title="ready" if found["ready"] else "not ready", show_header=False)
    for part in ("halted", "database", "chain", "committee"):
        table.add_row(part, found[part] or ("no" if part == "halted" else "well"))
    table.add_row("log", f"{found['log_size']} entries")
    table.add_row("rounds waiting for a window", str(found["unsettled_rounds"]))
    table.add_row("settlements not final", str(found["pending_settlements"]))
    if found["submission"] is not None:
        table.add_row("the oldest of them", _submission_text(found["submission"]))
    if found["settlement"]:
        table.add_row("the oldest does not land", found["settlement"])
    table.add_row("rounds ever void", str(found["voided_rounds"]))
    for settlement in latest:
        table.add_row(f"settlement {settlement['id']}", _settlement_text(settlement))
    for market in markets:
        now = market["round"]
        if now is not None and market["live"]:
            table.add_row(market["name"], f"round {now['number']} {now['state']} at {now['reference_price']}")
    Console().print(table)


def _submission_text(sent: Mapping[str, Any]) -> str:
    """How far a settlement is on its way into a block that is final."""
    if sent["confirmations"]:
        return f"{sent['confirmations']} blocks deep\n{sent['tx_hash']}"
    if not sent["attempts"]:
        return "not sent yet"
    return f"attempt {sent['attempts']}, at most {sent['fee'] / 10**9:.3g} gwei per gas\n{sent['tx_hash']}"


def _settlement_text(settlement: Mapping[str, Any]) -> str:
    """State and netting of a settlement."""
    text = f"{settlement['state']}, {len(settlement['rounds'])} rounds"
    for flow in settlement["flows"]:
        ratio = "all nets out" if flow["ratio"] is None else f"ratio {flow['ratio']:g}"
        text += f"\n{flow['symbol'] or flow['token']}: gross {flow['gross']}, net {flow['net']}, {ratio}"
    return text


@operator.command(epilog="Example: darkpool operator settle")
def settle(data: FolderOption = DEFAULT_FOLDER) -> None:
    """Net the unsettled rounds into a settlement now, without waiting for more of them."""
    call(data, "POST", "/v1/operator/settle")
    typer.echo("settling")


@operator.command(epilog="Example: darkpool operator seal WETH-USDC")
def seal(
    market: Annotated[str, typer.Argument(help="Name of the market.")], data: FolderOption = DEFAULT_FOLDER
) -> None:
    """Seal the market's open round now."""
    call(data, "POST", f"/v1/operator/markets/{market_id(data, market)}/seal")
    typer.echo("sealing")


@operator.command(epilog='Example: darkpool operator halt "maintenance until 14:00 UTC"')
def halt(
    reason: Annotated[str, typer.Argument(help="What traders will read.")],
    data: FolderOption = DEFAULT_FOLDER,
) -> None:
    """Take no orders and seal no rounds until resume; what is sealed is finished."""
    call(data, "POST", "/v1/operator/halt", {"reason": reason})
    typer.echo("halted")


@operator.command(epilog="Example: darkpool operator resume")
def resume(data: FolderOption = DEFAULT_FOLDER) -> None:
    """Go on after a halt."""
    call(data, "POST", "/v1/operator/resume")
    typer.echo("resumed")
