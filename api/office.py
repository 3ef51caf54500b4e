"""How routes come by the venue's compliance office."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from fastapi import Depends, Request

from compliance.office import Office
from darkpool.errors import OrderRefused


async def office_of(request: Request) -> Office:
    """The app's. Raises OrderRefused of code compliance-away if it has none."""
    found: Office | None = request.app.state.office
    if found is None:
        raise OrderRefused("compliance: this venue has no desk", "ask the operator", "compliance-away")
    return found


async def any_office(request: Request) -> Office | None:
    """The app's, if it has one."""
    found: Office | None = request.app.state.office
    return found


OfficeOf: TypeAlias = Annotated[Office, Depends(office_of)]
AnyOffice: TypeAlias = Annotated[Office | None, Depends(any_office)]
