"""Who this service is to authenticators: RP id, name and exact origins (WebAuthn Level 3, 4).

From settings and the hosts of tenants, never from any other Host header (AT-090, AT-249); only
without IAM_BASE_URL, in development, a loopback address is taken from the request.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from ...core.errors import BadRequest, Misconfigured
from ...core.i18n import _
from ...tenancy.services_settings import effective
from ..settings import AuthSettings
from ..web.links import named_origin, public_origin
from .settings_webauthn import WebauthnSettings, is_address


@dataclass(frozen=True, slots=True)
class RelyingParty:
    """What keys are bound to."""

    id: str
    name: str
    origins: tuple[str, ...]


def relying_party() -> RelyingParty:
    """Return what keys of this service are bound to.

    Raises BadRequest at an address by number, which no key can be bound to.
    """
    settings = WebauthnSettings.current()
    origins = settings.WEBAUTHN_ORIGINS or (_own_origin(),)
    rp_id = settings.WEBAUTHN_RP_ID or urlsplit(_own_origin()).hostname or ""
    if own := named_origin():  # a tenant's host is where its keys are used, and only there
        host, origins = urlsplit(own).hostname or "", (own,)
        rp_id = rp_id if host == rp_id or host.endswith(f".{rp_id}") else host
    if is_address(rp_id):
        raise _unusable(_own_origin())
    name = settings.WEBAUTHN_RP_NAME or effective(AuthSettings).IAM_BRAND_NAME
    return RelyingParty(rp_id, name, origins)


def _own_origin() -> str:
    try:
        return public_origin()
    except Misconfigured:
        raise _unusable("") from None


def _unusable(origin: str) -> BadRequest:
    port = urlsplit(origin).port
    url = f"http://localhost:{port}" if port else "http://localhost"
    text = _("Passkeys do not work at this address. Open %(url)s instead.", url=url)
    return BadRequest(text, code="webauthn.address")
