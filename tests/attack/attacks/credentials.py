"""Clients that guess keys."""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import httpx

from graphql_api.auth.api_keys import new_key
from tests.attack.registry import add
from tests.attack.target import Target, repeat


async def guess(make_key: Callable[[], str], path: str, target: Target) -> None:
    """Send requests with unknown keys over 64 connections."""
    async with httpx.AsyncClient(base_url=target.url, timeout=30, limits=httpx.Limits(max_connections=64)) as client:
        await repeat(target, 64, lambda: client.get(path, headers={"x-api-key": make_key()}))


async def guess_over_websockets(target: Target) -> None:
    """Send unknown keys in `connection_init`."""

    async def act() -> None:
        wrong = replace(target, key=new_key())
        async with asyncio.timeout(1), wrong.websocket(init=True):
            pass

    async def refused() -> None:
        with contextlib.suppress(TimeoutError):
            await act()

    await repeat(target, 32, refused)


def _mistyped() -> str:
    key = new_key()
    return key[:-1] + ("0" if key[-1] != "0" else "1")


add("unknown_keys_with_checksum", partial(guess, new_key, "/samples/a"), is_short=True)
add("unknown_keys_without_checksum", partial(guess, _mistyped, "/samples/a"))
add("unknown_keys_to_graphql", partial(guess, new_key, "/graphql?query=%7B__typename%7D"))
add("unknown_keys_over_websockets", guess_over_websockets)
