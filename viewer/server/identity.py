"""Who may do what on this server: the settings of a login, and the file of roles."""

from __future__ import annotations

import ipaddress
import tomllib
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import streamlit as st

from drcore.errors import DrcoreError
from viewer.server.settings import proxy_addresses, reader_header, roles_file

if TYPE_CHECKING:
    from collections.abc import Mapping

Permission = Literal["read", "arbitrate", "study_rules", "export_identity", "monitor", "pacs"]
PERMISSIONS: tuple[Permission, ...] = get_args(Permission)

_KEYS = {"claim", "hours", *PERMISSIONS}
_EVERYBODY = "*"


@dataclass(frozen=True, slots=True)
class Roles:
    """What readers who have signed in may do.

    Attributes:
        members: by permission, the readers who have it, in lower case; "*" is everybody who has
            signed in. None: everybody has every permission.
        claim: of the identity provider's token that names the reader.
        hours: after which a reader has to sign in again.
    """

    members: Mapping[Permission, frozenset[str]] | None = None
    claim: str = "email"
    hours: float = 12

    def permits(self, reader: str, permission: Permission) -> bool:
        """Whether a reader has a permission; upper and lower case are the same."""
        if self.members is None:
            return True
        return not self.members[permission].isdisjoint({_EVERYBODY, reader.casefold()})


@cache
def openid() -> bool:
    """Whether .streamlit/secrets.toml has an [auth] section: an identity provider signs in.

    Also where that file is there and cannot be read: nobody gets in by damaging it.
    """
    if st.secrets.load_if_toml_exists():
        return "auth" in st.secrets
    return any(Path(file).exists() for file in st.get_option("secrets.files"))


def header_trouble() -> str:
    """Say why no reader can be taken from a header; empty where one can, or none is wanted."""
    header = reader_header()
    if not header:
        return ""
    if not header.isascii() or not header.replace("-", "").isalnum():
        return (
            f"{header[:40]!r} is no name of a header: use letters, digits and hyphens, as in "
            "X-Reader (setting DRCORE_READER_HEADER of this server)."
        )
    try:
        if proxies():
            return ""
    except DrcoreError as error:
        return str(error)
    return (
        "No proxy may name the reader. Give the address from which the proxy connects, such as "
        "127.0.0.1, in the setting DRCORE_PROXY of this server."
    )


def proxies() -> frozenset[str]:
    """Return the addresses of DRCORE_PROXY, separated by commas, that may name the reader.

    Raises:
        DrcoreError: one is not an IP address.
    """
    words = [word.strip() for word in proxy_addresses().split(",")]
    try:
        return frozenset(_address(word) for word in words if word)
    except ValueError as error:
        raise DrcoreError(
            f"{error} (setting DRCORE_PROXY of this server: give IP addresses, separated by "
            "commas)."
        ) from error


def is_proxy(peer: str) -> bool:
    """Whether a connection comes from a proxy that may name the reader."""
    try:
        return _address(peer) in proxies()
    except (DrcoreError, ValueError):
        return False


def _address(text: str) -> str:
    found = ipaddress.ip_address(text)
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return str(mapped or found)  # a socket for both calls 127.0.0.1 ::ffff:127.0.0.1


def roles() -> Roles:
    """Return the roles of DRCORE_ROLES as the file stands now; everybody may do all without it.

    Raises:
        DrcoreError: the file cannot be read, or is not what it should be.
    """
    path = roles_file()
    if not path:
        return Roles()
    try:
        stamp = Path(path).stat()
        return _read(path, stamp.st_mtime_ns, stamp.st_size)
    except (OSError, ValueError, RecursionError) as error:
        raise DrcoreError(
            f"The roles cannot be read: {error}. Correct the file of DRCORE_ROLES."
        ) from error


@lru_cache(maxsize=4)
def _read(path: str, changed: int, size: int) -> Roles:
    del changed, size
    values = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    if unknown := sorted(values.keys() - _KEYS):
        raise ValueError(f"{unknown[0][:40]!r} is not known; use {', '.join(sorted(_KEYS))}")
    claim, hours = values.get("claim", "email"), values.get("hours", 12)
    if not isinstance(claim, str) or not claim:
        raise ValueError('claim is the name of a claim, such as "email"')
    if isinstance(hours, bool) or not isinstance(hours, int | float) or not 0 < hours <= 720:
        raise ValueError("hours is a number above 0, at most 720")
    return Roles({one: _names(one, values.get(one, [])) for one in PERMISSIONS}, claim, hours)


def _names(permission: str, values: Any) -> frozenset[str]:
    if not isinstance(values, list) or not all(isinstance(one, str) for one in values):
        raise ValueError(f'{permission} is a list of readers, such as ["anna@clinic.example"]')
    return frozenset(one.strip().casefold() for one in values if one.strip())
