"""A reader's decision about one photograph, with the circumstances in which it was made."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import AwareDatetime, Field
from pydantic.dataclasses import dataclass

from drcore.errors import ReviewError
from drcore.eye import Laterality
from drcore.reviews.findings import Findings
from drcore.reviews.validation import (
    STRICT,
    Grade,
    ImageName,
    ModelVersion,
    Note,
    Patient,
    ReaderName,
    Sha256,
    plain_errors,
)  # fmt: skip
from drcore.text import clean_name

__all__ = [
    "LOGIN_SENTENCE", "MASKED_MODES", "MODES", "ROLES", "Action", "Decision", "Login",
    "ReadingMode", "Role",
]  # fmt: skip

Action = Literal["agree", "change", "ungradable"]

ReadingMode = Literal["open", "blinded first read", "second reader", "arbitration"]
"""How a study has photographs read; "blinded" is masked to the model and to other readers."""
Role = Literal["first", "second", "arbiter"]

Login = Literal["unverified", "openid", "header"]
"""Where a reader's name comes from: typed in, an identity provider, or a proxy's header."""

MODES: tuple[ReadingMode, ...] = get_args(ReadingMode)

MASKED_MODES: frozenset[ReadingMode] = frozenset({"blinded first read", "second reader"})
"""Modes that hide the model's result and other readers until the reader's own decision."""

ROLES: dict[ReadingMode, Role | None] = {
    "open": None,
    "blinded first read": "first",
    "second reader": "second",
    "arbitration": "arbiter",
}
"""Role of the reader in each mode; an open read is no part of a study and has none."""

MachineStatus = Literal["graded", "ungradable", "failed"]
Scale = Annotated[str, Field(pattern="^([1-9][0-9]{1,3}|fused)$")]

LOGIN_SENTENCE = (
    f"the login {{login}} is not known; choose {', '.join(get_args(Login))}, or leave it out."
)
_SCALES = (
    "{overlay_scales} are not scales of the map. Give each once, as its size in pixels or as "
    '"fused", or leave them out.'
)
_SENTENCES = {
    "machine_status": "the model's answer '{machine_status}' is not known.",
    "machine_grade": "the model's grade {machine_grade} does not go with its answer "
    "'{machine_status}'.",
    "machine_score": "the model's score is not a number. Leave it out.",
    "action": f"the decision '{{action}}' is not known; choose {', '.join(get_args(Action))}.",
    "grade": "{grade} is not a grade; choose 0 to 4.",
    "decided_at": "the time of the decision needs a time zone. Give UTC.",
    "seconds": "{seconds} seconds is not a time. Leave it out.",
    "overlay_scales": _SCALES,
    "mode": f"the mode {{mode}} is not known; choose {', '.join(MODES)}, or leave it out.",
    "role": f"the role {{role}} is not known; choose {', '.join(get_args(Role))}, or leave it out.",
    "machine_visible": "the machine's grade was visible or not, or leave it out.",
    "login": LOGIN_SENTENCE,
    "findings": "the findings are no answers of a form. Leave them out.",
    "revises": "{revises} is not the number of an earlier decision.",
}


@plain_errors(_SENTENCES)
@dataclass(frozen=True, slots=True, config=STRICT)
class Decision:
    """What a reader decided about one photograph, and what the model had said.

    Attributes:
        sha256: of the file, 64 hex digits in lower case.
        image: name of the photograph as shown; untrusted text.
        model_version: name and version of the weights.
        machine_status: "graded", "ungradable" or "failed".
        machine_grade: 0-4, None unless graded.
        machine_score: continuous severity in grades, None where there was none.
        action: "agree" with the machine's grade, "change" to another, or "ungradable"; a blinded
            reader agrees where the grades turn out to be the same.
        grade: the reader's grade 0-4; the machine's where they agree, None where ungradable.
        note: the reader's reason, free text, may be empty.
        reader: who decided, may be empty where the viewer has no names.
        decided_at: when, with a time zone.
        laterality: "OD", "OS" or None.
        patient: None where unknown.
        seconds: the photograph was looked at, before this decision and since the one before it;
            None where that was not recorded.
        overlay_scales: at which the reader saw the map before deciding ("128", "fused", ...); empty
            where the map was hidden the whole time, None where it was not recorded.
        mode: of reading; None where it was not recorded.
        role: of the reader; None where it was not recorded.
        machine_visible: whether the machine's grade had been on screen before the decision; None
            where it was not recorded.
        revises: number in the record of this reader's earlier decision on the same photograph that
            this one changes, such as after the machine's grade was uncovered; None for a first.
        findings: answers of the structured reading; None where nothing was answered.
        login: who says that it was this reader: "unverified" where the name was typed in, "openid"
            or "header"; None where it was not recorded.

    Raises:
        ReviewError: the fields contradict each other or cannot be stored.
    """

    sha256: Sha256
    image: ImageName
    model_version: ModelVersion
    machine_status: MachineStatus
    machine_grade: Grade | None
    machine_score: Annotated[float, Field(allow_inf_nan=False)] | None
    action: Action
    grade: Grade | None
    note: Note
    reader: ReaderName
    decided_at: AwareDatetime
    laterality: Laterality | None = None
    patient: Patient | None = None
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    overlay_scales: tuple[Scale, ...] | None = None
    mode: ReadingMode | None = None
    role: Role | None = None
    machine_visible: bool | None = None
    revises: Annotated[int, Field(gt=0)] | None = None
    findings: Findings | None = None
    login: Login | None = None

    @property
    def overlay_seen(self) -> bool | None:
        """Whether the reader saw the map at any scale; None where it was not recorded."""
        return None if self.overlay_scales is None else bool(self.overlay_scales)

    @property
    def saw_machine(self) -> bool:
        """Whether the mode was masked, but the machine's grade had been on screen before."""
        return self.mode in MASKED_MODES and self.machine_visible is True

    def __post_init__(self) -> None:
        problem = self._contradiction()
        if problem:
            raise ReviewError(f"{clean_name(self.image)}: {problem}")

    def _contradiction(self) -> str:
        """Say which fields do not go together; empty where all do."""
        if (self.machine_grade is not None) != (self.machine_status == "graded"):
            return (
                f"the model's grade {self.machine_grade} does not go with its answer "
                f"{self.machine_status!r}."
            )
        if self.action == "ungradable":
            ungraded = self.grade is None
            return "" if ungraded else "an ungradable photograph has no grade. Leave it out."
        if self.action == "agree" and (self.machine_grade is None or self.grade is None):
            return "there is no grade of the model to agree with. Give a grade of your own."
        if self.grade is None:
            return "None is not a grade; choose 0 to 4."
        if self.action == "agree" and self.grade != self.machine_grade:
            return (
                f"grade {self.grade} does not agree with the model's {self.machine_grade}. "
                "Record it as a change."
            )
        scales = self.overlay_scales or ()
        return _SCALES.format(overlay_scales=scales) if len(set(scales)) < len(scales) else ""
