"""JSON endpoints of passkeys and security keys; the pages' scripts call them (E1, E3).

A message that cannot be read leaves one event and is answered as a problem; which
check a passkey failed is told to nobody but the audit trail.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flask import Response, jsonify, request, url_for

from ..audit import events
from ..audit.services_audit import FAILURE, record
from ..core.db import transaction
from ..core.errors import BadRequest, NotAuthenticated
from . import services_webauthn
from .errors import PasskeyMalformed
from .mfa import services_recovery_codes
from .mfa.enrol_pages import SECURITY, Enrolment, accept, tell_ended
from .mfa.mfa_pages import Asked, asked, recovery_codes_page, take_onwards
from .mfa.services_mfa_verify import Proved
from .principal import Principal
from .security import check_step_up, public, signed_in
from .sessions import services_sessions
from .sessions.services_sessions import SignIn
from .sign_in.services_gate import Entry
from .web import csrf
from .web.blueprint import IAMBlueprint
from .web.current import any_session, browser, keep_session, pending_login, request_actor
from .web.limits import limited, limited_by_person
from .web.pages import landing, way_on
from .web.redirects import safe_next
from .web.requests import PayloadTooLarge, json_object, takes_json
from .webauthn import services_passkey, services_webauthn_register, services_webauthn_verify
from .webauthn.webauthn_parsing import Assertion, read_assertion, read_registration

bp = IAMBlueprint("iam_webauthn", "IAM_AUTH_PREFIX")
_ENROLLING = "asks by itself for a pending enrolment, or a session with fresh proof"
_SIGNING_IN = "the way in; asks by itself for a pending sign-in or a session"
_SIGN_IN, _MFA, _STEP_UP = "sign_in", "mfa", "step_up"
_FLOWS = (_SIGN_IN, _MFA, _STEP_UP)
_LONGEST_TEXT = 2000


@bp.post("/webauthn/register/options")
@public(_ENROLLING)
@limited_by_person
@takes_json
def register_options() -> Response:
    """Say what key the browser shall make."""
    place = _enrolment()
    with _malformed_recorded():
        json_object()
    with transaction():
        options = services_webauthn_register.begin(
            place.user,
            session_id=place.person.session_id,
            browser=browser(),
            actor=request_actor(),
        )
    return jsonify(publicKey=options)


@bp.post("/webauthn/register/verify")
@public(_ENROLLING)
@limited_by_person
@takes_json
def register_verify() -> Response:
    """Take a new key, and take the session onwards by it."""
    place, actor = _enrolment(), request_actor()
    with _malformed_recorded():
        body = json_object()
        answer = read_registration(body.get("credential"))
        name, next_url = _text(body, "name") or "", safe_next(_text(body, "next"))
    checked = services_webauthn_register.check(
        place.user,
        answer,
        session_id=place.person.session_id,
        browser=browser(),
        actor=actor,
    )
    with transaction():
        enrolled = services_webauthn_register.enrol(place.user, checked, name=name, actor=actor)
        signed = accept(place, enrolled)
    keep_session(signed)
    tell_ended(enrolled)
    sealed = enrolled.recovery_codes and services_recovery_codes.seal(
        enrolled.recovery_codes, place.person.user_id
    )
    codes = {"action": url_for("iam_webauthn.register_codes"), "sealed": sealed}
    return jsonify(
        next=way_on(signed) if place.signing_in else next_url or place.cancel_url,
        codes=codes if sealed else None,
        csrf_token=csrf.token(),
    )


@bp.post("/webauthn/register/codes")
@public("asks by itself for the person whose codes they are, pending or signed in")
@limited_by_person
def register_codes() -> Response:
    """Show the recovery codes that came along with a first key."""
    person = any_session()
    if person is None:
        raise NotAuthenticated
    codes = services_recovery_codes.unseal(request.form.get("sealed", ""), person.user_id)
    pending = not person.is_authenticated
    wanted = safe_next(request.form.get("next")) or url_for("iam_account.security")
    next_url = person.next_url if pending else wanted
    return recovery_codes_page(person.user_id, codes, next_url, pending=pending)


@bp.post("/webauthn/login/options")
@public(_SIGNING_IN)
@limited
@takes_json
def login_options() -> Response:
    """Say which key the browser shall use: any, or one of the person asked."""
    with _malformed_recorded():
        body = json_object()
        flow, purpose = _flow(body), _text(body, "purpose")
    if flow == _SIGN_IN:
        with transaction():
            return jsonify(publicKey=services_webauthn.passkey_options(browser()))
    who = _asked(flow, purpose, None)
    with transaction():
        options = services_webauthn.factor_options(
            who.user,
            who.purpose,
            session_id=who.person.session_id,
            browser=browser(),
            minimum=who.minimum,
        )
    return jsonify(publicKey=options)


@bp.post("/webauthn/login/verify")
@public(_SIGNING_IN)
@limited
@takes_json
def login_verify() -> Response:
    """Check what a key answered, and let its person on."""
    with _malformed_recorded():
        body = json_object()
        flow, purpose = _flow(body), _text(body, "purpose")
        next_url, remember = _text(body, "next"), _flag(body, "remember")
        trust = _flag(body, "remember_device")
        answer = read_assertion(body.get("credential"))
    if flow == _SIGN_IN:
        entry = Entry(browser(), remember, safe_next(next_url), any_session())
        signed = services_passkey.sign_in(answer, entry, actor=request_actor())
        keep_session(signed)
        return jsonify(next=way_on(signed))
    who = _asked(flow, purpose, next_url)
    signed = _prove(who, answer, json.dumps(body["credential"]), remember=trust)
    keep_session(signed)
    return jsonify(next=way_on(signed) if who.signing_in else landing(who.next_url))


def _prove(who: Asked, answer: Assertion, text: str, *, remember: bool) -> SignIn:
    actor = request_actor()
    attempt = services_webauthn_verify.begin(
        who.user,
        answer,
        text,
        purpose=who.purpose,
        session_id=who.person.session_id,
        minimum=who.minimum,
        browser=browser(),
        actor=actor,
    )

    def onwards(proved: Proved) -> SignIn:
        return take_onwards(who, proved, remember=remember, actor=actor)

    return services_webauthn_verify.finish(attempt, onwards, actor=actor)


def _asked(flow: str, purpose: str | None, next_url: str | None) -> Asked:
    if (pending_login() is not None) != (flow == _MFA):
        raise NotAuthenticated
    return asked(purpose, next_url)


def _enrolment() -> Enrolment:
    person = _enrolling()
    return Enrolment(
        person,
        services_sessions.owner(person),
        own_url="",
        cancel_url=url_for("iam_account.security"),
    )


def _enrolling() -> Principal:
    pending = pending_login()
    if pending is not None and pending.stage == "enrol":
        return pending
    check_step_up(SECURITY)
    return signed_in()


@contextmanager
def _malformed_recorded() -> Iterator[None]:
    try:
        yield
    except (BadRequest, PayloadTooLarge) as refusal:
        with transaction():
            record(
                events.WEBAUTHN_MALFORMED,
                status=FAILURE,
                error=refusal.code,
                actor=request_actor(),
                endpoint=request.endpoint or "",
                reason=refusal.details.get("reason", refusal.code),
            )
        raise


def _flow(body: dict[str, Any]) -> str:
    flow = body.get("flow")
    if flow not in _FLOWS:
        raise _unreadable()
    return str(flow)


def _text(body: dict[str, Any], name: str) -> str | None:
    value = body.get(name)
    if value is not None and (not isinstance(value, str) or len(value) > _LONGEST_TEXT):
        raise _unreadable()
    return value


def _flag(body: dict[str, Any], name: str) -> bool:
    value = body.get(name, False)
    if not isinstance(value, bool):
        raise _unreadable()
    return value


def _unreadable() -> BadRequest:
    return PasskeyMalformed(reason="field")
