"""What `darkpool exit` shows: rows of JSON values, and sentences. Amounts are decimals of tokens."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from darkpool.client.exit import Done, Target
from darkpool.client.vault_position import Call, Holding, Position
from darkpool.evm_records import ether_text
from darkpool.types import address_hex

_LAST_TIME: Final = 253_402_300_799  # the end of the year 9999, where calendars end


def plan_view(goal: Target, chain_id: int, found: Position, *, cancel: bool) -> dict[str, Any]:
    """How things stand, and all that is left to do."""
    steps = found.steps(cancel=cancel)
    return {
        "vault": address_hex(goal.vault),
        "chain_id": chain_id,
        "account": address_hex(found.account),
        "ether": ether_text(found.ether),
        "gas_cost": ether_text(found.cost(steps)),
        "tokens": [holding_view(h) for h in found.holdings],
        "nonces_below": goal.mark,
        "words": [
            {"word": w.word, "unused": hex(w.unused), "requested": hex(w.requested), "ready_at": w.ready_at}
            for w in found.words
            if w.unused or w.requested
        ],
        "steps": [{"at": _when(call, found), "call": _call_text(call)} for call in steps],
    }


def holding_view(holding: Holding) -> dict[str, Any]:
    """One token. covered: what part of its debts the vault can pay, if not all."""
    asked = holding.requested
    return {
        "token": holding.units.symbol,
        "index": holding.token,
        "contract": address_hex(holding.contract),
        "in_vault": holding.text(holding.balance),
        "in_wallet": holding.unit_text(holding.wallet),
        "requested": holding.text(asked) if asked else None,
        "ready": time_text(holding.ready_at) if asked else None,
        "covered": _covered(holding),
    }


def _covered(holding: Holding) -> str | None:
    if holding.held is None or holding.held >= holding.owed:
        return None
    return f"{holding.held * 100 // holding.owed}%"


def remarks(goal: Target, found: Position, *, cancel: bool) -> list[str]:
    """What the tables do not say."""
    lines = [
        f"{row['token']}: the vault holds {row['covered']} of what it owes, and pays in proportion"
        for row in map(holding_view, found.holdings)
        if row["covered"] is not None
    ]
    unused = sum(w.unused.bit_count() for w in found.words)
    if unused and not cancel:
        lines.append(
            f"orders: {unused} nonces below {goal.mark} are in no settlement; venues drop the orders of who "
            "asks for tokens. To burn the nonces as well: --cancel"
        )
    return lines


def done_view(done: Done, found: Position) -> dict[str, Any]:
    """One transaction; `found` is from before."""
    view: dict[str, Any] = {"call": _call_text(done.call), "refused": done.refusal or None}
    if done.receipt is not None:
        view["transaction"] = "0x" + done.receipt.tx_hash.hex()
        view |= {"block": done.receipt.block, "gas_used": done.receipt.gas_used}
    if done.call.function == "withdraw":
        holding = found.holdings[done.call.arguments[0]]
        view |= {"token": holding.units.symbol, "paid": holding.text(done.paid)}
        view["arrived"] = holding.unit_text(done.arrived)
    return view


def done_text(done: Done, found: Position) -> str:
    """One transaction, in a line or two; `found` is from before."""
    what = _call_text(done.call)
    if done.receipt is None:
        return f"{what} refused: {done.refusal}"
    text = f"{what} in block {done.receipt.block}, transaction 0x{done.receipt.tx_hash.hex()}"
    if done.call.function != "withdraw":
        return text
    holding = found.holdings[done.call.arguments[0]]
    paid = done.paid * holding.units.quantum
    text += f"\n{holding.units.symbol}: {holding.unit_text(done.arrived)} arrived in the wallet"
    if done.arrived is not None and done.arrived < paid:
        text += f" of {holding.unit_text(paid)}: the vault held less than it owes, or the token kept a fee"
    return text


def left_text(after: Position) -> list[str]:
    """What a run leaves in the vault."""
    return [
        f"{h.units.symbol}: {h.text(h.balance)} are in the vault still"
        + (f", to be had from {time_text(h.ready_at)}" if h.requested else ", credited after the request")
        + ". The same command again takes them"
        for h in after.holdings
        if h.balance
    ]


def time_text(seconds: int) -> str:
    """Unix seconds as a date and a time of day."""
    return f"{datetime.fromtimestamp(min(seconds, _LAST_TIME), UTC):%Y-%m-%d %H:%M:%S} UTC"


def _call_text(call: Call) -> str:
    return f"{call.function}({', '.join(map(str, call.arguments))})"


def _when(call: Call, found: Position) -> str:
    return "now" if call.ready_at <= found.now else time_text(call.ready_at)
