"""Settings of invitations."""

from __future__ import annotations

from typing import ClassVar

from ...core.settings import AT_MOST, Section, setting


class InvitationSettings(Section):
    """How long an invitation waits."""

    title: ClassVar[str] = "Invitations"

    IAM_INVITATION_DAYS: int = setting(
        7,
        "Days for which the link of an invitation works.",
        per_tenant=True,
        floor=AT_MOST,
        ge=1,
        le=30,
    )
