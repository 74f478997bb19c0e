"""The proxy that the environment names for an address.

aiohttp's own `trust_env` looks it up for every request, in two threads, and lets an entry of ~/.netrc displace the
teacher's key.
"""

from __future__ import annotations

import urllib.request
from typing import TypedDict
from urllib.parse import urlsplit

from aiohttp import BasicAuth
from yarl import URL


class ProxyArguments(TypedDict, total=False):
    """Keyword arguments of an aiohttp session."""

    proxy: URL
    proxy_auth: BasicAuth | None


def from_environment(address: str) -> ProxyArguments:
    """What `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` (either case) say of an address; else nothing."""
    parts = urlsplit(address)
    proxy = urllib.request.getproxies().get(parts.scheme)
    if not proxy or urllib.request.proxy_bypass(parts.hostname or ""):
        return {}
    url = URL(proxy if "://" in proxy else f"http://{proxy}")
    return {"proxy": url.with_user(None), "proxy_auth": BasicAuth.from_url(url)}
