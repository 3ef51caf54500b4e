# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize gas
"""
@title What an account does by itself: deposit, leave, cancel
@license GPL-3.0-or-later
@dev Nothing here asks for anybody's consent or can be paused. What leaves the vault or burns a nonce waits
     for a delay; `Vault.vy` sees to it that the delays outlast every settlement that was sealed before.
     A request sets aside what the balance has at that time, so nothing that a settlement credits leaves the
     vault before WITHDRAW_DELAY has passed: until then a settlement that proves false can be unwound. While
     one is, what was asked for since it waits, but no longer than WITHDRAW_DELAY.
"""

from ethereum.ercs import IERC20

import ledger

uses: ledger


struct WithdrawalRequest:
    quanta: uint256
    ready_at: uint256


struct CancelRequest:
    mask: uint256
    ready_at: uint256


event Deposit:
    token: indexed(uint256)
    account: indexed(address)
    quanta: uint256


event WithdrawalRequested:
    token: indexed(uint256)
    account: indexed(address)
    quanta: uint256
    ready_at: uint256


event Withdrawn:
    token: indexed(uint256)
    account: indexed(address)
    quanta: uint256
    units: uint256


event CancelRequested:
    account: indexed(address)
    word: uint256
    mask: uint256
    ready_at: uint256


event Cancelled:
    account: indexed(address)
    word: uint256
    mask: uint256


# Seconds.
WITHDRAW_DELAY: public(immutable(uint256))
CANCEL_DELAY: public(immutable(uint256))

# While settlements are unwound: requests made from `held_since` on wait until `held_until`, unix seconds.
held_since: public(uint256)
held_until: public(uint256)

withdrawal_requests: public(HashMap[address, HashMap[uint256, WithdrawalRequest]])
cancel_requests: public(HashMap[address, HashMap[uint256, CancelRequest]])


@deploy
def __init__(withdraw_delay: uint256, cancel_delay: uint256):
    """
    @notice Fixes the delays for good.
    @param withdraw_delay Seconds from request to withdrawal.
    @param cancel_delay Seconds from request to cancellation.
    """
    WITHDRAW_DELAY = withdraw_delay
    CANCEL_DELAY = cancel_delay


@external
@nonreentrant
def deposit(token: uint256, quanta: uint256):
    """
    @notice Pulls quanta of a token from the caller, who must have approved quanta * quantum units, and
            credits the caller with what arrived, in whole quanta.
    @param token Place of the token in `tokens`.
    @param quanta How much; at least 1.
    """
    assert token < ledger.TOKEN_COUNT, "deposit: token is not registered"
    assert quanta != 0, "deposit: zero quanta"
    # Also keeps quanta * quantum below 2**192.
    assert quanta <= ledger.LANE_MASK, "deposit: total would reach 2**64 quanta"
    erc20: IERC20 = IERC20(ledger.tokens[token].token)
    quantum: uint256 = ledger.tokens[token].quantum

    before: uint256 = staticcall erc20.balanceOf(self)
    # Else the newcomer would pay for what the token has taken from the others.
    assert before >= ledger.total_quanta[token] * quantum, "deposit: the vault holds less of this token than it owes"
    assert extcall erc20.transferFrom(
        msg.sender, self, quanta * quantum, default_return_value=True
    ), "deposit: token refused the transfer; approve the vault first"
    after: uint256 = staticcall erc20.balanceOf(self)
    assert after >= before, "deposit: token balance fell"
    # Never more than was asked for, whatever the token says arrived.
    arrived: uint256 = min((after - before) // quantum, quanta)
    assert arrived != 0, "deposit: less than a quantum arrived"

    ledger.credit(token, msg.sender, arrived)
    log Deposit(token=token, account=msg.sender, quanta=arrived)


@external
def request_withdrawal(token: uint256, quanta: uint256):
    """
    @notice Asks for quanta of the caller's balance, and sets them aside, or the balance if that is less. A new
            request replaces the amount of an open one and restarts the delay. Until `withdraw` settlements
            may debit it, last of all; what they credit takes a further request.
    @param token Place of the token in `tokens`.
    @param quanta How much; at least 1; `withdraw` pays no more than was there.
    """
    assert token < ledger.TOKEN_COUNT, "request_withdrawal: token is not registered"
    assert quanta != 0, "request_withdrawal: zero quanta"
    ready_at: uint256 = block.timestamp + WITHDRAW_DELAY
    ledger.set_aside(token, msg.sender, quanta)
    self.withdrawal_requests[msg.sender][token] = WithdrawalRequest(quanta=quanta, ready_at=ready_at)
    log WithdrawalRequested(token=token, account=msg.sender, quanta=quanta, ready_at=ready_at)


@external
@nonreentrant
def withdraw(token: uint256):
    """
    @notice Pays what is left of what the caller's open request set aside, and closes the request.
            Needs nobody's consent. If the vault holds less of the token than it owes, because the token
            took some, a quantum pays its share of what is there.
    @param token Place of the token in `tokens`.
    """
    assert token < ledger.TOKEN_COUNT, "withdraw: token is not registered"
    request: WithdrawalRequest = self.withdrawal_requests[msg.sender][token]
    assert request.quanta != 0, "withdraw: nothing was requested"
    assert block.timestamp >= request.ready_at, "withdraw: the delay has not passed; wait until ready_at of the request"
    if block.timestamp < self.held_until:
        assert request.ready_at - WITHDRAW_DELAY < self.held_since, "withdraw: settlements since a false one are being unwound; send unwind, or wait until held_until"

    quanta: uint256 = ledger.leaving[ledger.key(token, msg.sender)]
    units: uint256 = 0
    if quanta != 0:
        units = self._units(token, quanta)
    self.withdrawal_requests[msg.sender][token] = empty(WithdrawalRequest)
    ledger.pay_out(token, msg.sender)
    log Withdrawn(token=token, account=msg.sender, quanta=quanta, units=units)
    if units != 0:
        assert extcall IERC20(ledger.tokens[token].token).transfer(
            msg.sender, units, default_return_value=True
        ), "withdraw: token refused the transfer"


@internal
@view
def _units(token: uint256, quanta: uint256) -> uint256:
    """
    @dev What quanta are worth. Rounding down leaves those who come later no less than their share.
         No product overflows: quanta < 2**64, and held < 2**64 * quantum < 2**192 where it is used.
    """
    total: uint256 = ledger.total_quanta[token]
    quantum: uint256 = ledger.tokens[token].quantum
    held: uint256 = staticcall IERC20(ledger.tokens[token].token).balanceOf(self)
    if held >= total * quantum:
        return quanta * quantum
    return quanta * held // total


@external
def request_cancel(word: uint256, mask: uint256):
    """
    @notice Asks to burn order nonces of the caller, so that no later settlement can use them. A new
            request for the same word adds its bits and restarts the delay of all of them.
    @param word nonce >> 8; below 2**96.
    @param mask One bit, nonce & 255, for every order; not zero.
    """
    assert word <= ledger.WORD_MASK, "request_cancel: word is 2**96 or more"
    assert mask != 0, "request_cancel: mask is zero"
    ready_at: uint256 = block.timestamp + CANCEL_DELAY
    self.cancel_requests[msg.sender][word].mask |= mask
    self.cancel_requests[msg.sender][word].ready_at = ready_at
    log CancelRequested(account=msg.sender, word=word, mask=mask, ready_at=ready_at)


@external
def finalize_cancel(word: uint256):
    """
    @notice Burns the requested nonces of the caller once the delay has passed, and closes the request.
            Bits that a settlement has used in the meantime stay used.
    @param word nonce >> 8.
    """
    request: CancelRequest = self.cancel_requests[msg.sender][word]
    assert request.mask != 0, "finalize_cancel: nothing was requested"
    assert block.timestamp >= request.ready_at, "finalize_cancel: the delay has not passed; wait until ready_at of the request"
    self.cancel_requests[msg.sender][word] = empty(CancelRequest)
    ledger.bits[ledger.bits_key(msg.sender, word)] |= request.mask
    log Cancelled(account=msg.sender, word=word, mask=request.mask)
