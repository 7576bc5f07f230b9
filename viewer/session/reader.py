"""The reader of this session, as the login says, and what that reader may do."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from html import escape
from importlib.util import find_spec
from typing import TYPE_CHECKING

import streamlit as st
from streamlit.errors import StreamlitAuthError

from drcore.errors import DrcoreError
from drcore.reviews.validation import LONGEST
from viewer.server import identity
from viewer.server.reader_header import BROWSER_COOKIE
from viewer.server.settings import reader_header, roles_file
from viewer.ui.assets import style_tag
from viewer.ui.messages import problem

if TYPE_CHECKING:
    from drcore.reviews.decision import Login
    from viewer.server.identity import Permission

_REFUSED: dict[Permission, str] = {
    "read": "may not read",
    "arbitrate": "may not arbitrate",
    "study_rules": "may not change the study's rules",
    "export_identity": "may not export patients' identity: export de-identified",
    "monitor": "may not see Monitor",
    "pacs": "may not use the PACS",
}
_NO_TOOLBAR = '[data-testid="stElementToolbar"] { display: none !important; }'
"""Every table of Streamlit has one, with a download of what it shows as CSV."""
_MOST_BROWSERS = 10_000
_LAST: OrderedDict[str, str] = OrderedDict()
"""By browser, who signed in there last."""
_LAST_LOCK = threading.Lock()


@dataclass(frozen=True, slots=True)
class _SignedIn:
    """A reader as the login names one; `refusal` says why not, and what to do."""

    name: str
    refusal: str = ""


def login() -> Login:
    """Return where this server has its readers' names from."""
    if reader_header():
        return "header"
    return "openid" if identity.openid() else "unverified"


def known() -> bool:
    """Whether this server has a login."""
    return login() != "unverified"


def name() -> str:
    """Return who has signed in, as it is stored; empty where nobody has, or it has expired."""
    found = _signed_in()
    return "" if found.refusal else found.name


def permits(permission: Permission) -> bool:
    """Whether this session's reader may do something; without a login everybody may."""
    if not known():
        return True
    reader = name()
    try:
        return bool(reader) and identity.roles().permits(reader, permission)
    except DrcoreError:
        return False


def require(permission: Permission) -> None:
    """Raise `DrcoreError`, with what to do, unless this session's reader may do something."""
    if permits(permission):
        return
    found = _signed_in()
    raise DrcoreError(found.refusal or _missing(found.name, permission))


def gate(page: str) -> None:
    """Stop a page, named by its title, that this session's reader may not see."""
    if not known():
        if roles_file():
            _stop(
                "DRCORE_ROLES gives roles to readers, but this server has no login. Set "
                "DRCORE_READER_HEADER or an [auth] section in .streamlit/secrets.toml.",
            )
        return
    st.session_state.setdefault("login-since", time.time())
    arriving = not st.session_state.get("login-arrived")
    st.session_state["login-arrived"] = True
    found = _signed_in(arriving=arriving)
    if found.refusal:
        _stop(found.refusal, sign_in=True)
    _take_over(found.name)
    with st.sidebar:
        st.html(f'<p class="status">Signed in as {escape(found.name)}</p>')
        if login() == "openid":
            st.button("Sign out", key="sign-out", on_click=_sign_out)
    try:
        identity.roles()
    except DrcoreError as error:
        _stop(str(error))
    if not permits("export_identity"):
        st.html(f"<style>{_NO_TOOLBAR}</style>")
    wanted: tuple[Permission, ...] = ("monitor",) if page == "Monitor" else ("read", "arbitrate")
    if page != "Model" and not any(permits(one) for one in wanted):
        _stop(_missing(found.name, wanted[0]))


def _stop(sentence: str, *, sign_in: bool = False) -> None:
    st.html(style_tag("ui/style.css"))
    problem(sentence)
    if error := st.session_state.pop("login-error", ""):
        problem(error)
    if sign_in and login() == "openid" and find_spec("authlib") is None:
        problem("Signing in needs another package on this server: pip install drcore[login].")
    elif sign_in and login() == "openid":
        st.button("Sign in", key="sign-in", type="primary", on_click=_sign_in)
    st.stop()


def _sign_in() -> None:
    try:
        st.login()
    except StreamlitAuthError:
        st.session_state["login-error"] = (
            "Signing in is not set up. Complete the [auth] section of .streamlit/secrets.toml on "
            "this server (redirect_uri, cookie_secret, client_id, client_secret, "
            "server_metadata_url) and start the server again."
        )


def _missing(reader: str, permission: Permission) -> str:
    return (
        f"{reader} {_REFUSED[permission]}. Ask the person who keeps the roles of this server "
        f'(DRCORE_ROLES) for "{permission}", or sign in as another reader.'
    )


def _signed_in(*, arriving: bool = False) -> _SignedIn:
    """Return who has signed in to this session, and why that does not hold.

    Args:
        arriving: the session has just begun: its reader is the one of this browser from now on.
    """
    found = _of_header() if login() == "header" else _of_token()
    browser = _browser()
    if not browser:
        return found
    with _LAST_LOCK:
        if arriving:
            _LAST[browser] = found.name
            _LAST.move_to_end(browser)
            while len(_LAST) > _MOST_BROWSERS:
                _LAST.popitem(last=False)
        last = _LAST.get(browser, found.name)
    if last != found.name and not found.refusal:
        text = f"{last} has signed in" if last else "The reader has signed out"
        return _SignedIn(found.name, f"{text} in this browser. Reload the page to go on.")
    return found


def _of_header() -> _SignedIn:
    if trouble := identity.header_trouble():
        return _SignedIn("", trouble)
    # More than one, and one that the proxy did not send, were removed by the middleware.
    value = next((v for k, v in st.context.headers.items() if k.lower() == reader_header()), "")
    try:
        value = value.encode("latin-1").decode("utf-8")
    except UnicodeError:
        value = ""
    # A proxy that adds its header to that of a browser may join both by a comma.
    reader = "" if "," in value else _clean(value)
    if not reader:
        return _SignedIn(
            "",
            "No login: the proxy of this server must name one reader, without a comma, in "
            f"{reader_header()}. Open the viewer at the address of the proxy and sign in "
            "there.",
        )
    return _until_expired(reader, st.session_state.get("login-since"))


def _of_token() -> _SignedIn:
    user = st.user.to_dict()
    if user.get("is_logged_in") is not True:
        return _SignedIn("", "Sign in to go on.")
    try:
        roles = identity.roles()
    except DrcoreError as error:
        return _SignedIn("", str(error))
    reader = _clean(user.get(roles.claim))
    if not reader or (roles.claim == "email" and user.get("email_verified") is False):
        return _SignedIn(
            "",
            f"The identity provider gave no confirmed {roles.claim[:40]!r}. Ask its administrator "
            "for it, or name another claim in the file of DRCORE_ROLES.",
        )
    return _until_expired(reader, user.get("iat"))


def _until_expired(reader: str, since: object) -> _SignedIn:
    try:
        hours = identity.roles().hours
    except DrcoreError as error:
        return _SignedIn("", str(error))
    if isinstance(since, int | float) and time.time() - since <= hours * 3600:
        return _SignedIn(reader)
    what = "Reload the page" if login() == "header" else "Sign in again"
    return _SignedIn(reader, f"Your login has expired. {what} to go on.")


def _clean(value: object) -> str:
    """Return a reader's name without characters that would make one look like another."""
    text = value if isinstance(value, str) else ""
    return " ".join("".join(filter(str.isprintable, text)).split())[: LONGEST["reader"]]


def _take_over(reader: str) -> None:
    """Begin anew where another reader has signed in to this session: nothing typed is kept."""
    before = st.session_state.get("login-reader")
    if before not in {None, reader}:
        st.session_state.clear()
        st.session_state["login-arrived"] = True
        st.session_state["login-since"] = time.time()
    st.session_state["login-reader"] = reader


def _sign_out() -> None:
    with _LAST_LOCK:
        if browser := _browser():
            _LAST[browser] = ""
    st.logout()


def _browser() -> str:
    """Return what tells this browser from others; empty where it takes no cookies."""
    token = st.context.cookies.get(BROWSER_COOKIE, "")
    return hashlib.sha256(token.encode()).hexdigest() if token else ""
