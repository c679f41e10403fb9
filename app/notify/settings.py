"""Settings of mail, SMS, WhatsApp and the outbox."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator

from ..core.i18n import N_
from ..core.network.syslog import address
from ..core.network.webhook import expect_secret
from ..core.settings import CommaList, Section, setting

# Where numbers are ordinary mobile numbers and sending is cheap. Everything else
# must be asked for by name: toll fraud lives on the rest (AT-422).
DEFAULT_COUNTRIES = (
    "US,CA,GB,IE,AU,NZ,JP,CH,NO,IS,LI,"
    "AT,BE,BG,HR,CY,CZ,DK,EE,FI,FR,DE,GR,HU,IT,LV,LT,LU,MT,NL,PL,PT,RO,SK,SI,ES,SE"
)


_ADDRESS = re.compile(r"[^\s@,;:<>()\[\]\"\\]{1,64}@[^\s@,;:<>()\[\]\"\\]{1,189}")


def _addresses(value: tuple[str, ...]) -> tuple[str, ...]:
    if not all(_ADDRESS.fullmatch(item) for item in value):
        raise ValueError("must be e-mail addresses")
    return value


def _collector(value: str) -> str:
    if value:
        address(value)
    return value


class NotifySettings(Section):
    """Mail, SMS, WhatsApp, and how the outbox is drained."""

    title: ClassVar[str] = "Messages"

    MAIL_PROVIDER: str = setting("console", "Gateway for mail: `smtp`, `console` or `none`.")
    MAIL_SERVER: str = setting("", "Host name of the SMTP server.")
    MAIL_PORT: int = setting(587, "Port of the SMTP server.", ge=1, le=65535)
    MAIL_USERNAME: str = setting("", "User name at the SMTP server; empty: no login.")
    MAIL_PASSWORD: str = setting("", "Password at the SMTP server.", secret=True)
    MAIL_USE_TLS: bool = setting(True, "Upgrade the connection with STARTTLS, or do not send.")
    MAIL_USE_SSL: bool = setting(False, "Speak TLS from the first byte (port 465).")
    MAIL_FROM: str = setting("", "Sender: `address` or `Name <address>`.")
    MAIL_TIMEOUT_SECONDS: int = setting(10, "Longest wait for the SMTP server.", ge=1, le=60)

    SMS_PROVIDER: str = setting(
        "console", "Gateway for SMS: `console`, `twilio`, `vonage` or `none`."
    )
    WHATSAPP_PROVIDER: str = setting(
        "console", "Gateway for WhatsApp: `console`, `cloud_api`, `twilio` or `none`."
    )
    TWILIO_ACCOUNT_SID: str = setting("", "Twilio account SID.")
    TWILIO_AUTH_TOKEN: str = setting("", "Twilio auth token.", secret=True)
    TWILIO_FROM_NUMBER: str = setting("", "Sender number at Twilio, `+` and digits.")
    TWILIO_WHATSAPP_FROM: str = setting(
        "", "WhatsApp sender at Twilio; empty: the same as `TWILIO_FROM_NUMBER`."
    )
    TWILIO_WHATSAPP_CONTENT_SID: str = setting(
        "", "Approved Twilio content template whose variable 1 is the code."
    )
    TWILIO_API_BASE_URL: str = setting("", "Base address of the Twilio API; empty: Twilio's own.")
    VONAGE_API_KEY: str = setting("", "Vonage API key.")
    VONAGE_API_SECRET: str = setting("", "Vonage API secret.", secret=True)
    VONAGE_FROM: str = setting("", "Sender number or name at Vonage.")
    VONAGE_API_BASE_URL: str = setting(
        "", "Base address of the Vonage SMS API, always https; empty: Vonage's own."
    )
    WHATSAPP_PHONE_NUMBER_ID: str = setting("", "Phone number id at the WhatsApp Cloud API.")
    WHATSAPP_ACCESS_TOKEN: str = setting("", "Access token of the Cloud API.", secret=True)
    WHATSAPP_TEMPLATE_NAME: str = setting(
        "", "Approved authentication template with a copy-code button."
    )
    WHATSAPP_TEMPLATE_LANGUAGE: str = setting("en_US", "Language code of that template.")
    WHATSAPP_API_BASE_URL: str = setting(
        "https://graph.facebook.com", "Base address of the WhatsApp Cloud API."
    )
    WHATSAPP_API_VERSION: str = setting(
        "v23.0", "Version of the Cloud API.", pattern=r"^v\d{1,3}\.\d{1,2}$"
    )

    IAM_SMS_TIMEOUT_SECONDS: int = setting(
        10, "Longest wait for an SMS or WhatsApp provider.", ge=1, le=30
    )

    IAM_OUTBOX_MODE: Literal["thread", "inline", "worker"] = setting(
        "thread",
        "Who delivers: `thread` in the background of each process, `inline` in the thread "
        "that commits, `worker` only `flask iam worker`.",
    )
    IAM_OUTBOX_MAX_ATTEMPTS: int = setting(
        8, "Tries before a message is given up and shown to administrators.", ge=1, le=50
    )
    IAM_OUTBOX_RETENTION_DAYS: int = setting(
        30, "Days that delivered and given-up messages stay listed, without their text.", ge=2
    )
    IAM_SMS_COUNTRIES: CommaList = setting(
        tuple(DEFAULT_COUNTRIES.split(",")),
        "Countries (ISO 3166) that SMS and WhatsApp may go to; `*` for all.",
    )
    IAM_SMS_PER_DESTINATION_PER_HOUR: int = setting(
        6, "SMS and WhatsApp messages to one number in an hour, over all tenants.", ge=1
    )
    IAM_SMS_PER_RANGE_PER_HOUR: int = setting(
        30, "The same to one block of a thousand numbers, over all tenants.", ge=1
    )
    IAM_SMS_PER_COUNTRY_PER_HOUR: int = setting(
        300, "SMS and WhatsApp messages of one tenant to one country in an hour.", ge=1
    )
    IAM_SMS_PER_TENANT_PER_DAY: int = setting(
        2000, "SMS and WhatsApp messages of one tenant in 24 hours.", ge=1
    )
    IAM_MAIL_PER_DESTINATION_PER_HOUR: int = setting(
        20, "Mails to one address in an hour, over all tenants.", ge=1
    )
    AUDIT_NOTIFY_EMAILS: Annotated[CommaList, AfterValidator(_addresses)] = setting(
        (),
        "Addresses that are told of critical events at once; empty: nobody.",
        per_tenant=True,
        form=N_("At most 20 e-mail addresses, with commas between."),
        max_length=20,
    )
    AUDIT_NOTIFY_URL: str = setting(
        "", "Webhook that is told of the critical events of every tenant; empty: none."
    )
    AUDIT_NOTIFY_SECRET: Annotated[str, AfterValidator(expect_secret)] = setting(
        "",
        "Key that signs those webhooks (Standard Webhooks): `whsec_` and base64, or any text.",
        secret=True,
    )
    AUDIT_NOTIFY_SYSLOG: Annotated[str, AfterValidator(_collector)] = setting(
        "",
        "System log (RFC 5424) that is told of the critical events of every tenant: "
        "`udp://host:port` or `unix:///dev/log`; empty: none.",
    )
    AUDIT_NOTIFY_LOGIN_FAILURES: int = setting(
        10, "Failed sign-ins in a row to one account that are a critical event.", ge=2, le=99
    )
    AUDIT_NOTIFY_LOGIN_FAILURES_PER_IP: int = setting(
        50,
        "Failed sign-ins from one address in a quarter of an hour that are a critical event.",
        ge=2,
    )

    IAM_DEMO: bool = setting(
        False, "Keep the text of delivered messages for the demo page. Never in production."
    )
