"""The archives that drcore may talk to, from a TOML file."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    model_validator,
)  # fmt: skip

from drcore.errors import MissingInputError, PacsError
from drcore.sources.remote_client import may_be_asked
from drcore.text import clean_name, one_line, printable

__all__ = [
    "AE_TITLE", "DicomServer", "Server", "Tls", "WebServer", "load_servers", "server_named",
]  # fmt: skip

AE_TITLE = r"^[\x21-\x5b\x5d-\x7e]([\x20-\x5b\x5d-\x7e]{0,14}[\x21-\x5b\x5d-\x7e])?$"
"""Printable ASCII but the backslash, no space at either end (PS3.5, value representation AE)."""

_LARGEST = 100_000


def _resolved(path: str, info: ValidationInfo) -> str:
    folder = (info.context or {}).get("folder", Path())
    found = folder / Path(path).expanduser()
    if not found.is_file():
        raise ValueError(f"there is no file {clean_name(path)}; name one beside the servers file")
    return str(found)


PemFile = Annotated[str, Field(min_length=1), AfterValidator(_resolved)]
Variable = Annotated[str, Field(pattern="^[A-Za-z_][A-Za-z0-9_]{0,99}$")]
AeTitle = Annotated[str, Field(pattern=AE_TITLE)]


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Tls(_Settings):
    """Encryption of a DICOM association.

    Attributes:
        ca: PEM file of the authority, or the server's own certificate, that is trusted.
        certificate, key: PEM files by which drcore identifies itself; both or neither.
        check_name: whether the certificate must be for the host that is called.
    """

    ca: PemFile
    certificate: PemFile | None = None
    key: PemFile | None = None
    check_name: bool = True

    @model_validator(mode="after")
    def _consistent(self) -> Tls:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key belong together; give both or neither")
        return self


class DicomServer(_Settings):
    """An archive that is reached through DICOM messages (DIMSE).

    Attributes:
        name: as the servers file calls it.
        kind: "dicom".
        host, port: where it listens.
        ae_title, calling_ae_title: of the archive, and of drcore as the archive knows it.
        timeout: seconds that it may take for each answer.
        tls: None for an association without encryption.
    """

    name: str
    kind: Literal["dicom"]
    host: Annotated[str, Field(pattern=r"^[A-Za-z0-9._:-]{1,253}$")]
    port: Annotated[int, Field(ge=1, le=65535)]
    ae_title: AeTitle
    calling_ae_title: AeTitle = "DRCORE"
    timeout: Annotated[float, Field(strict=False, gt=0, le=600)] = 30.0
    tls: Tls | None = None


class WebServer(_Settings):
    """An archive that is reached through DICOMweb.

    Attributes:
        name: as the servers file calls it.
        kind: "web".
        url: root of QIDO-RS, WADO-RS and STOW-RS: https, or http on this computer.
        token_env: environment variable that holds a bearer token.
        user_env, password_env: environment variables that hold user and password.
        ca: PEM file of the authority that is trusted; the system's where left out.
        timeout: seconds that it may take for each answer.
    """

    name: str
    kind: Literal["web"]
    url: Annotated[str, Field(max_length=2000)]
    token_env: Variable | None = None
    user_env: Variable | None = None
    password_env: Variable | None = None
    ca: PemFile | None = None
    timeout: Annotated[float, Field(strict=False, gt=0, le=600)] = 30.0

    @model_validator(mode="after")
    def _consistent(self) -> WebServer:
        if not may_be_asked(self.url):
            raise ValueError("photographs travel by https only; give an https:// address")
        parts = urlsplit(self.url)
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError(
                "url must hold no user, password, ? or #; name the environment variables of user "
                "and password in user_env and password_env"
            )
        if (self.user_env is None) != (self.password_env is None):
            raise ValueError("user_env and password_env belong together; give both or neither")
        if self.token_env is not None and self.user_env is not None:
            raise ValueError("give token_env, or user_env and password_env, not all")
        return self

    def secret(self, variable: str) -> str:
        """Return what an environment variable of this server holds.

        Raises:
            PacsError: it is not set.
        """
        value = os.environ.get(variable, "")
        if not value or not value.isprintable():
            raise PacsError(
                f"{self.name}: the environment variable {variable}, which the servers file names, "
                "is not set, or is no single line. Set it before you start drcore."
            )
        return value


Server = Annotated[DicomServer | WebServer, Field(discriminator="kind")]

_ONE: TypeAdapter[DicomServer | WebServer] = TypeAdapter(Server)


def load_servers(file: str | Path | None = None) -> dict[str, DicomServer | WebServer]:
    """Read the servers file.

    Args:
        file: TOML file with tables `[servers.NAME]`; DRCORE_PACS where left out.

    Returns:
        Servers by name, in the file's order; empty where no file is named.

    Raises:
        MissingInputError: the file is not there.
        PacsError: it is not as it must be; the message names the file and the key.
    """
    given = file if file is not None else os.environ.get("DRCORE_PACS", "").strip()
    if not given:
        return {}
    path = Path(given)
    shown = clean_name(path.name)
    try:
        with path.open("rb") as opened:
            data = opened.read(_LARGEST + 1)
        if len(data) > _LARGEST:
            raise PacsError(f"{shown}: a servers file has at most {_LARGEST} bytes. Shorten it.")
        content = tomllib.loads(data.decode("utf-8"))
    except FileNotFoundError as error:
        raise MissingInputError(
            f"There is no servers file {shown}. Check --servers or DRCORE_PACS."
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise PacsError(
            f"{shown} cannot be read as TOML ({one_line(error)}). Correct it."
        ) from error
    return _checked(content, shown, path.resolve().parent)


def server_named(name: str, file: str | Path | None = None) -> DicomServer | WebServer:
    """Return one server of the servers file.

    Raises:
        MissingInputError: the file, or a server of this name, is not there.
        PacsError: the file is not as it must be.
    """
    servers = load_servers(file)
    if name in servers:
        return servers[name]
    if not servers:
        raise MissingInputError(
            "No servers are named. Write a TOML file with a table [servers.NAME] for each archive, "
            "and name it with --servers or DRCORE_PACS."
        )
    raise MissingInputError(
        f"There is no server {printable(name)[:40]}. The servers file has: {', '.join(servers)}."
    )


def _checked(
    content: dict[str, Any], shown: str, folder: Path
) -> dict[str, DicomServer | WebServer]:
    tables = content.get("servers")
    unknown = sorted(set(content) - {"servers"})
    if unknown or not isinstance(tables, dict) or not tables:
        why = f"{printable(unknown[0])[:40]} is not known" if unknown else "it names no server"
        raise PacsError(f"{shown}: {why}. Write a table [servers.NAME] for each archive.")
    found: dict[str, DicomServer | WebServer] = {}
    for name, table in tables.items():
        place = f"{shown}: servers.{printable(name)[:40]}"
        if not name.replace("-", "").replace("_", "").isalnum() or not name.isascii():
            raise PacsError(f"{place}: name a server by letters, digits, - and _. Correct it.")
        if not isinstance(table, dict) or "name" in table:
            raise PacsError(f"{place}: write it as a table without a name of its own. Correct it.")
        try:
            found[name] = _ONE.validate_python({**table, "name": name}, context={"folder": folder})
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            steps = [str(part) for part in first["loc"] if part not in {"dicom", "web"}]
            where = ".".join([place, *(printable(step)[:40] for step in steps)])
            raise PacsError(f"{where}: {one_line(first['msg'])}. Correct it.") from None
    return found
