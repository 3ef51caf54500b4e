# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize gas
"""
@title Vault of the dark pool
@license GPL-3.0-or-later
@notice Holds the tokens of all accounts and applies what a quorum of the committee signs: net deltas
        of balances and the nullifiers of the orders that were consumed. A guardian may pause settling and
        nothing else; no owner and no upgrade exists, and no consent is needed to leave: a withdrawal takes
        effect after a fixed delay.
@dev Parts: `ledger.vy` what is owed, `accounts.vy` what accounts do by themselves, `committee.vy` who signs
     and who pauses; settling and its undoing are here. `Arbiter.vy`, a contract of its own, judges contests.

     Clock rules. A settlement is valid from its sealing time until SETTLE_WINDOW later. A withdrawal or
     a cancellation takes effect only after a delay longer than SETTLE_WINDOW plus FINALITY; until then
     settlements may debit the balance and use the bits. The venue takes no orders of an account with an
     open request, so no account can make a settlement of an already sealed round revert. No delay ever
     changes.

     Units. A token is registered once, at construction, with a quantum: token units per quantum. Every
     balance, delta and request here is an integer of quanta.

     Rows. A settlement carries its changes packed, because calldata and hashing are paid per word:
       delta row      token << 248 | account << 88 | debit << 87 | magnitude
                      token: place in the list of tokens; debit: 1 if the balance falls; magnitude: quanta
       nullifier row  (account << 96 | word, mask)
                      the orders with nonces 256 * word + i of the account, for every bit i set in mask
     Rows ascend strictly by (token, account) and by (account, word), which makes them unique.

     Signatures are EIP-712 (domain in `committee.vy`) over
       Settlement(uint256 id,uint256 epoch,uint256 sealedAt,bytes32 root,bytes32 transcript,
                  bytes32 deltas,bytes32 nullifiers)                                  (without the break)
     where deltas is keccak256(abi.encode(uint256[])) of the packed rows, and nullifiers is
     keccak256(abi.encode((uint256,uint256)[])). Both encodings include the leading offset word.

     Contests. Whoever shows the arbiter that a settlement took from him, or gave him, what no fills of his
     orders could have, within WITHDRAW_DELAY of it, has it unwound together with all that were settled after
     it, newest first, down to the balances before it; nullifiers stay used. The committee that signed it is
     frozen. Nothing that a settlement credits leaves within that time (`accounts.vy`), so it is all there.

     Log. The events alone suffice to rebuild every balance, bit, request, committee, guardian, pause and
     freeze: Settled carries all rows, and Unwound takes back those of its settlement.

     Odd tokens harm nobody but their own holders. Credited is what arrives. If a token takes some of what
     the vault holds (by falling balances or a fee on sending), withdrawals of it pay pro rata and deposits
     of it are refused. What a token adds, and what is less than a quantum, stays in the contract.
"""

import accounts
import committee
import ledger

initializes: ledger
initializes: accounts[ledger := ledger]
initializes: committee

exports: (ledger.__interface__, accounts.__interface__, committee.__interface__)


struct NullifierRow:
    key: uint256
    mask: uint256


struct Settlement:
    id: uint256
    epoch: uint256
    sealed_at: uint256
    root: bytes32
    transcript: bytes32
    deltas: DynArray[uint256, MAX_ROWS]
    nullifiers: DynArray[NullifierRow, MAX_ROWS]


event Settled:
    id: indexed(uint256)
    root: indexed(bytes32)
    epoch: uint256
    sealed_at: uint256
    transcript: bytes32
    deltas: DynArray[uint256, MAX_ROWS]
    nullifiers: DynArray[NullifierRow, MAX_ROWS]


event Convicted:
    id: indexed(uint256)
    until: uint256


event Unwound:
    id: indexed(uint256)


# Few enough that a settlement of balances that fell to zero can be unwound within 2**24 gas (EIP-7825).
MAX_ROWS: constant(uint256) = 512
MAX_DELAY: constant(uint256) = 365 * 24 * 60 * 60
# A quarter of it is the time to refute a false denial.
MIN_WITHDRAW_DELAY: constant(uint256) = 600

MAGNITUDE_MASK: constant(uint256) = 2**87 - 1
DEBIT_BIT: constant(uint256) = 2**87

SETTLEMENT_TYPE: constant(bytes32) = keccak256(
    "Settlement(uint256 id,uint256 epoch,uint256 sealedAt,bytes32 root,bytes32 transcript,bytes32 deltas,bytes32 nullifiers)"
)

# Seconds.
SETTLE_WINDOW: public(immutable(uint256))
FINALITY: public(immutable(uint256))

# Whose word it is that a settlement is false.
ARBITER: public(immutable(address))

# The only settlement id that `settle` accepts next; the first is 1.
next_id: public(uint256)
# What a settlement in force was: keccak256 of the ABI words id, time it was settled, root, transcript, hash of
# the deltas, hash of the nullifiers, the last two as they were signed. Zero once it is unwound.
records: public(HashMap[uint256, bytes32])
# Of a frozen committee: the newest settlement in force, and the oldest that is to be unwound.
unwind_next: public(uint256)
unwind_last: public(uint256)


@deploy
def __init__(
    settle_window: uint256,
    finality: uint256,
    withdraw_delay: uint256,
    cancel_delay: uint256,
    committee_delay: uint256,
    members: DynArray[address, committee.MAX_MEMBERS],
    threshold: uint256,
    guardian: address,
    tokens: DynArray[ledger.Token, ledger.MAX_TOKENS],
    arbiter: address,
):
    """
    @notice Fixes the delays, tokens and arbiter for good and registers the first committee, as epoch 1.
    @param settle_window Seconds after its sealing time for which a settlement stays valid.
    @param finality Seconds after which the venue regards a block as final.
    @param withdraw_delay Seconds from request to withdrawal; more than settle_window + finality, and 600 or more.
    @param cancel_delay Seconds from request to cancellation; more than settle_window + finality.
    @param committee_delay Seconds from proposal to activation; more than 2 * withdraw_delay, so that whoever
           distrusts a new committee can leave before it acts, also after an unwinding, which takes as long.
    @param members Addresses of the signers, strictly ascending, at least 2 * threshold + 1.
    @param threshold t: how many members may be faulty.
    @param guardian Who may pause settling; not zero.
    @param tokens Addresses and quanta (token units per quantum) of 1 to 8 tokens.
    @param arbiter The contract that judges contests, an `Arbiter`.
    """
    assert arbiter.is_contract, "vault: arbiter is not a contract"
    assert settle_window != 0, "vault: settle_window is zero"
    assert committee_delay <= MAX_DELAY, "vault: committee_delay is above 365 days"
    assert withdraw_delay >= MIN_WITHDRAW_DELAY, "vault: withdraw_delay is below 600 seconds"
    assert withdraw_delay <= MAX_DELAY, "vault: withdraw_delay is above 365 days"
    assert committee_delay > 2 * withdraw_delay, "vault: committee_delay is not above 2 * withdraw_delay"
    assert withdraw_delay > finality and withdraw_delay - finality > settle_window, "vault: withdraw_delay is not above settle_window + finality"
    assert cancel_delay <= MAX_DELAY, "vault: cancel_delay is above 365 days"
    assert cancel_delay > settle_window + finality, "vault: cancel_delay is not above settle_window + finality"
    SETTLE_WINDOW = settle_window
    FINALITY = finality
    ARBITER = arbiter
    ledger.__init__(tokens)
    accounts.__init__(withdraw_delay, cancel_delay)
    committee.__init__(committee_delay, members, threshold, guardian)
    self.next_id = 1


@external
@nonreentrant
def settle(settlement: Settlement, signatures: DynArray[Bytes[65], committee.MAX_MEMBERS]):
    """
    @notice Applies a settlement, all or nothing. Anyone may send it.
    @dev 1. settling is not paused nor the committee frozen, the id is the next one; 2. the epoch is the present one; 3. now is
         within the window; 4. at least 2t + 1 members signed; 5. every bit is unused; 6. rows are
         canonical, no balance becomes negative, every token's deltas sum to zero.
         The rows stay in calldata, and loops are here and not in functions: a copy costs more than all
         the checks.
    @param settlement The rows and what they were derived from; see the contract's notes for packing.
    @param signatures r || s || v by distinct members, ascending by signer address.
    """
    assert not committee.paused, "settle: settling is paused; wait until the guardian resumes"  # 1
    assert not committee.frozen, "settle: the committee is frozen; wait for the next one"
    assert block.timestamp >= accounts.held_until, "settle: settlements of a frozen committee are being unwound; wait until held_until"
    assert settlement.id == self.next_id, "settle: id is not the next one"
    assert settlement.epoch == committee.epoch, "settle: epoch is not the present one"  # 2
    assert block.timestamp >= settlement.sealed_at, "settle: sealed in the future"  # 3
    assert block.timestamp - settlement.sealed_at <= SETTLE_WINDOW, "settle: the window has closed"
    # Separate statements share one encoding buffer, which keeps memory small.
    deltas_hash: bytes32 = keccak256(abi_encode(settlement.deltas))  # 4
    nullifiers_hash: bytes32 = keccak256(abi_encode(settlement.nullifiers))
    struct_hash: bytes32 = keccak256(
        abi_encode(
            SETTLEMENT_TYPE,
            settlement.id,
            settlement.epoch,
            settlement.sealed_at,
            settlement.root,
            settlement.transcript,
            deltas_hash,
            nullifiers_hash,
        )
    )
    committee.check_quorum(struct_hash, signatures)
    self.next_id = unsafe_add(settlement.id, 1)

    previous: uint256 = 0
    for row: NullifierRow in settlement.nullifiers:  # 5
        assert row.key > previous, "settle: nullifier rows are not strictly ascending"
        assert row.mask != 0, "settle: nullifier mask is zero"
        previous = row.key
        used: uint256 = ledger.bits[row.key]
        assert used & row.mask == 0, "settle: nullifier is already used"
        ledger.bits[row.key] = used | row.mask

    previous = 0
    net: uint256 = 0  # modulo 2**256; at most 512 magnitudes below 2**87, so zero means zero
    for row: uint256 in settlement.deltas:  # 6
        key: uint256 = row >> 88
        assert key > previous, "settle: delta rows are not strictly ascending"
        if (key ^ previous) > ledger.ACCOUNT_MASK:
            assert net == 0, "settle: deltas of a token do not sum to zero"
            assert key >> 160 < ledger.TOKEN_COUNT, "settle: token is not registered"
        previous = key
        magnitude: uint256 = row & MAGNITUDE_MASK
        assert magnitude != 0, "settle: delta is zero"
        lane: uint256 = ((key >> 160) & 3) << 6
        place: uint256 = (key & ledger.ACCOUNT_MASK) | ((key >> 162) << 160)
        lanes: uint256 = ledger.lanes[place]
        held: uint256 = (lanes >> lane) & ledger.LANE_MASK
        if row & DEBIT_BIT == 0:
            assert unsafe_add(held, magnitude) <= ledger.LANE_MASK, "settle: a balance would reach 2**64 quanta"
            ledger.lanes[place] = unsafe_add(lanes, magnitude << lane)
            net = unsafe_add(net, magnitude)
        else:
            net = unsafe_sub(net, magnitude)
            if magnitude > held:
                set_aside: uint256 = ledger.leaving[key]
                assert magnitude <= unsafe_add(held, set_aside), "settle: a balance would be negative"
                ledger.leaving[key] = unsafe_sub(unsafe_add(held, set_aside), magnitude)
                magnitude = held
            ledger.lanes[place] = unsafe_sub(lanes, magnitude << lane)
    assert net == 0, "settle: deltas of a token do not sum to zero"

    self.records[settlement.id] = self._record(
        settlement.id,
        block.timestamp,
        settlement.root,
        settlement.transcript,
        deltas_hash,
        nullifiers_hash,
    )
    log Settled(
        id=settlement.id,
        root=settlement.root,
        epoch=settlement.epoch,
        sealed_at=settlement.sealed_at,
        transcript=settlement.transcript,
        deltas=settlement.deltas,
        nullifiers=settlement.nullifiers,
    )


@external
@nonreentrant
def convict(id: uint256, settled_at: uint256):
    """
    @notice Freezes the committee, and has a settlement unwound with all after it. For the arbiter alone, which
            has seen the proof and knows by the record when it was settled.
    @param id Of a settlement in force.
    @param settled_at Time of its block; less than WITHDRAW_DELAY ago.
    """
    assert msg.sender == ARBITER, "convict: the caller is not the arbiter"
    if not committee.frozen:
        self.unwind_next = self.next_id - 1
    elif id >= self.unwind_last:
        return
    self.unwind_last = id
    accounts.held_since = settled_at
    accounts.held_until = block.timestamp + accounts.WITHDRAW_DELAY
    committee.freeze()
    log Convicted(id=id, until=accounts.held_until)


@external
@nonreentrant
def unwind(
    id: uint256,
    settled_at: uint256,
    root: bytes32,
    transcript: bytes32,
    deltas: DynArray[uint256, MAX_ROWS],
    nullifiers: bytes32,
):
    """
    @notice Takes back the newest settlement in force, if it or one before it was proven false. Anyone may send
            it, for every settlement from the newest down to the false one.
    @dev No account can lack what is taken back. Say it had L free and E set aside before the settlement. Since
         then it got N by settlements and P by deposits, and withdrew W. Whoever withdrew in that time had asked
         for it before, since it is less than WITHDRAW_DELAY, and later requests are held: W <= E. So it has
         L + E + N + P - W, and keeps L + E + P - W >= 0 without N. This holds for each settlement in turn.
    @param id Of the settlement.
    @param settled_at Time of its block.
    @param root As it was settled.
    @param transcript As it was settled.
    @param deltas As it was settled.
    @param nullifiers Hash of its nullifier rows, as it was signed.
    """
    assert block.timestamp < accounts.held_until, "unwind: nothing is to be unwound, or not any more"
    assert id == self.unwind_next, "unwind: the settlement is not the next one"
    assert self.records[id] == self._record(
        id, settled_at, root, transcript, keccak256(abi_encode(deltas)), nullifiers
    ), "unwind: the settlement was another"
    self.records[id] = empty(bytes32)
    self.unwind_next = id - 1
    if id == self.unwind_last:
        accounts.held_until = 0
    for row: uint256 in deltas:
        ledger.take_back(row >> 88, row & MAGNITUDE_MASK, row & DEBIT_BIT != 0)
    log Unwound(id=id)


@internal
@pure
def _record(
    id: uint256,
    settled_at: uint256,
    root: bytes32,
    transcript: bytes32,
    deltas: bytes32,
    nullifiers: bytes32,
) -> bytes32:
    return keccak256(abi_encode(id, settled_at, root, transcript, deltas, nullifiers))
