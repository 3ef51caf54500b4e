"""Sizes, security profiles and every domain-separation label.

One place for every number the proofs rest on; `docs/protocol.md` section 3 says why each is what it is.
Labels are versioned and unique (tests/test_params.py): two uses of a hash never share a prefix.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from commitments.errors import ParameterError

PROTOCOL_VERSION: Final = 1

# --- the group: BLS12-381 G1 ------------------------------------------------------------------------
GROUP_ORDER: Final = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001
BASE_FIELD_PRIME: Final = int(
    "1a0111ea397fe69a4b1ba7b6434bacd764774b84f38512bf6730d2a0f6b0f6241eabfffeb153ffffb9feffffffffaaab", 16
)  # coordinates
POINT_BYTES: Final = 48
POINT_XY_BYTES: Final = 96
SCALAR_BYTES: Final = 32

# --- the order --------------------------------------------------------------------------------------
QUANTITY_BITS: Final = 32
COLLATERAL_BITS: Final = 64
MAX_LEVELS: Final = 256
MAX_AUDITOR_KEYS: Final = 8
MAX_NOTE_BYTES: Final = 1024

# --- packed Paillier --------------------------------------------------------------------------------
SLOT_BITS: Final = 96  # W: sum, masks and head-room of one price level
SUM_BITS: Final = 48  # 2^16 orders of 2^32 lots
MAX_ORDERS_PER_ROUND: Final = 1 << (SUM_BITS - QUANTITY_BITS)
RANDOMNESS_BITS: Final = 320  # s, short-exponent assumption in <h> (ADR 2)
MASK_RANDOMNESS_BITS: Final = 512

# --- pseudo-random secret sharing and clearing ------------------------------------------------------
MASK_BITS: Final = 88  # one key's mask of one slot: 40 bits above a sum
MAX_MASK_SETS: Final = 16  # all masks of a slot together stay below 2^92
FIELD_PRIME: Final = (1 << 128) - 173  # shares of opened slots; a Blum prime, as MPyC's bit protocols want
INTEGER_BITS: Final = 64  # secure integers of the auction
STATISTICAL_BITS: Final = 60  # of MPyC's masked comparisons

# --- the sealed-order proof -------------------------------------------------------------------------
CHALLENGE_BITS: Final = 128  # e
POWERS_CHALLENGE_BITS: Final = 252  # y, below the group order
SLOT_MASK_BITS: Final = 240  # t_k: 80 bits above e * h_k
SLOT_RESPONSE_BITS: Final = SLOT_MASK_BITS + 1
RANDOMNESS_MASK_BITS: Final = CHALLENGE_BITS + RANDOMNESS_BITS + 80  # sigma_j
RANDOMNESS_RESPONSE_BITS: Final = RANDOMNESS_MASK_BITS + 1
SLOT_RESPONSE_BYTES: Final = (SLOT_RESPONSE_BITS + 7) // 8
RANDOMNESS_RESPONSE_BYTES: Final = (RANDOMNESS_RESPONSE_BITS + 7) // 8
GROUP_WEIGHT_BITS: Final = 128  # batch verification, group equations
CIPHERTEXT_WEIGHT_BITS: Final = 80  # batch verification, ciphertext equations

# --- labels -----------------------------------------------------------------------------------------
LABEL_GENERATOR: Final = b"darkpool/v1/generator/"
DST_GENERATOR: Final = b"DARKPOOL-V01-CS01-with-BLS12381G1_XMD:SHA-256_SSWU_RO_"
LABEL_PAILLIER_BASE: Final = b"darkpool/v1/paillier-base"
LABEL_KEY_ID: Final = b"darkpool/v1/committee-key-id"
LABEL_MASK: Final = b"darkpool/v1/prss-mask"
LABEL_VERIFICATION_BASE: Final = b"darkpool/v1/verification-base"
LABEL_SHARING: Final = b"darkpool/v1/committee-sharing"
LABEL_KEY_CHANGE: Final = b"darkpool/v1/key-change"
LABEL_MASK_CHECK: Final = b"darkpool/v1/prss-key-check"
LABEL_SHARE_PROOF: Final = b"darkpool/v1/partial-decryption-proof"
LABEL_ORDER_PROOF: Final = b"darkpool/v1/sealed-order-proof"
LABEL_TERMS: Final = b"darkpool/v1/market-terms"
LABEL_ORDER_HASH: Final = b"darkpool/v1/sealed-order-hash"
LABEL_BLINDINGS: Final = b"darkpool/v1/order-blindings"
LABEL_LOG_TABLE: Final = b"darkpool/v1/discrete-log-table"
LABEL_RANGE_PROOF: Final = b"darkpool/v1/range-proof"
LABEL_AUDITOR_SECRET: Final = b"darkpool/v1/auditor-secret-key"
LABEL_AUDITOR_REGISTRATION: Final = b"darkpool/v1/auditor-registration"
LABEL_AUDITOR_SHARING: Final = b"darkpool/v1/auditor-sharing"
LABEL_AUDITOR_SHARE: Final = b"darkpool/v1/auditor-key-share"
LABEL_AUDITOR_PARTIAL: Final = b"darkpool/v1/auditor-partial"
LABEL_AUDITOR_REQUEST: Final = b"darkpool/v1/auditor-request"
LABEL_PREDICATE: Final = b"darkpool/v1/account-predicate"


@dataclass(frozen=True, slots=True)
class Profile:
    """A security level: the size of N. Everything else is the same in every profile."""

    name: str
    modulus_bits: int


PRODUCTION: Final = Profile("production", 3072)
DEVELOPMENT: Final = Profile("development", 2048)
INSECURE_TEST: Final = Profile("insecure-test", 768)
PROFILES: Final = {p.name: p for p in (PRODUCTION, DEVELOPMENT, INSECURE_TEST)}


def profile(name: str) -> Profile:
    """The profile of that name. Raises ParameterError for any other."""
    try:
        return PROFILES[name]
    except KeyError:
        raise ParameterError(f"profile {name!r} is unknown; choose one of {', '.join(PROFILES)}") from None
