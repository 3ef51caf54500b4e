# pragma version 0.4.3
"""
@notice A token whose balances all change at once: holders have shares, and a share is worth what is set.
"""

SHARE: constant(uint256) = 10**6

shares: HashMap[address, uint256]
allowance: public(HashMap[address, HashMap[address, uint256]])
# Units of a share, in millionths.
worth: public(uint256)


@deploy
def __init__():
    self.worth = SHARE


@external
def rebase(worth: uint256):
    self.worth = worth


@external
@view
def balanceOf(holder: address) -> uint256:
    return self.shares[holder] * self.worth // SHARE


@external
def mint(receiver: address, amount: uint256):
    self.shares[receiver] += self._shares(amount)


@external
def approve(spender: address, amount: uint256) -> bool:
    self.allowance[msg.sender][spender] = amount
    return True


@external
def transfer(receiver: address, amount: uint256) -> bool:
    self._move(msg.sender, receiver, amount)
    return True


@external
def transferFrom(sender: address, receiver: address, amount: uint256) -> bool:
    self.allowance[sender][msg.sender] -= amount
    self._move(sender, receiver, amount)
    return True


@internal
def _move(sender: address, receiver: address, amount: uint256):
    moved: uint256 = self._shares(amount)
    self.shares[sender] -= moved
    self.shares[receiver] += moved


@internal
@view
def _shares(amount: uint256) -> uint256:
    return amount * SHARE // self.worth
