"""Telling those who watch over a tenant of its critical events (M5): who, how, how often.

Runs before the outbox is drained, in whichever process drains it. Each kind of event has a
window per tenant: the first is told at once, those that follow at its end, together (AT-406).
"""

from __future__ import annotations

import logging
from datetime import timedelta
from uuid import UUID

from flask import current_app
from sqlalchemy import select

from .audit.models import IAMAuthLog
from .auth.accounts.services_directory import find_by_login
from .auth.accounts.services_names import names_of
from .auth.accounts.services_notices import brand
from .auth.web.links import public_url
from .core import clock
from .core.actor import Actor, system_actor
from .core.db import apart, end_read, session, transact, transaction
from .core.errors import Misconfigured, TooManyAttempts
from .core.i18n import speaking
from .core.scoping import tenant_scope
from .notify import critical, messages_critical, services_outbox
from .notify.messages import Message
from .notify.messages_critical import Told
from .notify.settings import NotifySettings
from .risk import services_limits
from .tenancy.services_settings import effective

_logger = logging.getLogger("iam.audit")


def tell() -> None:
    """Queue messages about the critical events that wait, tenant by tenant.

    Owns its transactions. Raises Unavailable.
    """
    for tenant_id in critical.tenants_waiting():
        _tell_apart(tenant_id)


def _tell_apart(tenant_id: UUID) -> None:
    actor = system_actor(tenant_id, "notifications")
    with tenant_scope(tenant_id):
        apart(
            lambda: _tell(actor),
            _logger, "the critical events of tenant %s were not told", tenant_id,
        )  # fmt: skip


def _tell(actor: Actor) -> None:
    settings = effective(NotifySettings)
    end_read()
    if not (settings.AUDIT_NOTIFY_EMAILS or settings.AUDIT_NOTIFY_URL
            or settings.AUDIT_NOTIFY_SYSLOG):  # fmt: skip
        with transaction():
            critical.drop()
        return
    fresh = [kind for kind in critical.kinds_waiting() if _is_fresh(kind, actor)]
    if not fresh:
        return
    # The window is taken: a lost race must not let it pass without a word.
    transact(lambda: _queue(fresh, settings, actor))


def _is_fresh(kind: str, actor: Actor) -> bool:
    """Return whether a kind may be told now; where not, its events wait for their window's end."""
    try:
        services_limits.charge("alert", kind, actor=actor)
    except TooManyAttempts as wait:
        until = clock.now() + timedelta(seconds=wait.retry_after)
        transact(lambda: critical.postpone(kind, until))
        return False
    return True


def _queue(kinds: list[str], settings: NotifySettings, actor: Actor) -> None:
    batch = critical.take(kinds)
    told = Told(actor.tenant_id, batch.counts, _events(batch.newest))
    if told.total:
        for message in _messages(told, settings):
            services_outbox.enqueue(message, actor=actor)


def _events(ids: list[UUID]) -> list[IAMAuthLog]:
    statement = select(IAMAuthLog).where(IAMAuthLog.id.in_(ids)).order_by(IAMAuthLog.id.desc())
    return list(session().scalars(statement))


def _messages(told: Told, settings: NotifySettings) -> list[Message]:
    found = [_mail(address, told) for address in settings.AUDIT_NOTIFY_EMAILS]
    if settings.AUDIT_NOTIFY_URL:
        found.append(messages_critical.webhook(settings.AUDIT_NOTIFY_URL, told, at=clock.now()))
    if settings.AUDIT_NOTIFY_SYSLOG:
        found.append(messages_critical.syslog(settings.AUDIT_NOTIFY_SYSLOG, told))
    return found


def _mail(address: str, told: Told) -> Message:
    names = names_of({event.actor_id for event in told.newest})
    reader = find_by_login(address)
    language = reader.language if reader is not None else None
    with speaking(language or str(current_app.config.get("BABEL_DEFAULT_LOCALE", "en"))):
        return messages_critical.mail(address, told, names=names, brand=brand(), link=_link(told))


def _link(told: Told) -> str | None:
    if "iam_audit.logs" not in current_app.view_functions:
        return None
    try:
        if told.total == 1 and told.newest:
            return public_url("iam_audit.log", event_id=told.newest[0].id)
        return public_url("iam_audit.logs", severity="critical")
    except Misconfigured:  # no public address is known here: the mail does without
        return None
