"""Settings that a tenant has of its own (K1)."""

from __future__ import annotations

import pytest

from app.auth.settings import AuthSettings
from app.core.db import transaction
from app.core.errors import InvalidInput
from app.core.scoping import tenant_scope
from app.tenancy import services_settings
from app.tenancy.services_settings import effective


def override(actor, **changes):
    with transaction():
        services_settings.override(changes, actor=actor)


@pytest.fixture
def restored(scoped, actor):
    yield
    override(actor, STEP_UP_MINUTES=None)


def test_k1_a_tenant_has_a_value_of_its_own(scoped, actor, other_tenant, restored, audit_rows):
    override(actor, STEP_UP_MINUTES=5)
    assert effective(AuthSettings).STEP_UP_MINUTES == 5
    assert AuthSettings.current().STEP_UP_MINUTES == 10
    with tenant_scope(other_tenant):
        assert effective(AuthSettings).STEP_UP_MINUTES == 10
    (row,) = audit_rows("TENANT_SETTINGS_CHANGED")
    assert row.changes == {"STEP_UP_MINUTES": [None, 5]}


def test_k1_none_gives_a_setting_back_to_the_installation(scoped, actor, restored):
    override(actor, STEP_UP_MINUTES=5)
    override(actor, STEP_UP_MINUTES=None)
    assert effective(AuthSettings).STEP_UP_MINUTES == 10
    assert services_settings.overrides() == {}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DEVICE_TRUST_DAYS", 91),
        ("DEVICE_TRUST_DAYS", "many"),
        ("MAX_LOGIN_ATTEMPTS", 20),
        ("FLASK_SECRET_KEY", "x"),
        ("NO_SUCH_SETTING", 1),
    ],
)
def test_k1_a_tenant_cannot_choose_what_is_not_its_own_or_not_allowed(scoped, actor, name, value):
    with pytest.raises(InvalidInput):
        override(actor, **{name: value})
    assert services_settings.overrides() == {}
