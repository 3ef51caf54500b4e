"""Which venue it is: what a client keeps of its first visit and compares ever after."""

from __future__ import annotations

from dataclasses import dataclass

from darkpool.client.answers import MarketInfo
from darkpool.jsonfields import Fields, hex_text
from darkpool.types import Address, address_hex


@dataclass(frozen=True, slots=True)
class VenueIdentity:
    """What must not change between two visits: whoever answers otherwise is another venue.

    committee: hash of the first one, by which all that come after it are known (tenure.py).
    """

    venue: bytes
    chain_id: int
    contract: Address
    operator: Address
    committee: bytes

    def as_json(self) -> dict[str, str | int]:
        """Its JSON object."""
        return {
            "venue": hex_text(self.venue),
            "chain_id": self.chain_id,
            "contract": address_hex(self.contract),
            "operator": address_hex(self.operator),
            "committee": hex_text(self.committee),
        }

    @staticmethod
    def from_json(value: object) -> VenueIdentity:
        """Raises DecodeError."""
        fields = Fields(value, "venue", ("venue", "chain_id", "contract", "operator", "committee"))
        return VenueIdentity(
            fields.octets("venue", 32),
            fields.uint("chain_id", low=1),
            fields.address("contract"),
            fields.address("operator"),
            fields.octets("committee", 32),
        )

    @staticmethod
    def of(info: MarketInfo) -> VenueIdentity:
        """The venue of a market."""
        t = info.terms
        return VenueIdentity(t.venue, t.chain_id, t.contract, info.operator, info.tenures.first.hash)
