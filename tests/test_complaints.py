"""Partial decryptions that do not combine: exactly whoever lied is charged, by every honest player alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from gmpy2 import mpz

from commitments.encoding import Writer
from commitments.paillier import Ciphertext
from commitments.params import RANDOMNESS_BITS
from commitments.share_proof import prove_partial
from commitments.threshold import partial
from darkpool.committee.blame import MAX_EVIDENCE, Charge, Faulted
from darkpool.committee.steps import Attempt, Heard
from darkpool.eip712 import SIGNATURE_BYTES, keccak256, sign_digest
from tests.mesh_support import run
from tests.players import ALL, LIST, Liar, Player, Said, evidence, found, liar_of, play, playing
from tests.venue_support import seats

# Of four players, product p is combined by member p + 1 with the help of the next one; the last lies.
LIAR, HELPED, HELPER = (
    4,
    3,
    1,
)  # it helps member 3 with product 2, and combines product 3 with member 1's help
HONEST = (1, 2, 3)
COMMITTEE = seats(4, 1)[0].committee
WIDTH = COMMITTEE.key.modulus_bytes
PLAIN = (11, 22, 33, 44)
HEAD = 3 * (32 + SIGNATURE_BYTES)  # of the proofs: what the others' openings hash to, and their signatures


def masked() -> list[Ciphertext]:
    key = COMMITTEE.key
    return [key.encrypt(m, (1 << RANDOMNESS_BITS) - k) for k, m in enumerate(PLAIN)]


PRODUCTS = masked()


async def decrypt(
    folder: Path, say: Said, *, complains: bool = False
) -> tuple[dict[int, Player], dict[int, object]]:
    """What each honest player gets out of decrypting the four products."""
    async with playing(folder, lie={LIAR: say}) as table:
        liar_of(table).complains = complains
        outcome = await play(table, lambda p: p._decrypt("x", PRODUCTS, len(PRODUCTS)))
        return table, {i: outcome[i] for i in HONEST}


def twice(residue: bytes) -> bytes:
    """Another unit modulo N."""
    return int(2 * mpz(int.from_bytes(residue)) % COMMITTEE.key.n).to_bytes(WIDTH)


def proven(position: int, index: int = LIAR) -> bytes:
    """The right partial with its proof, as it stands in the proofs."""
    value, proof = prove_partial(COMMITTEE, seats(4, 1)[index - 1].share, PRODUCTS[position])
    return bytes(Writer().uint(int(value), WIDTH).var(proof.encode(COMMITTEE)))


def assert_all_charge(
    outcome: Mapping[int, object], charge: Charge, step: str, table: Mapping[int, Player]
) -> None:
    """The liar alone, with something it signed in that step."""
    for index in HONEST:
        assert found(outcome[index]) == [(LIAR, charge, step)]
        message = Heard.parse(evidence(outcome[index]).evidence)
        table[index].check(message)
        assert (message.sender, message.step) == (LIAR, step)


def test_without_a_lie_everybody_has_the_plaintexts(tmp_path: Path) -> None:
    async def body() -> None:
        _, outcome = await decrypt(tmp_path, lambda _s, _r, body: body)
        assert outcome == {i: list(PLAIN) for i in HONEST}

    run(body())


def test_the_sign_of_a_partial_matters_to_nobody(tmp_path: Path) -> None:
    def say(step: str, receiver: int, body: bytes) -> bytes:
        if step == "x/partials" and receiver == HELPED:
            return int(COMMITTEE.key.n - int.from_bytes(body)).to_bytes(WIDTH)
        return body

    async def body() -> None:
        _, outcome = await decrypt(tmp_path, say)
        assert outcome == {i: list(PLAIN) for i in HONEST}

    run(body())


# --- a helper lies ----------------------------------------------------------------------------------

NO_PROOFS: dict[str, Callable[[bytes], bytes]] = {
    "another partial, with the right one's proof": lambda due: twice(due[:WIDTH]) + due[WIDTH:],
    "no unit": lambda due: bytes(WIDTH) + due[WIDTH:],
    "not reduced": lambda due: b"\xff" * WIDTH + due[WIDTH:],
    "another proof": lambda due: due[:-1] + bytes([due[-1] ^ 1]),
    "another challenge": lambda due: due[: WIDTH + 8] + bytes([due[WIDTH + 8] ^ 1]) + due[WIDTH + 9 :],
    "another product's": lambda _due: proven(3),
    "another member's": lambda _due: proven(2, 3),
    "cut": lambda due: due[:-1],
    "no proof": lambda due: due[:WIDTH],
    "empty": lambda _due: b"",
    "too much": lambda due: due + b"\0",
    "more than is kept": lambda due: due + bytes(MAX_EVIDENCE),
}


def wrong_partial(shown: Callable[[bytes], bytes]) -> Said:
    """Of what it helps with, and then that in its proofs."""

    def say(step: str, receiver: int, body: bytes) -> bytes:
        if step == "x/partials" and receiver == HELPED:
            return twice(body)
        return body[:HEAD] + shown(body[HEAD:]) if step == "x/proofs" else body

    return say


def test_a_helper_that_sent_one_partial_and_proves_another_is_charged_by_its_signature(
    tmp_path: Path,
) -> None:
    async def body() -> None:
        table, outcome = await decrypt(tmp_path, wrong_partial(lambda due: due))
        assert_all_charge(outcome, Charge.PARTIAL, "x/partials", table)

    run(body())


@pytest.mark.parametrize("name", NO_PROOFS)
def test_a_helper_that_proves_nothing_is_charged(tmp_path: Path, name: str) -> None:
    async def body() -> None:
        table, outcome = await decrypt(tmp_path, wrong_partial(NO_PROOFS[name]))
        if name == "more than is kept":
            for index in HONEST:
                assert found(outcome[index]) == [(LIAR, Charge.PARTIAL, "x/proofs")]
                assert evidence(outcome[index]).evidence == b""
        else:
            assert_all_charge(outcome, Charge.PARTIAL, "x/proofs", table)

    run(body())


@pytest.mark.parametrize("name", ["no unit", "not reduced", "short", "long"])
def test_a_partial_that_is_none_is_charged_by_who_was_to_combine_it(tmp_path: Path, name: str) -> None:
    """Nobody else has seen it: the others hear that the attempt was ended."""

    def say(step: str, receiver: int, body: bytes) -> bytes:
        if (step, receiver) != ("x/partials", HELPED):
            return body
        bad = {
            "no unit": bytes(WIDTH),
            "not reduced": b"\xff" * WIDTH,
            "short": body[1:],
            "long": body + b"\0",
        }
        return bad[name]

    async def body() -> None:
        table, outcome = await decrypt(tmp_path, say)
        assert found(outcome[HELPED]) == [(LIAR, Charge.MALFORMED, "x/partials")]
        table[1].check(Heard.parse(evidence(outcome[HELPED]).evidence))
        for index in (1, 2):
            charges = found(outcome[index])
            assert (HELPED, Charge.ABORTED, "x/openings") in charges
            assert {charge for _, charge, _ in charges} == {Charge.ABORTED}

    run(body())


# --- a combiner lies --------------------------------------------------------------------------------


def proofs(shown: Callable[[bytes], bytes]) -> Said:
    """That in its proofs."""
    return lambda step, _receiver, body: body[:HEAD] + shown(body[HEAD:]) if step == "x/proofs" else body


def helped(signer: int = HELPER, **changes: object) -> bytes:
    """The message of its helper, as that one signed it; `changes` to what is signed, by `signer`."""
    seat = seats(4, 1)[signer - 1]
    value = int(partial(COMMITTEE, seats(4, 1)[HELPER - 1].share, PRODUCTS[3])).to_bytes(WIDTH)
    parts = {"sender": signer, "receiver": LIAR, "step": "x/partials", "body": value, **changes}
    attempt = parts.pop("attempt", Attempt(LIST, 1, ALL))
    unsigned = Heard(**parts, signature=b"")  # type: ignore[arg-type]
    assert isinstance(attempt, Attempt)
    return bytes(
        Heard(**parts, signature=sign_digest(unsigned.digest(attempt.name(seat)), seat.signing_key))  # type: ignore[arg-type]
    )


def forged(**changes: object) -> bytes:
    """What its helper signed, changed afterwards."""
    message = Heard.parse(helped())
    parts = {name: getattr(message, name) for name in Heard.__slots__}
    return bytes(Heard(**{**parts, **changes}))


OTHER = (3).to_bytes(WIDTH)
SHOWN: dict[str, Callable[[], bytes]] = {
    "what it was sent": helped,
    "another body": lambda: forged(body=OTHER),
    "another signature": lambda: forged(signature=bytes(65)),
    "signed by itself": lambda: helped(LIAR, body=OTHER),
    "signed by itself in its helper's name": lambda: helped(LIAR, sender=HELPER, body=OTHER),
    "another member's message": lambda: helped(2, body=OTHER),
    "a message to another": lambda: helped(receiver=2, body=OTHER),
    "a message to all": lambda: helped(receiver=0, body=OTHER),
    "a message of another step": lambda: helped(step="y/partials", body=OTHER),
    "a message of the openings": lambda: helped(step="x/openings", body=OTHER),
    "a message of another attempt": lambda: helped(attempt=Attempt(LIST, 2, ALL), body=OTHER),
    "a message about another list": lambda: helped(attempt=Attempt(bytes(32), 1, ALL), body=OTHER),
    "no message": lambda: b"",
    "noise": lambda: b"\x01" * 200,
    "more than one": lambda: helped() + b"\0",
}


@pytest.mark.parametrize("name", SHOWN)
def test_a_false_complaint_charges_who_complained_whatever_it_shows(tmp_path: Path, name: str) -> None:
    """Its helper signed the right partial, and nothing that it did not sign for this can say otherwise."""

    def shown(_due: bytes) -> bytes:
        return proven(3) + bytes(Writer().var(SHOWN[name]()))

    async def body() -> None:
        _, outcome = await decrypt(tmp_path, proofs(shown), complains=True)
        for index in HONEST:
            assert found(outcome[index]) == [(LIAR, Charge.COMPLAINT, "x/proofs")]

    run(body())


def test_who_complains_and_says_no_more_is_charged_with_its_silence(tmp_path: Path) -> None:
    def say(step: str, receiver: int, body: bytes) -> bytes:
        del receiver
        return bytes(len(body)) if step == "x/openings" else body

    async def body() -> None:
        async with playing(tmp_path, lie={LIAR: say}, seconds=0.5) as table:
            outcome = await play(table, lambda p: p._decrypt("x", PRODUCTS, len(PRODUCTS)))
        hard = [c for i in HONEST for c in found(outcome[i]) if c[1] is not Charge.ABORTED]
        assert set(hard) == {(LIAR, Charge.SILENT, "x/proofs")}

    run(body())


@pytest.mark.parametrize("name", NO_PROOFS)
def test_who_complains_must_prove_its_own_partial_too(tmp_path: Path, name: str) -> None:
    """Its own may be what does not combine."""

    def shown(due: bytes) -> bytes:
        own = len(proven(3))
        return NO_PROOFS[name](due[:own]) + due[own:]

    async def body() -> None:
        _, outcome = await decrypt(tmp_path, proofs(shown), complains=True)
        for index in HONEST:
            assert found(outcome[index]) == [(LIAR, Charge.COMPLAINT, "x/proofs")]

    run(body())


# --- openings ---------------------------------------------------------------------------------------

FALSE: dict[str, Callable[[bytes], bytes]] = {
    "plaintext": lambda due: due[: WIDTH - 1] + bytes([due[WIDTH - 1] ^ 1]) + due[WIDTH:],
    "root": lambda due: due[:WIDTH] + twice(due[WIDTH:]),
    "plaintext above N": lambda due: b"\xff" * WIDTH + due[WIDTH:],
}
NONE: dict[str, Callable[[bytes], bytes]] = {
    "root not reduced": lambda due: due[:WIDTH] + b"\xff" * WIDTH,
    "short": lambda due: due[:-1],
    "long": lambda due: due + b"\0",
    "empty": lambda _due: b"",
}


@pytest.mark.parametrize("name", [*FALSE, *NONE])
def test_a_false_opening_charges_who_combined(tmp_path: Path, name: str) -> None:
    def say(step: str, receiver: int, body: bytes) -> bytes:
        del receiver
        return {**FALSE, **NONE}[name](body) if step == "x/openings" else body

    async def body() -> None:
        table, outcome = await decrypt(tmp_path, say)
        charge = Charge.OPENING if name in FALSE else Charge.MALFORMED
        assert_all_charge(outcome, charge, "x/openings", table)

    run(body())


# --- two complaints at once -------------------------------------------------------------------------


def test_of_two_complaints_one_true_and_one_false_both_are_held_against_the_liar(tmp_path: Path) -> None:
    """It sent a wrong partial, and complains of its helper: nobody else is charged, by anybody."""

    def say(step: str, receiver: int, body: bytes) -> bytes:
        if step == "x/partials" and receiver == HELPED:
            return twice(body)
        return body

    async def body() -> None:
        table, outcome = await decrypt(tmp_path, say, complains=True)
        assert_all_charge(outcome, Charge.PARTIAL, "x/partials", table)

    run(body())


def test_two_liars_of_five_are_both_charged(tmp_path: Path) -> None:
    """t = 2: product p is combined by member p + 1 with the help of the next two; 4 and 5 lie."""
    five, two = tuple(range(1, 6)), seats(5, 2)
    key = two[0].committee.key
    products = [key.encrypt(m, 1 << 300) for m in range(5)]

    def wrong(step: str, receiver: int, body: bytes) -> bytes:
        if step == "x/partials" and receiver == 3:
            return twice(body)
        return body

    async def body() -> None:
        async with playing(tmp_path, five, 5, 2, lie={4: wrong, 5: wrong}) as table:
            outcome = await play(table, lambda p: p._decrypt("x", products, len(products)))
            for index in HONEST:
                named = {member for member, _, _ in found(outcome[index])}
                assert named
                assert named <= {4, 5}
                for blame in faulted(outcome[index]).blame:
                    table[index].check(Heard.parse(blame.evidence))

    run(body())


def faulted(outcome: object) -> Faulted:
    assert isinstance(outcome, Faulted)
    return outcome


# --- a complaint that not everybody hears -----------------------------------------------------------


def test_a_complaint_to_one_player_alone_sets_nobody_against_an_honest_one(tmp_path: Path) -> None:
    """The others go on, and are late with their proofs: they know of no complaint, and are not silent."""

    async def body() -> None:
        async with playing(tmp_path, lie={LIAR: lambda _s, _r, body: body}, seconds=0.5) as table:
            liar_of(table).whisper = lambda step, _to, body: (
                bytes(len(body)) if step == "x/openings" else body
            )

            async def go_on(player: Player) -> object:
                await player._decrypt("x", PRODUCTS, len(PRODUCTS))
                raise await player.aborted("auction")  # as while the rule is evaluated

            outcome = await play(table, go_on)
            for index in HONEST:
                hard = [c for c in found(outcome[index]) if c[1] not in {Charge.ABORTED, Charge.GONE}]
                assert {member for member, _, _ in hard} <= {LIAR}

    run(body())


class TwoFaced(Liar):
    """It complains of its second product to the first of its peers, and of its first one to the others.

    To each of them it proves what that one heard, and shows what it was sent.
    """

    async def _exchange(
        self, step: str, out: Mapping[int, bytes], receiver: int | None = None
    ) -> dict[int, Heard]:
        if step == "x/openings":
            due, opening = out[1][:-SIGNATURE_BYTES], 2 * WIDTH
            first, later = due[:opening] + bytes(opening), bytes(opening) + due[opening:]
            out = {p: self._signed(step, 0, first if p == 1 else later) for p in out}
        heard = await super()._exchange(step, out, receiver)
        if step == "x/partials":
            self.shown = bytes(heard[HELPER])
        elif step == "x/openings":
            writer = Writer()
            for peer in self.peers:
                writer.fixed(keccak256(heard[peer].body), 32).fixed(heard[peer].signature, SIGNATURE_BYTES)
            bodies = {p: bytes(writer) + self.proof(7 if p == 1 else 3) for p in self.peers}
            said = {p: self._signed("x/proofs", 0, body) for p, body in bodies.items()}
            await super()._exchange("x/proofs", said, 0)
            raise Faulted("it has done what it could")
        return heard

    def proof(self, position: int) -> bytes:
        value, proof = prove_partial(COMMITTEE, self.seat.share, EIGHT[position])
        writer = Writer().uint(int(value), WIDTH).var(proof.encode(COMMITTEE))
        return bytes(writer.var(self.shown))


EIGHT = [*PRODUCTS, *PRODUCTS]  # two for each combiner


def test_complaints_of_one_product_to_some_and_of_another_to_others_part_no_honest_players(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It signed both, as the hashes of what each has heard of it show to all."""
    monkeypatch.setattr("tests.players.Liar", TwoFaced)

    async def body() -> None:
        async with playing(tmp_path, lie={LIAR: lambda _s, _r, body: body}) as table:
            outcome = await play(table, lambda p: p._decrypt("x", EIGHT, len(EIGHT)))
        for index in HONEST:
            assert found(outcome[index]) == [(LIAR, Charge.COMPLAINT, "x/openings")]
            table[index].check(Heard.parse(evidence(outcome[index]).evidence))

    run(body())


HEADS: dict[str, Callable[[bytes], bytes]] = {
    "another hash": lambda head: bytes([head[0] ^ 1]) + head[1:],
    "a signature of another": lambda head: (
        bytes([head[0] ^ 1]) + head[1:32] + head[-SIGNATURE_BYTES:] + head[97:]
    ),
    "an own hash of another's": lambda head: head[:97] * 3,
    "of two players": lambda head: head[97:],
}


@pytest.mark.parametrize("name", HEADS)
def test_who_says_that_it_heard_what_was_not_signed_is_charged(tmp_path: Path, name: str) -> None:
    """It blames nobody but itself."""

    def say(step: str, _receiver: int, body: bytes) -> bytes:
        return HEADS[name](body[:HEAD]) + body[HEAD:] if step == "x/proofs" else body

    async def body() -> None:
        table, outcome = await decrypt(tmp_path, say, complains=True)
        assert_all_charge(outcome, Charge.COMPLAINT, "x/proofs", table)

    run(body())
