"""One invitation, many hands (AT-109): accepted once, replaced once, and never after a demotion."""

from __future__ import annotations

import threading
from itertools import count

from sqlalchemy import func, select

from app.auth.accounts import services_accounts
from app.auth.invitations import services_acceptance, services_invitations
from app.auth.invitations.services_acceptance import Newcomer
from app.auth.models import IAMInvitation, IAMUserAccount
from app.core import rng
from app.core.actor import Actor, system_actor
from app.core.db import session, transaction
from tests.support.mailbox import link_to
from tests.support.races import together

BEA = "bea@example.com"
MANY = 8


def invite(tenant, **more):
    with transaction():
        services_invitations.invite(
            BEA, actor_grants=None, actor=system_actor(tenant, "tests"), **more
        )


def token():
    return link_to(BEA, "/auth/invitation/").rpartition("/")[2]


def test_at_109_parallel_acceptances_make_one_account(app, scoped, actor):
    invite(scoped, roles=["viewer"])
    link, numbers = token(), count()
    session().rollback()

    def accept():
        name = f"bea-{next(numbers)}"
        newcomer = Newcomer(name, "", None, rng.random_bytes(32))
        services_acceptance.accept_new(link, newcomer, actor=Actor("anonymous", scoped))

    came = together(app, scoped, accept, MANY)
    assert came.pop("ok") == 1
    assert set(came) <= {"link.invalid", "invitation.account_there", "account.taken"}
    assert session().scalar(select(func.count(IAMUserAccount.id))) == 1


def test_at_109_parallel_invitations_leave_one_open(app, scoped, actor):
    came = together(app, scoped, lambda: invite(scoped), MANY)
    assert came["ok"] >= 1
    session().rollback()
    query = select(func.count(IAMInvitation.id))
    assert session().scalar(query.where(IAMInvitation.open_email == BEA)) == 1
    assert session().scalar(query) == came["ok"]


def test_at_109_accepting_and_taking_back_exclude_each_other(app, scoped, actor):
    invite(scoped)
    link = token()
    row_id = session().scalar(select(IAMInvitation.id))
    session().rollback()
    turns = iter([True, False] * MANY)
    lock = threading.Lock()

    def work():
        with lock:
            mine = next(turns)
        if mine:
            newcomer = Newcomer("bea", "", None, rng.random_bytes(32))
            services_acceptance.accept_new(link, newcomer, actor=Actor("anonymous", scoped))
            return
        with transaction():
            row = services_invitations.get_invitation(row_id, None)
            services_invitations.revoke(row, actor_grants=None, actor=actor)

    came = together(app, scoped, work, 2)
    assert came["ok"] == 1
    people = session().scalar(select(func.count(IAMUserAccount.id)))
    row = services_invitations.get_invitation(row_id, None)
    assert (people == 1) == (row.accepted_at is not None) == (row.revoked_at is None)


def test_at_110_a_suspension_and_an_acceptance_follow_each_other(app, scoped, actor, make_user):
    """Whoever is suspended first vouches for nobody; whoever accepted first is in."""
    mia = make_user("mia", roles=["tenant_admin"])
    make_user("root", roles=["tenant_admin"])
    with transaction():
        row = services_invitations.invite(
            BEA, roles=["tenant_admin"], actor_grants=None, actor=actor
        )
        row.invited_by = mia.id
    link = token()
    session().rollback()
    turns = iter([True, False])
    lock = threading.Lock()

    def work():
        with lock:
            accepts = next(turns)
        if accepts:
            newcomer = Newcomer("bea", "", None, rng.random_bytes(32))
            services_acceptance.accept_new(link, newcomer, actor=Actor("anonymous", scoped))
            return
        with transaction():
            services_accounts.suspend(
                services_accounts.get_user(mia.id), reason="left", actor_grants=None, actor=actor
            )

    came = together(app, scoped, work, 2)
    assert came["ok"] >= 1
    assert set(came) <= {"ok", "invitation.unsupported"}
    accepted = services_accounts.find_by_login(BEA) is not None
    assert accepted == (came["ok"] == 2)


def test_k5_of_two_first_administrators_one_comes(app, scoped, actor):
    links, numbers = [], count()
    for email in (BEA, "cora@example.com"):
        with transaction():
            services_invitations.invite(
                email,
                roles=["tenant_admin"],
                actor_grants=None,
                actor=system_actor(scoped, "tests"),
            )
        links.append(link_to(email, "/auth/invitation/").rpartition("/")[2])
    session().rollback()

    def accept():
        number = next(numbers)
        newcomer = Newcomer(f"chief-{number}", "", None, rng.random_bytes(32))
        services_acceptance.accept_new(links[number], newcomer, actor=Actor("anonymous", scoped))

    came = together(app, scoped, accept, 2)
    assert came == {"ok": 1, "invitation.unsupported": 1}
