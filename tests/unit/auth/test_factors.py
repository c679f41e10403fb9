"""The pure side of second factors: codes, steps, digests, settings (D2, D3, D5)."""

from __future__ import annotations

import inspect
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pyotp
import pytest
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st

from app.auth.errors import CodeInvalid
from app.auth.factors import Attempt, recovery_code, sent_code, totp
from app.auth.factors.attempt import compact, six_digits
from app.auth.mfa.settings_mfa import MfaSettings, findings
from app.core import clock, rng
from app.core.crypto import DecryptionFailed
from app.core.errors import Misconfigured
from app.core.ids import new_id

AT = datetime(2026, 3, 1, 12, 0, 7, tzinfo=UTC)
SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"


def code_at(offset: int) -> str:
    """Return the code of the step `offset` steps from `AT`."""
    return pyotp.TOTP(SECRET).generate_otp(totp.step_at(AT) + offset)


def check(code: object, *, last: int | None = None, back: int = 1, ahead: int = 0) -> int:
    return totp.verify(
        SECRET,
        code,  # type: ignore[arg-type]
        at=AT,
        last_step=last,
        back=back,
        ahead=ahead,
    )


def test_d2_the_secret_has_160_bits_and_never_repeats() -> None:
    secrets = {totp.new_secret() for _number in range(200)}
    assert len(secrets) == 200
    assert all(len(pyotp.TOTP(secret).byte_secret()) == 20 for secret in secrets)


def test_d2_rfc_6238_vector() -> None:
    # RFC 6238, appendix B, SHA-1 at 59 s: 94287082; six digits are its last six.
    secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
    at = datetime.fromtimestamp(59, UTC)
    assert totp.verify(secret, "287082", at=at, last_step=None, back=0, ahead=0) == 1


def test_d2_the_current_step_and_one_back_are_accepted() -> None:
    now = totp.step_at(AT)
    assert check(code_at(0)) == now
    assert check(code_at(-1)) == now - 1


@pytest.mark.parametrize("offset", [-2, 1, 2, 10])
def test_at_040_other_steps_are_refused(offset: int) -> None:
    with pytest.raises(CodeInvalid):
        check(code_at(offset))


def test_d2_the_window_is_a_setting() -> None:
    assert check(code_at(-2), back=2) == totp.step_at(AT) - 2
    assert check(code_at(1), ahead=1) == totp.step_at(AT) + 1
    with pytest.raises(CodeInvalid):
        check(code_at(-1), back=0)


def test_at_037_a_step_is_accepted_once() -> None:
    with pytest.raises(CodeInvalid) as refusal:
        check(code_at(0), last=totp.step_at(AT))
    assert refusal.value.details["reason"] == "replayed"


def test_at_038_the_window_does_not_bring_an_older_step_back() -> None:
    with pytest.raises(CodeInvalid):
        check(code_at(-1), last=totp.step_at(AT) - 1)
    with pytest.raises(CodeInvalid):
        check(code_at(-1), last=totp.step_at(AT))
    assert check(code_at(0), last=totp.step_at(AT) - 1) == totp.step_at(AT)


def test_d2_the_address_for_the_app_names_issuer_and_account() -> None:
    found = urlsplit(totp.provisioning_uri(SECRET, account="ann@example.com", issuer="Acme & Co"))
    assert (found.scheme, found.netloc) == ("otpauth", "totp")
    query = parse_qs(found.query)
    assert query["secret"] == [SECRET]
    assert query["issuer"] == ["Acme & Co"]


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("123456", "123456"),
        (" 123 456 ", "123456"),
        ("123-456", "123456"),
        ("１２３４５６", "123456"),
        ("١٢٣٤٥٦", "123456"),
    ],
)
def test_at_041_digits_are_read_whatever_their_script(typed: str, read: str) -> None:
    assert six_digits(typed) == read


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "12345",
        "1234567",
        "+12345",
        "-123456x",
        "12345.",
        "1e5000",
        "abcdef",
        "1²3456",
        "9" * 65,
    ],
)
def test_at_041_what_is_no_code_is_refused(typed: str) -> None:
    with pytest.raises(CodeInvalid):
        six_digits(typed)


@pytest.mark.parametrize(
    "value", [None, 0, 123456, True, False, [], ["123456"], {}, b"123456", 1.5]
)
def test_at_046_values_that_are_no_text_are_refused(value: object) -> None:
    for read in (six_digits, compact, recovery_code.normalised):
        with pytest.raises(CodeInvalid):
            read(value)


@given(st.text(max_size=80))
def test_at_041_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = six_digits(text)
    except CodeInvalid:
        return
    assert len(found) == 6
    assert found.isascii()
    assert found.isdigit()


@given(st.text(max_size=80))
def test_d5_any_text_is_a_recovery_code_or_refused(text: str) -> None:
    try:
        found = recovery_code.normalised(text)
    except CodeInvalid:
        return
    assert len(found) == 24
    assert set(found) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")


def test_d3_a_code_is_six_digits_with_leading_zeros() -> None:
    codes = [sent_code.new_code() for _number in range(3000)]
    assert all(len(code) == 6 and code.isdigit() for code in codes)
    assert any(code.startswith("0") for code in codes)
    assert len(set(codes)) > 2900


def test_at_047_codes_come_from_the_systems_generator() -> None:
    for module in (sent_code, recovery_code, totp):
        source = inspect.getsource(module)
        assert "rng." in source
        assert "import random" not in source
        assert "uuid4" not in source
    assert "secrets.choice" in inspect.getsource(rng.digits)


def test_at_043_a_digest_is_bound_to_person_purpose_challenge_and_session(app: Flask) -> None:
    base = {
        "user_id": new_id(),
        "purpose": "sign_in",
        "challenge_id": new_id(),
        "session_id": new_id(),
    }
    own = sent_code.code_digest("123456", **base)  # type: ignore[arg-type]
    changed = [{**base, name: new_id()} for name in ("user_id", "challenge_id", "session_id")]
    changed += [{**base, "purpose": "account.security"}, {**base, "session_id": None}]
    digests = {sent_code.code_digest("123456", **other) for other in changed}  # type: ignore[arg-type]
    assert len(digests) == 5
    assert own not in digests
    assert own != sent_code.code_digest("123457", **base)  # type: ignore[arg-type]


def test_d5_a_recovery_code_has_120_bits_in_groups() -> None:
    codes = {recovery_code.new_code() for _number in range(500)}
    assert len(codes) == 500
    assert all(len(code.replace("-", "")) * 5 == 120 for code in codes)
    assert all(len(group) == 4 for code in codes for group in code.split("-"))


def test_d5_a_recovery_code_is_read_as_people_write_it(app: Flask) -> None:
    code = recovery_code.new_code()
    user = new_id()
    key = recovery_code.new_key(user)
    own = recovery_code.digest(code, user, key)
    for typed in (code.lower(), code.replace("-", ""), code.replace("-", " "), f"  {code} "):
        assert recovery_code.digest(typed, user, key) == own
    assert recovery_code.digest(code, user, recovery_code.new_key(user)) != own
    with pytest.raises(DecryptionFailed):
        recovery_code.digest(code, new_id(), key)


def test_at_044_the_repr_of_an_attempt_shows_no_code() -> None:
    attempt = Attempt(
        method="totp", user_id=new_id(), purpose="sign_in", session_id=None, at=clock.now(),
        code="918273",
    )  # fmt: skip
    assert "918273" not in repr(attempt)


def test_v1_windows_and_minutes_have_limits() -> None:
    for name, value in (
        ("MFA_TOTP_WINDOW_BACK", "3"),
        ("MFA_CODE_MINUTES", "11"),
        ("MFA_CODE_MAX_ATTEMPTS", "0"),
        ("MFA_DEFAULT_POLICY", "sometimes"),
    ):
        with pytest.raises(Misconfigured) as refusal:
            MfaSettings.load({name: value}, {})
        assert name in str(refusal.value)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, []),
        ({"MFA_METHODS": "totp,carrier_pigeon"}, ["iam.E301"]),
        ({"MFA_METHODS": "email_otp,recovery_code"}, ["iam.E302"]),
        ({"MFA_TOTP_WINDOW_BACK": "2"}, ["iam.W301"]),
        ({"MFA_EMAIL_COUNTS_AS_MFA": "true"}, ["iam.W302"]),
    ],
)
def test_v1_unwise_settings_are_found(values: dict[str, str], expected: list[str]) -> None:
    assert [item.id for item in findings(MfaSettings.load(values, {}))] == expected


def test_d2_a_step_lasts_thirty_seconds() -> None:
    start = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
    assert totp.step_at(start + timedelta(seconds=29)) == totp.step_at(start)
    assert totp.step_at(start + timedelta(seconds=30)) == totp.step_at(start) + 1
