"""What every gateway must do, run over the registry against real local servers.

A new gateway joins by being registered; a remote one needs a line in `BENCHES`,
and a test fails until it has one.
"""

from __future__ import annotations

import logging
import ssl
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from app.core import http
from app.core.errors import Misconfigured
from app.core.network.webhook import signature
from app.core.registry import Registry
from app.notify.errors import DeliveryFailed
from app.notify.gateways import BUILT_IN, Gateway, gateways
from app.notify.messages import EMAIL, SMS, WHATSAPP, Message
from app.notify.settings import NotifySettings
from tests.support.certificates import Authority, make_authority
from tests.support.sms_servers import (
    Answer,
    ProviderServer,
    Received,
    TwilioServer,
    VonageServer,
    WhatsAppServer,
)
from tests.support.smtp_server import SmtpServer

MAIL, PHONE, CODE = "ada@example.com", "+12025550123", "918273"
PASSWORD = "smtp-password-do-not-leak"
SECRETS = (
    PASSWORD,
    TwilioServer.auth_token,
    VonageServer.api_secret,
    WhatsAppServer.access_token,
)
# A datagram gets no answer: nothing remote can be tested but that it was sent.
LOCAL = {"console", "none", "syslog"}


@dataclass
class Bench:
    """A server that stands in for a provider, and how each outcome is brought about there."""

    server: Any
    settings: dict[str, Any]
    wrong_secret: dict[str, Any]
    temporary: tuple[str, ...]
    permanent: tuple[str, ...]
    unreachable: dict[str, Any]


def smtp_bench(tls: ssl.SSLContext) -> Bench:
    server = SmtpServer(starttls=tls, login=("mailer", PASSWORD))
    settings = {
        "MAIL_SERVER": server.host,
        "MAIL_PORT": server.port,
        "MAIL_USERNAME": "mailer",
        "MAIL_PASSWORD": PASSWORD,
        "MAIL_FROM": "Example <no-reply@example.com>",
        "MAIL_TIMEOUT_SECONDS": 1,
    }
    wrong, closed = {"MAIL_PASSWORD": PASSWORD + "x"}, {"MAIL_PORT": 9}
    return Bench(server, settings, wrong, ("temporary",), ("permanent",), closed)


def twilio_bench(tls: ssl.SSLContext) -> Bench:
    server = TwilioServer(tls=tls)
    settings = {
        "TWILIO_ACCOUNT_SID": server.account_sid,
        "TWILIO_AUTH_TOKEN": server.auth_token,
        "TWILIO_FROM_NUMBER": "+12025550100",
        "TWILIO_API_BASE_URL": server.base_url,
        "IAM_SMS_TIMEOUT_SECONDS": 1,
    }
    wrong = {"TWILIO_AUTH_TOKEN": server.auth_token + "x"}
    closed = {"TWILIO_API_BASE_URL": "https://127.0.0.1:9"}
    temporary = ("throttled", "broken", "garbage")
    return Bench(server, settings, wrong, temporary, ("refused",), closed)


def vonage_bench(tls: ssl.SSLContext) -> Bench:
    server = VonageServer(tls=tls)
    settings = {
        "VONAGE_API_KEY": server.api_key,
        "VONAGE_API_SECRET": server.api_secret,
        "VONAGE_FROM": "+12025550100",
        "VONAGE_API_BASE_URL": server.base_url,
        "IAM_SMS_TIMEOUT_SECONDS": 1,
    }
    wrong = {"VONAGE_API_SECRET": server.api_secret + "x"}
    closed = {"VONAGE_API_BASE_URL": "https://127.0.0.1:9"}
    temporary = ("throttled", "broken", "garbage", "throttled_in_body")
    return Bench(server, settings, wrong, temporary, ("refused",), closed)


def whatsapp_bench(tls: ssl.SSLContext) -> Bench:
    server = WhatsAppServer(tls=tls)
    settings = {
        "WHATSAPP_PHONE_NUMBER_ID": server.phone_number_id,
        "WHATSAPP_ACCESS_TOKEN": server.access_token,
        "WHATSAPP_TEMPLATE_NAME": server.template,
        "WHATSAPP_API_BASE_URL": server.base_url,
        "IAM_SMS_TIMEOUT_SECONDS": 1,
    }
    wrong = {"WHATSAPP_ACCESS_TOKEN": server.access_token + "x"}
    closed = {"WHATSAPP_API_BASE_URL": "https://127.0.0.1:9"}
    temporary = ("throttled", "broken", "garbage")
    return Bench(server, settings, wrong, temporary, ("refused",), closed)


class SignedServer(ProviderServer):
    """Takes a webhook whose signature is right."""

    path = "/hook"

    def accept(self, body: bytes, headers: dict[str, str]) -> Answer:
        """Check the signature over id, time and body."""
        made = signature(PASSWORD, headers["webhook-id"], headers["webhook-timestamp"], body)
        if headers["webhook-signature"] != f"v1,{made}":
            return self.failure(401, "no")
        self.messages.append(Received("", "", body.decode()))
        return Answer(200, {})

    def failure(self, status: int, text: str) -> Answer:
        """Return an error in any format."""
        return Answer(status, {"error": text})


def webhook_bench(tls: ssl.SSLContext) -> Bench:
    server = SignedServer(tls=tls)
    settings = {"AUDIT_NOTIFY_URL": f"{server.base_url}/hook", "AUDIT_NOTIFY_SECRET": PASSWORD}
    wrong = {"AUDIT_NOTIFY_SECRET": PASSWORD + "x"}
    closed = {"AUDIT_NOTIFY_URL": "https://127.0.0.1:9/hook"}
    return Bench(server, settings, wrong, ("throttled", "broken"), ("refused",), closed)


BENCHES: dict[str, Callable[[ssl.SSLContext], Bench]] = {
    "smtp": smtp_bench,
    "twilio": twilio_bench,
    "vonage": vonage_bench,
    "cloud_api": whatsapp_bench,
    "webhook": webhook_bench,
}
LOCAL_SETTINGS = {"syslog": {"AUDIT_NOTIFY_SYSLOG": "udp://127.0.0.1:9"}}
EVERY_CHANNEL = [
    pytest.param(kind, channel, id=f"{kind.name}-{channel}")
    for kind in gateways()
    for channel in sorted(kind.channels)
]
REMOTE = [kind for kind in gateways() if kind.name not in LOCAL]
over_remote = pytest.mark.parametrize("kind", REMOTE, ids=lambda kind: kind.name)


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def trusted(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> Iterator[Authority]:
    for name, value in authority.environment().items():
        monkeypatch.setenv(name, value)
    http.tls_context.cache_clear()
    yield authority
    http.tls_context.cache_clear()  # what other tests trust is theirs


@pytest.fixture
def benches(trusted: Authority) -> Iterator[Callable[[type[Gateway]], Bench]]:
    with ExitStack() as stack:

        def bench_of(kind: type[Gateway]) -> Bench:
            bench = BENCHES[kind.name](trusted.server_context())
            stack.enter_context(bench.server)
            return bench

        yield bench_of


def build(kind: type[Gateway], *settings: dict[str, Any]) -> Gateway:
    merged: dict[str, Any] = {}
    for part in settings:
        merged |= part
    return kind(NotifySettings.load(merged, {}))


def message(channel: str) -> Message:
    recipient = MAIL if channel == EMAIL else PHONE
    html = f"<p>Code {CODE}</p>" if channel == EMAIL else None
    subject = "Your code" if channel == EMAIL else ""
    return Message(channel, recipient, subject, f"Code {CODE}", html, "otp.test", CODE, "row-1")


def any_message(kind: type[Gateway]) -> Message:
    return message(sorted(kind.channels)[0])


def failure_of(gateway: Gateway, kind: type[Gateway]) -> DeliveryFailed:
    with pytest.raises(DeliveryFailed) as caught:
        gateway.send(any_message(kind))
    return caught.value


def assert_tells_nothing(text: str) -> None:
    for private in (*SECRETS, CODE, MAIL, PHONE, PHONE.lstrip("+")):
        assert private not in text


def test_every_remote_gateway_has_a_bench() -> None:
    assert {kind.name for kind in REMOTE} == set(BENCHES)


def test_at_470_a_gateway_cannot_replace_another() -> None:
    registry: Registry[type[Gateway]] = Registry("gateway")
    registry.add(BUILT_IN[0])
    with pytest.raises(Misconfigured):
        registry.add(BUILT_IN[0])


def test_what_a_gateway_requires_is_a_setting() -> None:
    for kind in gateways():
        assert set(kind.required) <= set(NotifySettings.model_fields), kind.name


@pytest.mark.parametrize(("kind", "channel"), EVERY_CHANNEL)
def test_at_044_it_sends_and_logs_neither_text_nor_recipient_nor_secret(
    kind: type[Gateway], channel: str, benches: Any, caplog: pytest.LogCaptureFixture
) -> None:
    bench = benches(kind) if kind.name in BENCHES else None
    gateway = build(kind, bench.settings if bench else LOCAL_SETTINGS.get(kind.name, {}))
    with caplog.at_level(logging.DEBUG):
        if kind.name == "none":
            with pytest.raises(DeliveryFailed):
                gateway.send(message(channel))
        else:
            assert gateway.send(message(channel))
    # What the servers of the test log ("mail.…") is theirs.
    ours = [record for record in caplog.records if not record.name.startswith("mail.")]
    assert_tells_nothing("\n".join(record.getMessage() for record in ours))
    assert_tells_nothing(repr(gateway))
    if bench:
        assert len(bench.server.messages) == 1


@over_remote
def test_a_temporary_failure_is_told_as_such(kind: type[Gateway], benches: Any) -> None:
    bench = benches(kind)
    for mode in bench.temporary:
        bench.server.mode = mode
        assert failure_of(build(kind, bench.settings), kind).temporary, mode


@over_remote
def test_a_permanent_failure_is_told_as_such(kind: type[Gateway], benches: Any) -> None:
    bench = benches(kind)
    for mode in bench.permanent:
        bench.server.mode = mode
        assert not failure_of(build(kind, bench.settings), kind).temporary, mode


@over_remote
def test_refused_credentials_are_a_permanent_failure(kind: type[Gateway], benches: Any) -> None:
    bench = benches(kind)
    assert not failure_of(build(kind, bench.settings, bench.wrong_secret), kind).temporary
    assert bench.server.messages == []


@over_remote
def test_a_provider_that_hangs_is_left_in_time(kind: type[Gateway], benches: Any) -> None:
    bench = benches(kind)
    bench.server.mode = "hang"
    started = time.monotonic()
    assert failure_of(build(kind, bench.settings), kind).temporary
    assert time.monotonic() - started < 5


@over_remote
def test_a_provider_that_is_away_is_a_temporary_failure(kind: type[Gateway], benches: Any) -> None:
    bench = benches(kind)
    assert failure_of(build(kind, bench.settings, bench.unreachable), kind).temporary


@over_remote
def test_no_failure_tells_a_secret_or_the_message(
    kind: type[Gateway], benches: Any, caplog: pytest.LogCaptureFixture
) -> None:
    bench = benches(kind)
    for mode in (*bench.temporary, *bench.permanent, "wrong secret"):
        bench.server.mode = "ok" if mode == "wrong secret" else mode
        wrong = bench.wrong_secret if mode == "wrong secret" else {}
        with caplog.at_level(logging.DEBUG):
            failure = failure_of(build(kind, bench.settings, wrong), kind)
        shown = [str(failure), repr(failure), failure.title, failure.reason]
        assert_tells_nothing("\n".join([*shown, *traceback.format_exception(failure)]))
    ours = [record for record in caplog.records if not record.name.startswith("mail.")]
    assert_tells_nothing("\n".join(record.getMessage() for record in ours))


@over_remote
def test_at_421_an_unknown_certificate_is_refused(
    kind: type[Gateway], benches: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = benches(kind)
    for name, value in make_authority(tmp_path).environment().items():
        monkeypatch.setenv(name, value)
    http.tls_context.cache_clear()
    failure_of(build(kind, bench.settings), kind)
    assert bench.server.messages == []


def send_mail(server: SmtpServer, **settings: Any) -> str:
    common = {
        "MAIL_SERVER": server.host,
        "MAIL_PORT": server.port,
        "MAIL_FROM": "Example Ltd. <no-reply@example.com>",
        "MAIL_TIMEOUT_SECONDS": 2,
    }
    return build(gateways().get("smtp"), common, settings).send(message(EMAIL))


def test_a_mail_has_both_bodies_and_the_headers_of_an_automatic_one(trusted: Authority) -> None:
    with SmtpServer(starttls=trusted.server_context()) as server:
        message_id = send_mail(server)
    mail = server.last()
    assert mail["Message-ID"] == message_id == "<row-1@example.com>"
    assert mail["From"] == '"Example Ltd." <no-reply@example.com>'
    assert (mail["To"], mail["Subject"]) == (MAIL, "Your code")
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["Date"]
    text, html = mail.get_body(("plain",)), mail.get_body(("html",))
    assert text is not None
    assert html is not None
    assert CODE in text.get_content()
    assert CODE in html.get_content()
    assert server.encrypted == [True]


def test_mail_goes_over_tls_from_the_first_byte(trusted: Authority) -> None:
    login = ("mailer", PASSWORD)
    with SmtpServer(tls=trusted.server_context(), login=login) as server:
        send_mail(server, MAIL_USE_SSL=True, MAIL_USERNAME="mailer", MAIL_PASSWORD=PASSWORD)
    assert server.encrypted == [True]


def test_mail_never_falls_back_to_clear_text() -> None:
    with SmtpServer() as server:
        with pytest.raises(DeliveryFailed) as failure:
            send_mail(server)
        assert not failure.value.temporary
        send_mail(server, MAIL_USE_TLS=False)
    assert server.encrypted == [False]


def test_twilio_sends_sms_and_whatsapp_and_asks_for_no_callback(trusted: Authority) -> None:
    with TwilioServer(tls=trusted.server_context()) as server:
        bench = {
            "TWILIO_ACCOUNT_SID": server.account_sid,
            "TWILIO_AUTH_TOKEN": server.auth_token,
            "TWILIO_FROM_NUMBER": "+12025550100",
            "TWILIO_API_BASE_URL": server.base_url,
        }
        plain = build(gateways().get("twilio"), bench)
        assert plain.send(message(SMS)).startswith("SM")
        plain.send(message(WHATSAPP))
        template = {
            "TWILIO_WHATSAPP_CONTENT_SID": "HX1",
            "TWILIO_WHATSAPP_FROM": "+12025550199",
        }
        build(gateways().get("twilio"), bench, template).send(message(WHATSAPP))
    sms, whatsapp, templated = server.messages
    assert (sms.to, sms.sender, sms.text) == (PHONE, "+12025550100", f"Code {CODE}")
    assert (whatsapp.to, whatsapp.sender) == (f"whatsapp:{PHONE}", "whatsapp:+12025550100")
    assert templated.sender == "whatsapp:+12025550199"
    assert templated.fields["ContentSid"] == "HX1"
    assert templated.fields["ContentVariables"] == f'{{"1": "{CODE}"}}'
    # AT-427: a callback that is not registered cannot be forged.
    assert not any("StatusCallback" in received.fields for received in server.messages)


def test_vonage_sends_in_the_alphabet_that_the_text_needs(trusted: Authority) -> None:
    with VonageServer(tls=trusted.server_context()) as server:
        gateway = build(
            gateways().get("vonage"),
            {
                "VONAGE_API_KEY": server.api_key,
                "VONAGE_API_SECRET": server.api_secret,
                "VONAGE_FROM": "Example",
                "VONAGE_API_BASE_URL": server.base_url,
            },
        )
        assert gateway.send(message(SMS)) == f"{1:016X}"
        gateway.send(Message(SMS, PHONE, "", f"Код {CODE}", None, "otp.test", CODE))
    latin, cyrillic = server.messages
    assert (latin.to, latin.sender, latin.fields["type"]) == ("12025550123", "Example", "text")
    assert latin.fields["client-ref"] == "row-1"
    assert (cyrillic.text, cyrillic.fields["type"]) == (f"Код {CODE}", "unicode")
    # AT-427: a callback that is not registered cannot be forged.
    assert not any("callback" in received.fields for received in server.messages)


def test_at_059_whatsapp_takes_the_code_and_no_other_text(benches: Any) -> None:
    kind = gateways().get("cloud_api")
    bench = benches(kind)
    gateway = build(kind, bench.settings)
    assert gateway.send(message(WHATSAPP)).startswith("wamid.")
    (received,) = bench.server.messages
    assert (received.to, received.text) == ("12025550123", CODE)
    assert received.fields["template"]["language"] == {"code": "en_US"}
    with pytest.raises(DeliveryFailed) as failure:
        gateway.send(Message(WHATSAPP, PHONE, "", "free text", None, "notice"))
    assert not failure.value.temporary
