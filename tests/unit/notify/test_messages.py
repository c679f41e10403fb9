"""Messages: fixed wording, no forged headers, nothing a person wrote where it could harm."""

from __future__ import annotations

from pathlib import Path

import pytest
from flask import Flask

from app.core import clock
from app.core.errors import InvalidInput
from app.notify import messages, messages_devices, messages_sign_in
from app.notify.messages import Message, plain_label

PHONE = "+12025550123"
MAIL = "ada@example.com"
FORGED = [
    "a@example.com\r\nBcc: all@example.com",
    "a@example.com\n",
    "a@example.com,b@example.com",
    "Ada <a@example.com>",
    "a@example.com\u2028x",
    "a\x00@example.com",
    "no-address",
    "",
]


@pytest.mark.parametrize("recipient", FORGED)
def test_at_426_crlf_in_a_header_is_refused(app: Flask, recipient: str) -> None:
    with pytest.raises(InvalidInput):
        Message("email", recipient, "Hello", "text", None, "test")
    with pytest.raises(InvalidInput):
        messages.password_changed(recipient, brand="Example", at=clock.now())


@pytest.mark.parametrize("brand", ["Example\r\nBcc: all@example.com", "Example\x0b", "A\u2029B"])
def test_at_426_crlf_in_a_subject_is_refused(app: Flask, brand: str) -> None:
    with pytest.raises(InvalidInput):
        messages_sign_in.sign_in(
            MAIL, link="https://example.com/x", code=None, minutes=10, brand=brand
        )


@pytest.mark.parametrize("number", ["2025550123", "+1 202", "+1202555012\n", "+12025550123;x"])
def test_a_text_message_goes_to_an_e164_number_only(number: str) -> None:
    with pytest.raises(InvalidInput):
        Message("sms", number, "", "text", None, "test")


def test_at_059_a_text_message_holds_code_host_and_fixed_words_only(app: Flask) -> None:
    message = messages.otp_code(
        "sms", PHONE, code="123456", minutes=10, brand="Example", host="login.example.com"
    )
    assert message.body_text == (
        "123456 is your login.example.com code to sign in. Valid for 10 minutes. "
        "Never share it.\n\n@login.example.com #123456"
    )
    assert message.code == "123456"
    assert message.body_html is None


def test_at_059_an_unknown_purpose_or_brand_adds_no_words_of_its_own(app: Flask) -> None:
    message = messages.otp_code(
        "whatsapp", PHONE, code="123456", minutes=10, brand="evil.example", purpose="call me"
    )
    assert "call me" not in message.body_text
    assert "evil.example" not in message.body_text


@pytest.mark.parametrize("host", ["evil.example/#", "a b", "-x", "A.example", "x\n@y"])
def test_at_059_the_webotp_line_takes_a_host_name_only(app: Flask, host: str) -> None:
    with pytest.raises(InvalidInput):
        messages.otp_code("sms", PHONE, code="123456", minutes=10, brand="Example", host=host)


@pytest.mark.parametrize("code", ["12", "1234 call 555", "<b>1</b>", "123456\n"])
def test_a_code_is_a_code(app: Flask, code: str) -> None:
    with pytest.raises(InvalidInput):
        messages.otp_code("sms", PHONE, code=code, minutes=10, brand="Example")


@pytest.mark.parametrize(
    "name",
    [
        "Win a prize at evil.example",
        "https://evil.example",
        "www.evil",
        "write to me@evil.example",
        "evil\uff0eexample",
        "\u202e",
        "",
    ],
)
def test_at_425_an_invitation_relays_no_address(app: Flask, name: str) -> None:
    message = messages.invitation(
        MAIL, link="https://example.com/i", days=7, brand="Example", organisation=name
    )
    assert "evil" not in message.body_text
    assert "evil" not in str(message.body_html)
    assert "an organisation" in message.body_text


def test_at_425_a_label_is_cut_and_never_in_the_subject(app: Flask) -> None:
    message = messages.invitation(
        MAIL, link="https://example.com/i", days=7, brand="Example", organisation="Acme " * 100
    )
    assert "Acme" in message.body_text
    assert "Acme" not in message.subject
    assert len(plain_label("Acme " * 100, "-")) <= 64


def test_labels_people_know_survive() -> None:
    assert plain_label("Chrome 120.0 on Windows", "-") == "Chrome 120.0 on Windows"
    assert plain_label("Müller & Söhne\r\nGmbH", "-") == "Müller & Söhne GmbH"


def test_html_is_escaped(app: Flask) -> None:
    message = messages_devices.new_device(
        MAIL, device="<img src=x onerror=alert(1)>", ip="192.0.2.1", at=clock.now(), brand="A & B"
    )
    html = str(message.body_html)
    assert "<img" not in html
    assert "&lt;img" in html
    assert "A &amp; B" in html
    assert "192.0.2.1" in message.body_text


@pytest.mark.parametrize("link", ["javascript:alert(1)", "//evil", "https://x y", 'https://x"y'])
def test_a_link_is_an_http_address(app: Flask, link: str) -> None:
    with pytest.raises(InvalidInput):
        messages.password_reset_link(MAIL, link=link, minutes=30, brand="Example")


def test_every_mail_has_text_and_html_with_its_link_or_code(app: Flask) -> None:
    link, now = "https://example.com/do?token=abc&next=1", clock.now()
    mails = [
        messages.email_verification_link(MAIL, link=link, hours=24, brand="Example"),
        messages.password_reset_link(MAIL, link=link, minutes=30, brand="Example"),
        messages.set_password_link(MAIL, link=link, hours=24, brand="Example"),
        messages_sign_in.sign_in(MAIL, link=link, code=None, minutes=10, brand="Example"),
        messages_sign_in.sign_in(MAIL, link=link, code="123456", minutes=10, brand="Example"),
        messages.invitation(MAIL, link=link, days=7, brand="Example"),
        messages.password_changed(MAIL, brand="Example", at=now, link=link),
        messages.factor_added(MAIL, factor="Passkey", brand="Example", at=now, link=link),
        messages.factor_removed(MAIL, factor="Passkey", brand="Example", at=now, link=link),
        messages.factors_reset(MAIL, brand="Example", at=now, link=link),
        messages.recovery_codes_replaced(MAIL, brand="Example", at=now, link=link),
        messages_devices.new_device(MAIL, device="X", ip=None, at=now, brand="Example", link=link),
        messages_devices.device_cookie_reused(
            MAIL, device="X", ip=None, at=now, brand="Example", link=link
        ),
        messages_sign_in.email_change_old(MAIL, brand="Example", at=now, undo=link, days=7),
        messages_sign_in.email_change_new(MAIL, brand="Example", at=now, link=link),
        messages_sign_in.email_in_use(MAIL, brand="Example", at=now, link=link),
        messages_sign_in.phone_changed(MAIL, brand="Example", at=now, link=link),
        messages_sign_in.phone_removed(MAIL, brand="Example", at=now, link=link),
    ]
    for mail in mails:
        assert link in mail.body_text, mail.purpose
        assert link.replace("&", "&amp;") in str(mail.body_html), mail.purpose
        assert "Example" in mail.subject
    code = messages.otp_code("email", MAIL, code="123456", minutes=10, brand="Example")
    assert "123456" in code.body_text
    assert "123456" in str(code.body_html)
    assert "123456" not in code.subject
    assert messages.account_suspended(MAIL, brand="Example", at=now).body_html


def test_at_044_a_message_does_not_show_its_content(app: Flask) -> None:
    message = messages.otp_code("sms", PHONE, code="123456", minutes=10, brand="Example")
    assert "123456" not in repr(message)
    assert PHONE not in repr(message)


def test_a_host_replaces_a_template_by_name(app: Flask, tmp_path: Path) -> None:
    folder = tmp_path / "templates" / "iam" / "mail"
    folder.mkdir(parents=True)
    (folder / "password_reset.html").write_text("<p>Ours: {{ link }} {{ brand }}</p>")
    message = messages.password_reset_link(
        MAIL, link="https://example.com/r", minutes=30, brand="<Example>"
    )
    assert message.body_html == "<p>Ours: https://example.com/r &lt;Example&gt;</p>"
    assert "https://example.com/r" in message.body_text
