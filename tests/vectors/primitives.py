"""Vectors of the building blocks: generators, transcript, Paillier keys, threshold decryption, masks."""

from __future__ import annotations

from itertools import combinations
from typing import Final

from gmpy2 import mpz

from commitments.encoding import Reader
from commitments.paillier import Packing, public_key
from commitments.pedersen import bit_generators, commit, generator_g, generator_h, slot_generators
from commitments.prss import mask, opened_shares
from commitments.share_proof import ShareProof, prove_partial, verify_partial
from commitments.threshold import Committee, KeyShare, combine, deal, partial, verify_openings
from commitments.transcript import Transcript
from tests.commitments_support import primes, published_key
from tests.vectors import Family, Row, rebuilt, same

_PROFILES: Final = ("insecure-test", "production")


def hexed(value: int) -> str:
    """An integer as the file has it: hexadecimal, without prefix or leading zeros."""
    return f"{int(value):x}"


# --- group ------------------------------------------------------------------------------------------


def generators() -> list[Row]:
    """Compressed encodings of the generators, and one commitment."""
    slots, bits = slot_generators(512), bit_generators(160)
    points = {"G": generator_g(), "H": generator_h()}
    points |= {f"slot/{k}": slots[k] for k in (0, 1, 2, 3, 127, 511)}
    points |= {f"bit/{i}": bits[i] for i in (0, 1, 2, 3, 31, 32, 159)}
    points["5 G + 7 H"] = commit(5, 7)
    return [{"name": n, "compressed": p.encode().hex(), "xy": p.encode_xy().hex()} for n, p in points.items()]


# --- transcript -------------------------------------------------------------------------------------


def transcript() -> list[Row]:
    """Three challenges of one transcript, each binding all before it."""
    t = Transcript(b"darkpool/v1/vector")
    t.absorb(b"statement", bytes(range(48)))
    t.absorb(b"empty", b"")
    first = t.challenge(b"y", 252)
    t.absorb_many(b"points", [b"a", b"", b"bc"])
    second = t.challenge(b"e", 128)
    third = t.challenge(b"again", 512)
    return [{"name": "three challenges", "y": hexed(first), "e": hexed(second), "again": hexed(third)}]


# --- Paillier ---------------------------------------------------------------------------------------


def keys() -> list[Row]:
    """What follows from N, and one encryption of a packed histogram."""
    rows = []
    for profile in _PROFILES:
        key = published_key(profile)
        packing = Packing(4, key.bits)
        histogram = [3, 1, 4, 1, 5, 9, 2, 6]
        (plaintext,) = packing.plaintexts(histogram)
        rows.append(
            {
                "name": profile,
                "n": hexed(key.n),
                "key_id": key.key_id.hex(),
                "h": hexed(key.h),
                "histogram": histogram,
                "curves": packing.cumulate(histogram),
                "plaintext": hexed(plaintext),
                "randomness": hexed(3**200),
                "ciphertext": key.encode_ciphertext(key.encrypt(plaintext, 3**200)).hex(),
            }
        )
    return rows


# --- threshold decryption ---------------------------------------------------------------------------


def openings() -> list[Row]:
    """Shares dealt once, their partial decryptions and what these combine to."""
    rows = []
    for members, threshold in ((3, 1), (5, 2)):
        committee, shares = deal(*primes(), members, threshold)
        c = committee.key.encrypt(2**300 + members, 3**200)
        partials = {s.index: partial(committee, s, c) for s in shares}
        opening = combine(committee, c, partials)
        rows.append(
            {
                "name": f"n = {members}, t = {threshold}",
                "n": hexed(committee.key.n),
                "members": members,
                "threshold": threshold,
                "shares": [hexed(s.value) for s in shares],
                "ciphertext": hexed(c),
                "partials": [hexed(partials[i]) for i in committee.indices],
                "plaintext": hexed(opening.plaintext),
                "root": hexed(opening.root),
            }
        )
    return rows


def check_opening(row: Row) -> None:
    """The shares give the partials, and every quorum the opening."""
    committee = Committee(public_key(int(row["n"], 16)), row["members"], row["threshold"])
    shares = [KeyShare(i, int(value, 16)) for i, value in enumerate(row["shares"], 1)]
    c = mpz(row["ciphertext"], 16)
    partials = {s.index: partial(committee, s, c) for s in shares}
    same(row, {"partials": [hexed(x) for x in partials.values()], "members": len(shares)})
    for quorum in combinations(partials, committee.threshold + 1):
        opening = combine(committee, c, {i: partials[i] for i in quorum})
        same(row, {"plaintext": hexed(opening.plaintext), "root": hexed(opening.root)})
        verify_openings(committee.key, [(c, opening)])


def proofs() -> list[Row]:
    """One member's partial decryption with its proof, and the committee's verification values."""
    committee, shares = deal(*primes(), 5, 1)
    c = committee.key.encrypt(2**300, 3**200)
    x_i, proof = prove_partial(committee, shares[0], c)
    return [
        {
            "name": "member 1 of n = 5, t = 1",
            "n": hexed(committee.key.n),
            "members": committee.members,
            "threshold": committee.threshold,
            "base": hexed(committee.base),
            "values": [hexed(v) for v in committee.values],
            "index": 1,
            "ciphertext": hexed(c),
            "partial": hexed(x_i),
            "proof": proof.encode(committee).hex(),
        }
    ]


def check_proof(row: Row) -> None:
    """The base follows from N, the proof holds, and its encoding is canonical."""
    values = tuple(mpz(v, 16) for v in row["values"])
    committee = Committee(public_key(int(row["n"], 16)), row["members"], row["threshold"], values)
    reader = Reader(bytes.fromhex(row["proof"]))
    proof = ShareProof.read(reader, committee)
    reader.end("proof")
    same(row, {"base": hexed(committee.base), "proof": proof.encode(committee).hex()})
    verify_partial(committee, row["index"], mpz(row["ciphertext"], 16), mpz(row["partial"], 16), proof)


# --- masks ------------------------------------------------------------------------------------------


def masks() -> list[Row]:
    """The pseudo-random function, and the shares a member derives from a masked opening."""
    key, root, name = bytes(range(32)), bytes(range(32, 64)), b"curves/0"
    made = mask(key, 31_337, root, name, 3)
    opened = [10**15 + r for r in made.slots]
    return [
        {
            "name": "one mask",
            "key": key.hex(),
            "chain_id": 31_337,
            "root": root.hex(),
            "opening": name.hex(),
            "slots": [hexed(r) for r in made.slots],
            "randomness": hexed(made.randomness),
            "ciphertext": hexed(made.ciphertext(published_key())),
            "share_of_member_2_of_4": [hexed(s) for s in opened_shares(2, 4, opened, {(1, 2, 4): made})],
        }
    ]


FAMILIES: Final = (
    Family("generators-v1.json", "commitments/pedersen.py", generators, rebuilt(generators)),
    Family("transcript-v1.json", "commitments/transcript.py", transcript, rebuilt(transcript)),
    Family("paillier-v1.json", "commitments/paillier.py, published primes", keys, rebuilt(keys)),
    Family("threshold-v1.json", "commitments/threshold.py, published primes", openings, check_opening),
    Family("share-proof-v1.json", "commitments/share_proof.py, published primes", proofs, check_proof),
    Family("prss-v1.json", "commitments/prss.py", masks, rebuilt(masks)),
)
