"""Microsoft Entra ID, for the people of listed tenants.

Follows https://learn.microsoft.com/entra/identity-platform/v2-protocols-oidc and
…/claims-validation. A person is tenant and object id, never an address: those are whatever
the administrator of some tenant writes into them (AT-192).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from ...core.i18n import N_
from ..sso.connection import Answer, Connection, Metadata
from ..sso.errors_sso import SsoRefused, SsoUnavailable
from ..sso.protocol.id_token import unverified
from ..sso.protocol.metadata import WELL_KNOWN, discover
from ..sso.protocol.transport import TENANT
from ..sso.userinfo import UserInfo
from .claims import person
from .form import Option, ProviderForm
from .oidc import OpenIdProvider

_ISSUER = f"https://login.microsoftonline.com/{TENANT}/v2.0"
_AUTHORITY = re.compile(rf"/[^/]+/v2\.0{re.escape(WELL_KNOWN)}$")
_GUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# The claim is documented as a Boolean and has been sent in each of these forms.
_VERIFIED = (True, "true", "1")


class Azure(OpenIdProvider):
    """Entra ID by OpenID Connect, v2.0 endpoints.

    A national cloud is set up by its discovery URL, or by an `issuer` with `{tenantid}` in it.
    """

    name = "azure"
    form = ProviderForm(
        title="Microsoft Entra ID",
        scopes=("openid", "email", "profile"),
        endpoints={"issuer": _ISSUER},
        options=(
            Option(
                "tenants",
                N_("Tenant ids"),
                N_("GUIDs of the tenants whose people may sign in, separated by spaces."),
                required=True,
            ),
        ),
    )

    def metadata(self, connection: Connection) -> Metadata:
        """Return what the discovery document of the tenant, or of all of them, says.

        Raises SsoUnavailable where no tenant is listed: everybody's would be admitted.
        """
        tenants = _tenants(connection)
        if not tenants:
            raise SsoUnavailable("tenants")
        issuer = _issuer(connection)
        authority = issuer.replace(TENANT, "organizations")
        if len(tenants) == 1:
            authority = issuer = issuer.replace(TENANT, tenants[0])
        own = replace(connection, endpoints={**connection.endpoints, "issuer": issuer})
        found = discover(own, f"{authority}{WELL_KNOWN}")
        return replace(found, token_auth_methods=("client_secret_post",))

    def authorize_params(self, connection: Connection) -> Mapping[str, str]:
        """Return the scopes; the code comes in the query."""
        return {**super().authorize_params(connection), "response_mode": "query"}

    def identify(self, connection: Connection, answer: Answer) -> UserInfo:
        """Verify the ID token against the issuer of its tenant, where that one is listed."""
        tenant = unverified(answer.tokens.get("id_token")).get("tid")
        if tenant not in _tenants(connection):
            raise SsoRefused("tenant")
        metadata = self.metadata(connection)
        metadata = replace(metadata, issuer=metadata.issuer.replace(TENANT, tenant))
        claims = self.verified(connection, metadata, answer)
        account = claims.get("oid")
        if not isinstance(account, str) or not _GUID.fullmatch(account):
            raise SsoRefused("oid")
        return person(
            claims,
            issuer=metadata.issuer,
            subject=f"{tenant}.{account}",
            email_verified=claims.get("xms_edov") in _VERIFIED,
        )


def _issuer(connection: Connection) -> str:
    """Return the issuer of the cloud, with a template for the tenant."""
    named = connection.endpoints.get("issuer")
    if named or not connection.discovery_url:
        return named or _ISSUER
    return _AUTHORITY.sub(f"/{TENANT}/v2.0", connection.discovery_url)


def _tenants(connection: Connection) -> list[str]:
    listed = connection.options.get("tenants", "").lower().split()
    return [item for item in listed if _GUID.fullmatch(item)]
