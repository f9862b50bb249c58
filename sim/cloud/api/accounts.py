"""Accounts (platform 1)."""

from fastapi import APIRouter

from sim.cloud.api.context import Authenticated, Body
from sim.cloud.operations import Operations
from sim.cloud.shapes import AccountInfo

router = APIRouter(tags=["accounts"])


class NewAccount(Body):
    name: str
    password: str


@router.post("/accounts", status_code=201)
async def create_account(call: Authenticated, body: NewAccount) -> AccountInfo:
    return await call.run(Operations.create_account, body.name, body.password)
