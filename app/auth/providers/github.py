"""GitHub and GitHub Enterprise, by OAuth 2.0 and the REST API.

Follows https://docs.github.com/apps/oauth-apps/building-oauth-apps/authorizing-oauth-apps
and https://docs.github.com/rest/users. The issuer is the one that GitHub names in its
authorization responses (RFC 9207).
"""

from __future__ import annotations

from ..sso.connection import Answer, Connection
from ..sso.errors_sso import SsoRefused, SsoUnavailable
from ..sso.protocol.transport import get_json
from ..sso.userinfo import UserInfo
from .claims import number_as_subject, person
from .form import ProviderForm
from .plain import OAuthProvider


class GitHub(OAuthProvider):
    """GitHub; a person is their numeric id, for logins and addresses change hands."""

    name = "github"
    form = ProviderForm(
        title="GitHub",
        scopes=("read:user", "user:email"),
        endpoints={
            "issuer": "https://github.com/login/oauth",
            "authorization_endpoint": "https://github.com/login/oauth/authorize",
            "token_endpoint": "https://github.com/login/oauth/access_token",
            "userinfo_endpoint": "https://api.github.com/user",
            "emails_endpoint": "https://api.github.com/user/emails",
        },
    )

    def identify(self, connection: Connection, answer: Answer) -> UserInfo:
        """Return who the access token was given for, with the primary verified address."""
        metadata, url, token = self.asked(connection, answer)
        user = get_json(connection, url, access_token=token)
        if not isinstance(user, dict):
            raise SsoRefused("userinfo")
        subject = number_as_subject(user.get("id"))
        # The profile's own address is the one that the person chose to show.
        address = self._primary(connection, url, token)
        said = {
            **user,
            "preferred_username": user.get("login"),
            "picture": user.get("avatar_url"),
            "organization": user.get("company"),
            "email": address,
        }
        return person(said, issuer=metadata.issuer, subject=subject, email_verified=True)

    def _primary(self, connection: Connection, user_url: str, token: str) -> object:
        # Derived where it is not named, so that an Enterprise token never goes to github.com.
        own = connection.endpoints
        public = self.form.endpoints["emails_endpoint"]
        derived = f"{user_url}/emails" if own.get("userinfo_endpoint") else public
        listed = get_json(connection, own.get("emails_endpoint") or derived, access_token=token)
        if not isinstance(listed, list):
            raise SsoUnavailable("emails")
        for item in listed:
            if isinstance(item, dict) and item.get("primary") is True:
                return item.get("email") if item.get("verified") is True else None
        return None
