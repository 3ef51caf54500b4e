# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize gas
"""
@title Token for tests and development chains
@license GPL-3.0-or-later
@notice A minimal ERC-20 that anyone may mint. It has no value and must never hold any.
"""

from ethereum.ercs import IERC20

implements: IERC20


event Transfer:
    sender: indexed(address)
    receiver: indexed(address)
    value: uint256


event Approval:
    owner: indexed(address)
    spender: indexed(address)
    value: uint256


name: public(String[32])
symbol: public(String[16])
decimals: public(uint8)
totalSupply: public(uint256)
balanceOf: public(HashMap[address, uint256])
allowance: public(HashMap[address, HashMap[address, uint256]])


@deploy
def __init__(name: String[32], symbol: String[16], decimals: uint8):
    """
    @notice Creates the token without supply.
    @param name Name for people.
    @param symbol Short name.
    @param decimals Decimal places that wallets show.
    """
    self.name = name
    self.symbol = symbol
    self.decimals = decimals


@external
def mint(receiver: address, amount: uint256):
    """
    @notice Creates units out of nothing, for whoever asks.
    @param receiver Who gets them.
    @param amount How many units.
    """
    assert receiver != empty(address), "mint: receiver is zero"
    self.totalSupply += amount
    self.balanceOf[receiver] += amount
    log Transfer(sender=empty(address), receiver=receiver, value=amount)


@external
def approve(spender: address, amount: uint256) -> bool:
    """
    @notice Lets a spender take up to amount units of the caller.
    @param spender Who may take.
    @param amount How many units; replaces what was allowed before.
    @return True.
    """
    self.allowance[msg.sender][spender] = amount
    log Approval(owner=msg.sender, spender=spender, value=amount)
    return True


@external
def transfer(receiver: address, amount: uint256) -> bool:
    """
    @notice Moves units of the caller.
    @param receiver Who gets them.
    @param amount How many units.
    @return True; refused otherwise.
    """
    self._move(msg.sender, receiver, amount)
    return True


@external
def transferFrom(sender: address, receiver: address, amount: uint256) -> bool:
    """
    @notice Moves units of an owner who approved the caller.
    @param sender Whose units.
    @param receiver Who gets them.
    @param amount How many units.
    @return True; refused otherwise.
    """
    allowed: uint256 = self.allowance[sender][msg.sender]
    assert allowed >= amount, "transferFrom: allowance is too small"
    self.allowance[sender][msg.sender] = allowed - amount
    self._move(sender, receiver, amount)
    return True


@internal
def _move(sender: address, receiver: address, amount: uint256):
    assert receiver != empty(address), "transfer: receiver is zero"
    assert self.balanceOf[sender] >= amount, "transfer: balance is too small"
    self.balanceOf[sender] -= amount
    self.balanceOf[receiver] += amount
    log Transfer(sender=sender, receiver=receiver, value=amount)
