"""What the venue says an account may do in a market, and how its orders must be sealed there."""

from __future__ import annotations

from dataclasses import dataclass, field

from commitments.errors import DecodeError
from commitments.group import Point
from commitments.params import MAX_AUDITOR_KEYS, POINT_BYTES
from darkpool.client.answers import MAX_TEXT, MarketInfo, picked
from darkpool.errors import OrderRefused, PeerFault
from darkpool.jsonfields import read_hex

_MAX_NAME = 64
_MAX_REASONS = 256
_MAX_SENTENCE = 512


@dataclass(frozen=True, slots=True)
class Access:
    """In a market of that plain name. market_id: of the account's segment there, None if it has none.

    reasons: (rule, sentence) of what decided; auditor_keys: those that an order must carry handles for.
    """

    market: str
    allowed: bool
    reasons: tuple[tuple[str, str], ...]
    segment: str | None
    market_id: bytes | None
    auditor_keys: tuple[Point, ...] = field(repr=False)
    policy_hash: bytes

    @property
    def refusal(self) -> OrderRefused:
        """The error for what is not allowed."""
        why = " ".join(sentence for _, sentence in self.reasons)
        rule = self.reasons[0][0] if self.reasons else ""
        code = "operator-block" if rule == "operator-block" else "policy-denied"
        return OrderRefused(
            f"market {self.market}: {why}", "`darkpool access` shows it", code, {"rule": rule}
        )

    def owed(self, info: MarketInfo) -> tuple[Point, ...]:
        """The keys that an order for the market owes. Raises OrderRefused if it may not be placed there.

        Raises PeerFault if the venue demands keys that the market's terms do not have.
        """
        if not self.allowed:
            raise self.refusal
        if self.market_id != info.terms.market.id:
            raise OrderRefused(
                f"market {info.name}: this account trades in {self.segment}",
                "name the market without its segment",
                "wrong-segment",
            )
        if not set(self.auditor_keys) <= set(info.terms.auditor_keys):
            raise PeerFault("it demands handles for keys that the market's terms do not have", peer="venue")
        return self.auditor_keys

    @staticmethod
    def of(value: object) -> Access:
        """Raises DecodeError."""
        names = ("market", "allowed", "reasons", "segment", "market_id", "auditor_keys", "policy_hash")
        fields = picked(value, "access", *names)
        allowed = fields.member("allowed")
        if not isinstance(allowed, bool):
            raise DecodeError("allowed", "no truth value")
        reasons = [picked(r, "reasons", "rule", "sentence") for r in fields.array("reasons", _MAX_REASONS)]
        keys = fields.array("auditor_keys", MAX_AUDITOR_KEYS)
        market, segment = fields.text("market"), fields.member("segment")
        if len(market) > MAX_TEXT or not (
            segment is None or (isinstance(segment, str) and len(segment) <= _MAX_NAME)
        ):
            raise DecodeError("access", "market or segment is no name")
        return Access(
            market=market,
            allowed=allowed,
            reasons=tuple((r.text("rule")[:64], r.text("sentence")[:_MAX_SENTENCE]) for r in reasons),
            segment=segment,
            market_id=None if fields.member("market_id") is None else fields.octets("market_id", 32),
            auditor_keys=tuple(
                Point.decode(read_hex(key, "auditor_keys", POINT_BYTES), "auditor_keys") for key in keys
            ),
            policy_hash=fields.octets("policy_hash", 32),
        )
