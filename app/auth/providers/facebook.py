"""Facebook, by OAuth 2.0 and the Graph API.

Follows https://developers.facebook.com/docs/facebook-login/guides/advanced/manual-flow and
https://developers.facebook.com/docs/graph-api/guides/secure-requests.
"""

from __future__ import annotations

import hmac
from urllib.parse import urljoin

from ..sso.connection import Answer, Connection
from ..sso.errors_sso import SsoRefused
from ..sso.protocol.transport import get_json
from ..sso.userinfo import UserInfo
from .claims import number_as_subject, person
from .form import ProviderForm
from .plain import OAuthProvider

_FIELDS = "id,name,first_name,last_name,email,picture"


class Facebook(OAuthProvider):
    """Facebook; its ids are of this app only, its addresses never count as verified."""

    name = "facebook"
    form = ProviderForm(
        title="Facebook",
        scopes=("public_profile", "email"),
        endpoints={
            "issuer": "https://www.facebook.com",
            "authorization_endpoint": "https://www.facebook.com/v25.0/dialog/oauth",
            "token_endpoint": "https://graph.facebook.com/v25.0/oauth/access_token",
            "userinfo_endpoint": "https://graph.facebook.com/v25.0/me",
        },
    )

    def identify(self, connection: Connection, answer: Answer) -> UserInfo:
        """Return who the access token was given for, once it is known to be given to us."""
        metadata, url, token = self.asked(connection, answer)
        owner = _owner(connection, url, token)
        proof = hmac.new(connection.client_secret.encode(), token.encode(), "sha256").hexdigest()
        query = {"fields": _FIELDS, "appsecret_proof": proof}
        user = get_json(connection, url, access_token=token, query=query)
        if not isinstance(user, dict):
            raise SsoRefused("userinfo")
        subject = number_as_subject(user.get("id"))
        if subject != owner:
            raise SsoRefused("userinfo_sub")
        said = {
            **user,
            "given_name": user.get("first_name"),
            "family_name": user.get("last_name"),
            "picture": _picture(user.get("picture")),
        }
        return person(said, issuer=metadata.issuer, subject=subject)


def _owner(connection: Connection, user_url: str, token: str) -> str:
    """Return whose token this is. Raises SsoRefused where it is another app's (AT-184)."""
    app = f"{connection.client_id}|{connection.client_secret}"
    query = {"input_token": token, "access_token": app}
    found = get_json(connection, urljoin(user_url, "debug_token"), query=query)
    data = found.get("data") if isinstance(found, dict) else None
    if not isinstance(data, dict) or data.get("is_valid") is not True:
        raise SsoRefused("token_invalid")
    if str(data.get("app_id")) != connection.client_id:
        raise SsoRefused("token_app")
    return number_as_subject(data.get("user_id"))


def _picture(value: object) -> object:
    data = value.get("data") if isinstance(value, dict) else None
    return data.get("url") if isinstance(data, dict) else None
