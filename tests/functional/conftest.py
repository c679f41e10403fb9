"""Administrators that several files of functional tests sign in."""

from __future__ import annotations

import pytest

from tests.support import realm as realms


@pytest.fixture
def admin(client, make_user, sign_in):
    """Return an administrator who is signed in, freshly and with a second factor."""
    person = make_user("root", roles=["tenant_admin"], mfa="totp", actor_type="tenant_admin")
    sign_in(client, person)
    return person


@pytest.fixture
def realm(tenant, make_user):
    """Return the tree of organizations with its people."""
    return realms.build(tenant, make_user)


@pytest.fixture
def enter(app, sign_in, realm):
    """Return a helper: a browser in which one of the people is signed in."""

    def browser(name):
        client = app.test_client()
        sign_in(client, realm.people[name])
        return client

    return browser
