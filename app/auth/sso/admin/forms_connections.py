"""Forms of connections and e-mail domains. What a provider asks for becomes fields of its own."""

from __future__ import annotations

from typing import Any

from wtforms import BooleanField, RadioField, SelectField, StringField, TextAreaField
from wtforms.validators import InputRequired, Length, Optional

from ....core.errors import IAMError
from ....core.i18n import _
from ....core.i18n import lazy as _l
from ...accounts.forms_admin import show
from ...forms import IAMForm
from ...models import IAMSsoConnection
from ...providers import Option, ProviderForm
from ..attributes import ATTRIBUTES, LONGEST_PATH
from ..connection import DOMAINS, ENDPOINTS, INVITED, OFF, OPEN
from .connection_values import MAX_NAME, MAX_SECRET, MAX_TEXT, MAX_URL, Values

OPTION, ENDPOINT, ATTRIBUTE = "option_", "endpoint_", "attribute_"
JIT_LABELS = {
    OFF: _l("Nobody: people sign in here first and link their account"),
    INVITED: _l("People who were invited, by their verified address"),
    DOMAINS: _l("People with a verified address at one of your verified domains"),
    OPEN: _l("Everybody whom the provider lets in"),
}
ENDPOINT_LABELS = {
    "issuer": _l("Issuer"),
    "authorization_endpoint": _l("Authorization endpoint"),
    "token_endpoint": _l("Token endpoint"),
    "userinfo_endpoint": _l("UserInfo endpoint"),
    "jwks_uri": _l("Key set (JWKS)"),
    "end_session_endpoint": _l("Logout endpoint"),
    "emails_endpoint": _l("E-mail addresses endpoint"),
}
ATTRIBUTE_LABELS = {
    "display_name": _l("Display name"),
    "first_name": _l("First name"),
    "last_name": _l("Last name"),
    "language": _l("Language"),
    "timezone": _l("Time zone"),
    "phone_number": _l("Phone"),
    "organization": _l("Organization"),
}


class SecretField(TextAreaField):
    """A secret that is typed or pasted, of one line or, as a PEM key, of many; never shown."""

    def _value(self) -> str:
        return ""


class FlagsForm(IAMForm):
    """What may change on every connection."""

    name = StringField(
        _l("Name on the button"), [InputRequired(_l("Enter a name.")), Length(max=MAX_NAME)]
    )
    jit = RadioField(
        _l("Who gets an account at the first sign-in"),
        [InputRequired()],
        choices=[],
    )
    trusts_mfa = BooleanField(_l("Accept the second factor of this provider"))
    end_sessions = BooleanField(_l("End its sessions when it is disabled or deleted"))
    provider_logout = BooleanField(_l("Sign people out there, too"))
    allow_private = BooleanField(_l("May reach private networks"))


class ProtocolForm(FlagsForm):
    """A connection whose client and addresses are the tenant's to choose."""

    client_id = StringField(
        _l("Client ID"), [InputRequired(_l("Enter the client ID.")), Length(max=255)]
    )
    client_secret = SecretField(_l("Client secret"), [Optional(), Length(max=MAX_SECRET)])
    discovery_url = StringField(_l("Discovery URL"), [Optional(), Length(max=MAX_URL)])
    scopes = StringField(_l("Scopes"), [Optional(), Length(max=MAX_TEXT)])


class NewForm(ProtocolForm):
    """A new connection; the short name stays for ever."""

    slug = StringField(_l("Short name"), [InputRequired(_l("Enter a short name.")), Length(max=63)])
    client_secret = SecretField(
        _l("Client secret"), [InputRequired(_l("Enter the secret.")), Length(max=MAX_SECRET)]
    )


class SecretForm(IAMForm):
    """A new secret."""

    client_secret = SecretField(
        _l("New secret"), [InputRequired(_l("Enter the secret.")), Length(max=MAX_SECRET)]
    )


class DeleteForm(IAMForm):
    """The name of what is to be deleted."""

    name = StringField(
        _l("Name of the connection"), [InputRequired(_l("Enter the name.")), Length(max=MAX_NAME)]
    )


class RuleForm(IAMForm):
    """A claim's value that gives a role."""

    claim = StringField(
        _l("Claim"), [InputRequired(_l("Enter the name of a claim.")), Length(max=LONGEST_PATH)]
    )
    value = StringField(_l("Value"), [InputRequired(_l("Enter a value.")), Length(max=255)])
    role = SelectField(_l("Role"), [InputRequired(_l("Choose a role."))])


class ClaimDomainForm(IAMForm):
    """A domain that the tenant says is its own."""

    name = StringField(
        _l("Domain"), [InputRequired(_l("Enter a domain such as example.com")), Length(max=254)]
    )


class DomainConnectionForm(IAMForm):
    """The connection that signs in a domain's people."""

    connection_id = SelectField(_l("Connection"), [Optional()])


def connection_form(
    kind: ProviderForm, row: IAMSsoConnection | None = None, base: type[FlagsForm] = ProtocolForm
) -> FlagsForm:
    """Return the form of a connection to this kind of provider, filled in from `row`."""
    own = type("ConnectionForm", (base,), {} if base is FlagsForm else _protocol_fields(kind))
    for name in ATTRIBUTES:
        setattr(own, ATTRIBUTE + name, _text(ATTRIBUTE_LABELS.get(name, name), LONGEST_PATH))
    form: FlagsForm = own(**(_stored(row) if row is not None else _fresh(kind)))
    form.jit.choices = list(JIT_LABELS.items())
    if isinstance(form, ProtocolForm):
        form.client_secret.label.text = _(kind.secret_label)
    return form


def read_values(form: FlagsForm) -> Values:
    """Return what was entered."""
    data = form.data
    return Values(
        name=data["name"] or "",
        jit=data["jit"],
        client_id=data.get("client_id") or "",
        discovery_url=data.get("discovery_url") or "",
        scopes=tuple((data.get("scopes") or "").split()),
        endpoints=_with_prefix(data, ENDPOINT),
        options=_with_prefix(data, OPTION),
        attributes=_with_prefix(data, ATTRIBUTE),
        trusts_mfa=data["trusts_mfa"],
        allow_private=data["allow_private"],
        end_sessions=data["end_sessions"],
        provider_logout=data["provider_logout"],
    )


def fields_of(form: IAMForm, prefix: str) -> list[Any]:
    """Return the fields that a provider or a mapping added, for the template."""
    return [field for field in form if field.short_name.startswith(prefix)]


def refuse(form: IAMForm, refusal: IAMError) -> None:
    """Show a refusal where it belongs; with it, nothing of a secret comes back."""
    show(form, refusal)


def _protocol_fields(kind: ProviderForm) -> dict[str, Any]:
    known = set(kind.endpoints)
    if "openid" in kind.scopes:
        known |= set(ENDPOINTS) - {"emails_endpoint"}
    found: dict[str, Any] = {
        ENDPOINT + name: _text(ENDPOINT_LABELS[name], MAX_URL)
        for name in ENDPOINTS
        if name in known
    }
    return found | {OPTION + option.name: _option(option) for option in kind.options}


def _option(option: Option) -> Any:
    rules: list[Any] = [Length(max=MAX_TEXT)]
    rules.insert(0, InputRequired(_l("This field is needed.")) if option.required else Optional())
    return StringField(_l(option.label), rules, description=_l(option.hint) if option.hint else "")


def _text(label: Any, longest: int) -> Any:
    return StringField(label, [Optional(), Length(max=longest)])


def _fresh(kind: ProviderForm) -> dict[str, Any]:
    return {"jit": OFF, "end_sessions": True, "name": kind.title}


def _stored(row: IAMSsoConnection) -> dict[str, Any]:
    names = (
        "name", "jit", "trusts_mfa", "end_sessions", "provider_logout", "allow_private",
        "client_id", "discovery_url",
    )  # fmt: skip
    found = {name: getattr(row, name) for name in names} | {"scopes": " ".join(row.scopes)}
    for prefix, values in (
        (ENDPOINT, row.endpoints), (OPTION, row.options), (ATTRIBUTE, row.attributes)
    ):  # fmt: skip
        found |= {prefix + name: value for name, value in values.items()}
    return found


def _with_prefix(data: dict[str, Any], prefix: str) -> dict[str, str]:
    return {
        name.removeprefix(prefix): value or ""
        for name, value in data.items()
        if name.startswith(prefix)
    }
