"""Webhooks are signed as Standard Webhooks 1.0 says (AT-414)."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from app.audit.settings import AuditSettings
from app.core.network.webhook import signature
from app.notify.settings import NotifySettings


def test_at_414_the_example_of_the_standard_has_its_signature() -> None:
    secret, body = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", b'{"test": 2432232314}'
    found = signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", body)
    assert found == "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize(
    ("section", "name"),
    [(AuditSettings, "AUDIT_ANCHOR_SECRET"), (NotifySettings, "AUDIT_NOTIFY_SECRET")],
)
def test_at_414_a_secret_that_cannot_sign_is_refused_at_start(section, name) -> None:
    for secret in ("whsec_%%%", "whsec_abc", "whsec_"):
        with pytest.raises(ValidationError, match="base64"):
            section(**{name: secret})
    for secret in ("any text", ""):  # none at all is allowed: no place is set
        assert getattr(section(**{name: secret}), name) == secret
