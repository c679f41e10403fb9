"""What another service's word is worth at our gate (AT-200; RFC 8176). Pure.

Proofs that a provider names count only where its connection is trusted for them; otherwise
its word is one factor, whatever it says.
"""

from __future__ import annotations

from ...sign_in.services_gate import SSO, Shown
from ..connection import Connection
from ..userinfo import UserInfo

FEDERATED = "fed"
# RFC 8176, 2, by kind: two methods of one kind are one factor.
_KINDS = (
    frozenset({"pwd", "pin", "kba"}),
    frozenset({"otp", "hwk", "swk", "pop", "sc", "sms", "tel"}),
    frozenset({"face", "fpt", "iris", "retina", "vbm"}),
)


def shown_by(connection: Connection, info: UserInfo) -> Shown:
    """Return what a sign-in through a connection has proved."""
    if connection.trusts_mfa and _says_mfa(connection, info):
        return Shown(SSO, (FEDERATED, "mfa"), "aal2")
    return Shown(SSO, (FEDERATED,), "aal1")


def _says_mfa(connection: Connection, info: UserInfo) -> bool:
    said = set(info.amr)
    if "mfa" in said or sum(bool(said & kind) for kind in _KINDS) > 1:
        return True
    return info.acr is not None and info.acr in connection.options.get("mfa_acr", "").split()
