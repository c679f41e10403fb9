"""Settings of the audit trail: who seals it, and how often it is signed."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, ValidationInfo, field_validator

from ..core.network.syslog import address
from ..core.network.webhook import expect_secret
from ..core.settings import AT_LEAST, Section, setting


class AuditSettings(Section):
    """Sealing, signing and keeping the audit trail."""

    title: ClassVar[str] = "Audit trail"

    # Sealing
    AUDIT_SEAL_MODE: Literal["thread", "worker", "off"] = setting(
        "thread",
        "Who seals the audit trail: `thread` in the background of each process, `worker` only "
        "`flask iam worker`, `off` nobody but `flask iam audit seal`.",
    )
    AUDIT_ORIGIN: str = setting(
        "iam-audit",
        "First part of the name under which checkpoints are signed; the tenant's id follows. "
        "Choose one of your own, such as a domain name, before the first event.",
        pattern=r"^[A-Za-z0-9._/-]{1,200}$",
    )
    AUDIT_CHECKPOINT_SECONDS: int = setting(
        60, "Longest time from a sealed event to the signed checkpoint over it.", ge=1, le=3600
    )
    AUDIT_IDLE_CHECKPOINT_SECONDS: int = setting(
        3600, "Time after which a trail without new events is signed again.", ge=60, le=86400
    )

    # Retention
    AUDIT_RETENTION_DAYS: int = setting(
        2555,
        "Days that events are kept; `flask iam audit prune` deletes older ones and leaves signed "
        "proof of it. The default is seven years.",
        per_tenant=True,
        floor=AT_LEAST,
        ge=30,
        le=36500,
    )

    # Anchors
    AUDIT_ANCHOR_FILE: str = setting(
        "",
        "File that every checkpoint is appended to; put it where the database's administrator "
        "cannot write. Empty: none.",
    )
    AUDIT_ANCHOR_SYSLOG: str = setting(
        "",
        "System log (RFC 5424) that is sent every checkpoint: `udp://host:port` or "
        "`unix:///dev/log`; empty: none.",
    )
    AUDIT_ANCHOR_SECRET: Annotated[str, AfterValidator(expect_secret)] = setting(
        "", "Key that signs the webhook below: `whsec_` and base64, or any text.", secret=True
    )
    AUDIT_ANCHOR_URL: str = setting(
        "", "Webhook that is posted every checkpoint (Standard Webhooks); empty: none."
    )

    @field_validator("AUDIT_ANCHOR_SYSLOG")
    @classmethod
    def _is_collector(cls, value: str) -> str:
        if value:
            address(value)
        return value

    @field_validator("AUDIT_ANCHOR_URL")
    @classmethod
    def _is_signed(cls, value: str, info: ValidationInfo) -> str:
        if value and not info.data.get("AUDIT_ANCHOR_SECRET"):
            raise ValueError("needs AUDIT_ANCHOR_SECRET: an unsigned anchor proves nothing")
        return value
