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
     and who pauses; settling is here.

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

     Log. The events alone suffice to rebuild every balance, bit, request, committee, guardian and pause:
     Settled carries all rows.

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


MAX_ROWS: constant(uint256) = 1024
MAX_DELAY: constant(uint256) = 365 * 24 * 60 * 60

MAGNITUDE_MASK: constant(uint256) = 2**87 - 1
DEBIT_BIT: constant(uint256) = 2**87

SETTLEMENT_TYPE: constant(bytes32) = keccak256(
    "Settlement(uint256 id,uint256 epoch,uint256 sealedAt,bytes32 root,bytes32 transcript,bytes32 deltas,bytes32 nullifiers)"
)

# Seconds.
SETTLE_WINDOW: public(immutable(uint256))
FINALITY: public(immutable(uint256))

# The only settlement id that `settle` accepts next; the first is 1.
next_id: public(uint256)


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
):
    """
    @notice Fixes the delays and tokens for good and registers the first committee, as epoch 1.
    @param settle_window Seconds after its sealing time for which a settlement stays valid.
    @param finality Seconds after which the venue regards a block as final.
    @param withdraw_delay Seconds from request to withdrawal; more than settle_window + finality.
    @param cancel_delay Seconds from request to cancellation; more than settle_window + finality.
    @param committee_delay Seconds from proposal to activation; more than withdraw_delay, so that
           whoever distrusts a new committee can leave before it acts.
    @param members Addresses of the signers, strictly ascending, at least 2 * threshold + 1.
    @param threshold t: how many members may be faulty.
    @param guardian Who may pause settling; not zero.
    @param tokens Addresses and quanta (token units per quantum) of 1 to 8 tokens.
    """
    assert settle_window != 0, "vault: settle_window is zero"
    assert committee_delay <= MAX_DELAY, "vault: committee_delay is above 365 days"
    assert committee_delay > withdraw_delay, "vault: committee_delay is not above withdraw_delay"
    assert withdraw_delay > finality and withdraw_delay - finality > settle_window, "vault: withdraw_delay is not above settle_window + finality"
    assert cancel_delay <= MAX_DELAY, "vault: cancel_delay is above 365 days"
    assert cancel_delay > settle_window + finality, "vault: cancel_delay is not above settle_window + finality"
    SETTLE_WINDOW = settle_window
    FINALITY = finality
    ledger.__init__(tokens)
    accounts.__init__(withdraw_delay, cancel_delay)
    committee.__init__(committee_delay, members, threshold, guardian)
    self.next_id = 1


@external
@nonreentrant
def settle(settlement: Settlement, signatures: DynArray[Bytes[65], committee.MAX_MEMBERS]):
    """
    @notice Applies a settlement, all or nothing. Anyone may send it.
    @dev 1. settling is not paused, the id is the next one; 2. the epoch is the present one; 3. now is
         within the window; 4. at least 2t + 1 members signed; 5. every bit is unused; 6. rows are
         canonical, no balance becomes negative, every token's deltas sum to zero.
         The rows stay in calldata, and loops are here and not in functions: a copy costs more than all
         the checks.
    @param settlement The rows and what they were derived from; see the contract's notes for packing.
    @param signatures r || s || v by distinct members, ascending by signer address.
    """
    assert not committee.paused, "settle: settling is paused; wait until the guardian resumes"  # 1
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
    net: uint256 = 0  # modulo 2**256; at most 1024 magnitudes below 2**87, so zero means zero
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
            assert magnitude <= held, "settle: a balance would be negative"
            ledger.lanes[place] = unsafe_sub(lanes, magnitude << lane)
            net = unsafe_sub(net, magnitude)
    assert net == 0, "settle: deltas of a token do not sum to zero"

    log Settled(
        id=settlement.id,
        root=settlement.root,
        epoch=settlement.epoch,
        sealed_at=settlement.sealed_at,
        transcript=settlement.transcript,
        deltas=settlement.deltas,
        nullifiers=settlement.nullifiers,
    )
