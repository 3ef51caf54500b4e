# pragma version 0.4.3
"""
@notice A token as some old ones are: it returns nothing, and keeps a fee, in hundredths of a percent: of
        what the receiver gets, or on top of what the sender sends.
"""

balanceOf: public(HashMap[address, uint256])
allowance: public(HashMap[address, HashMap[address, uint256]])
fee: public(uint256)
surcharge: public(uint256)


@external
def set_fee(fee: uint256):
    self.fee = fee


@external
def set_surcharge(surcharge: uint256):
    self.surcharge = surcharge


@external
def mint(receiver: address, amount: uint256):
    self.balanceOf[receiver] += amount


@external
def approve(spender: address, amount: uint256):
    self.allowance[msg.sender][spender] = amount


@external
def transfer(receiver: address, amount: uint256):
    self._move(msg.sender, receiver, amount)


@external
def transferFrom(sender: address, receiver: address, amount: uint256):
    self.allowance[sender][msg.sender] -= amount
    self._move(sender, receiver, amount)


@internal
def _move(sender: address, receiver: address, amount: uint256):
    self.balanceOf[sender] -= amount + amount * self.surcharge // 10_000
    self.balanceOf[receiver] += amount - amount * self.fee // 10_000
