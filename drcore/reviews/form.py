"""The form of the structured reading, from a TOML file."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from drcore.errors import ReviewError
from drcore.reviews.findings import FREE_TEXT, Answer, Findings
from drcore.text import clean_name, one_line

__all__ = ["Form", "FormField", "load_form", "shipped_forms"]

_TAKEN = frozenset("ABCEFGHJKLMNQRSUVWXYZ")
"""Letters that mean something on the Review page already, or to Streamlit."""

_LARGEST = 100_000

Label = Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[^\x00-\x1f]*$")]
Option = Annotated[str, Field(min_length=1, max_length=80, pattern=r"^[^\x00-\x1f]*$")]


class FormField(BaseModel):
    """One question of a form.

    Attributes:
        id: under which the answer is stored.
        label: shown.
        kind: "one" of the options, "several" of them, "text" or "number".
        options: to choose from.
        key: letter or digit from 5 that steps through the options of "one", empty for none.
        keys: letters or digits that turn the options of "several" on and off, one each; or empty.
        when: "gradable", "ungradable", "other_id=option", or empty for always.
        least, most, value: bounds and first value of a number.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    id: Annotated[str, Field(pattern="^[a-z][a-z0-9_]{0,39}$")]
    label: Label
    kind: Literal["one", "several", "text", "number"] = "one"
    options: Annotated[list[Option], Field(max_length=30)] = []
    key: Annotated[str, Field(pattern="^[A-Z5-9]?$")] = ""
    keys: list[Annotated[str, Field(pattern="^[A-Z5-9]$")]] = []
    when: str = ""
    least: int = 0
    most: int = 1000
    value: int = 0

    @model_validator(mode="after")
    def _consistent(self) -> FormField:
        chosen = self.kind in {"one", "several"}
        if chosen != bool(self.options) or len(set(self.options)) < len(self.options):
            raise ValueError("give options, each once, for a choice and for nothing else")
        if self.keys and (self.kind != "several" or len(self.keys) != len(self.options)):
            raise ValueError("give keys for several options, one for each, and for nothing else")
        if self.key and self.kind != "one":
            raise ValueError("give key for one option alone")
        if taken := _TAKEN & {self.key, *self.keys}:
            raise ValueError(f"the key {min(taken)} is used by the page; choose another")
        if not self.least <= self.value <= self.most:
            raise ValueError("value is not between least and most")
        return self


class Form(BaseModel):
    """A form.

    Attributes:
        name, version: of the form; stored with each reading.
        fields: in the order shown.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    name: Annotated[str, Field(min_length=1, max_length=60, pattern=r"^[^\x00-\x1f]*$")]
    version: Annotated[str, Field(min_length=1, max_length=15, pattern=r"^[^\x00-\x1f]*$")]
    fields: Annotated[list[FormField], Field(min_length=1, max_length=30)]

    @model_validator(mode="after")
    def _consistent(self) -> Form:
        ids = [field.id for field in self.fields]
        keys = [key for field in self.fields for key in (field.key, *field.keys) if key]
        if len(set(ids)) < len(ids) or len(set(keys)) < len(keys):
            raise ValueError("two fields have the same id or key")
        options = {f"{field.id}={option}" for field in self.fields for option in field.options}
        for field in self.fields:
            if field.when not in options | {"", "gradable", "ungradable"}:
                raise ValueError(f"when = {field.when!r} is not gradable, ungradable or id=option")
        return self

    def shown(self, values: Mapping[str, Any], *, ungradable: bool) -> list[FormField]:
        """Return the fields that apply to some answers.

        Args:
            values: answers by id.
            ungradable: whether the reader calls the photograph ungradable.
        """
        state = "ungradable" if ungradable else "gradable"
        return [
            field
            for field in self.fields
            if field.when in {"", state} or self._is_answered(field.when, values)
        ]

    def findings(self, values: Mapping[str, Any], *, ungradable: bool) -> Findings | None:
        """Return what is stored of some answers; None where nothing was answered.

        Args:
            values: answers by id; those of fields that do not apply are left out.
            ungradable: whether the reader calls the photograph ungradable.

        Raises:
            ReviewError: an answer does not fit its field.
        """
        answers: list[tuple[str, Answer]] = []
        texts: list[tuple[str, str]] = []
        for field in self.shown(values, ungradable=ungradable):
            follows = field.kind == "number" and "=" in field.when  # shown with its first value
            value = values.get(field.id, field.value if follows else None)
            if value is None or value in ("", (), []):
                continue
            if field.kind == "text":
                texts.append((field.id, str(value).strip()[:FREE_TEXT]))
            else:
                answers.append((field.id, _checked(field, value)))
        texts = [(name, text) for name, text in texts if text]
        if not answers and not texts:
            return None
        return Findings(f"{self.name} {self.version}", tuple(answers), tuple(texts))

    @staticmethod
    def _is_answered(when: str, values: Mapping[str, Any]) -> bool:
        name, _, option = when.partition("=")
        value = values.get(name)
        return (
            option in value if isinstance(value, list | tuple) else bool(option) and value == option
        )


def _checked(field: FormField, value: Any) -> Answer:
    if field.kind == "number":
        if isinstance(value, int) and field.least <= value <= field.most:
            return value
        raise ReviewError(
            f"{field.label}: enter a whole number from {field.least} to {field.most}."
        )
    several = field.kind == "several"
    chosen = tuple(value) if several and isinstance(value, list | tuple) else (value,)
    if not all(isinstance(one, str) and one in field.options for one in chosen):
        raise ReviewError(f"{field.label}: choose {', '.join(field.options)}, or leave it out.")
    return chosen if several else chosen[0]


def shipped_forms() -> list[str]:
    """Return the names of the forms that come with drcore."""
    return sorted(item.name.removesuffix(".toml") for item in _folder().iterdir())


def load_form(setting: str | None = None) -> Form | None:
    """Read the form.

    Args:
        setting: path of a TOML file, or the name of one that ships; DRCORE_FORM where left out.

    Returns:
        The default form where nothing is set; None for "none".

    Raises:
        ReviewError: the file is not there, or is no form.
    """
    name = (os.environ.get("DRCORE_FORM", "") if setting is None else setting).strip() or "default"
    if name == "none":
        return None
    shown = clean_name(name)
    try:
        if name in shipped_forms():
            text = (_folder() / f"{name}.toml").read_text(encoding="utf-8")
        else:
            with Path(name).open("rb") as file:
                text = file.read(_LARGEST + 1).decode("utf-8")
        if len(text) > _LARGEST:
            raise ReviewError(f"{shown}: a form has at most {_LARGEST} characters. Shorten it.")
        return Form.model_validate(tomllib.loads(text))
    except OSError as error:
        raise ReviewError(
            f"The form {shown} cannot be read ({error.strerror}). Set DRCORE_FORM to the path of a "
            f"TOML file, or to {', '.join(shipped_forms())} or none."
        ) from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        message = one_line(first["msg"]).removeprefix("Value error, ")
        place = ".".join(str(part) for part in first["loc"]) or "the form"
        raise ReviewError(
            f"{shown}: {place}: {message}. Correct the form, as in default.toml."
        ) from error
    except (ValueError, RecursionError) as error:
        raise ReviewError(f"{shown} is no TOML file ({one_line(error)}). Correct it.") from error


def _folder() -> Any:
    return files("drcore") / "forms"
