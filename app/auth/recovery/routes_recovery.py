"""Pages of account recovery, for somebody whose second factors are lost (I1).

The request is made in a sign-in that waits for its second step; the links of the messages
work in any browser. A look changes nothing.
"""

from __future__ import annotations

from typing import Any

from flask import Response, flash, request
from werkzeug.wrappers import Response as BaseResponse

from ...core.db import transaction
from ...core.errors import IAMError, InvalidInput, NotAuthenticated, NotFound, TooManyAttempts
from ...core.i18n import _
from ...notify.models import SENT
from ...tenancy.services_settings import effective
from ..errors import CodeInvalid
from ..mfa.mfa_pages import waiting_text
from ..mfa.settings_mfa import MfaSettings
from ..principal import Principal
from ..security import public, requires_login, requires_pending, signed_in
from ..sessions import services_sessions
from ..sign_in import services_codes
from ..sign_in.services_gate import Entry
from ..web.blueprint import IAMBlueprint, account_bp
from ..web.current import any_session, browser, keep_session, pending_login, request_actor
from ..web.limits import limited, limited_by_person
from ..web.pages import onwards, redirect_to, render
from . import services_recovery, services_recovery_links, services_recovery_rows
from .errors_recovery import RecoveryClosed, RecoveryTooEarly, RecoveryUnreachable
from .forms_recovery import ProofForm
from .services_recovery import Channel
from .services_recovery_rows import OPEN
from .settings_recovery import RecoverySettings

bp = IAMBlueprint("iam_recovery", "IAM_AUTH_PREFIX")


@bp.route("/recovery", methods=["GET", "POST"])
@requires_pending("mfa")
@limited_by_person
def overview() -> BaseResponse:
    """Show how far the person's request is, or open one."""
    person = _pending()
    if request.method != "POST":
        return _page(person)
    try:
        services_recovery.open_own(person, actor=request_actor())
    except (RecoveryUnreachable, InvalidInput, TooManyAttempts) as refusal:
        _say(refusal)
    return redirect_to("iam_recovery.overview")


@bp.get("/recovery/finished")
@requires_pending("again")
def finished() -> BaseResponse:
    """Say that the new second step is on, and lead to the sign-in."""
    return render("iam/recovery_finished.html")


@bp.post("/recovery/send")
@requires_pending("mfa")
@limited_by_person
def send() -> BaseResponse:
    """Send a code over one of the person's channels."""
    name = request.form.get("channel", "")
    try:
        status = services_recovery.send_code(_pending(), name, actor=request_actor())
    except (RecoveryClosed, InvalidInput, TooManyAttempts) as refusal:
        _say(refusal)
    else:
        if status != SENT:
            flash(_("The code could not be sent yet. We keep trying; please wait a little."),
                  "warn")  # fmt: skip
    return redirect_to("iam_recovery.overview")


@bp.route("/recovery/proof", methods=["GET", "POST"])
@requires_pending("mfa")
@limited_by_person
def proof() -> BaseResponse:
    """Check the code of a channel; whoever comes back to the address sees the overview."""
    if request.method != "POST":
        return redirect_to("iam_recovery.overview")
    person, form = _pending(), ProofForm()
    if not form.validate():
        return _page(person, form, 422)
    try:
        services_recovery.prove(
            person, form.channel.data or "", form.code.data or "", actor=request_actor()
        )
    except CodeInvalid as refusal:
        form.code.errors = [_(str(refusal.title))]
        return _page(person, form, 401)
    except TooManyAttempts as refusal:
        form.code.errors = [_waiting(refusal)]
        response = _page(person, form, 429)
        response.headers["Retry-After"] = str(refusal.retry_after)
        return response
    except RecoveryClosed as refusal:
        _say(refusal)
    return redirect_to("iam_recovery.overview")


@bp.post("/recovery/approval")
@requires_pending("mfa")
@limited_by_person
def approval() -> BaseResponse:
    """Leave the decision to an administrator, where a channel is lost as well."""
    person = _pending()
    try:
        with transaction():
            services_recovery.ask_for_approval(person, actor=request_actor())
    except RecoveryClosed as refusal:
        _say(refusal)
    return redirect_to("iam_recovery.overview")


@bp.route("/recovery/cancel/<token>", methods=["GET", "POST"])
@public("the link in the message is the proof")
@limited
def cancel(token: str) -> BaseResponse:
    """Stop a recovery by the link of a notice."""
    browser()
    try:
        if request.method != "POST":
            row = services_recovery_rows.find_to_cancel(token)
            status = services_recovery_rows.status_of(row)
            helped = row.opened_by != row.user_id
            return _sealed(
                render("iam/recovery_cancel.html", status=status, open=OPEN, by_admin=helped)
            )
        services_recovery_links.cancel(token, actor=request_actor())
    except NotFound:
        return _sealed(render("iam/recovery_link_invalid.html", 404))
    except RecoveryClosed:
        pass  # the page tells what it is now
    return redirect_to("iam_recovery.cancel", token=token)


@bp.route("/recovery/continue/<token>", methods=["GET", "POST"])
@public("the link in the message is the proof")
@limited
def proceed(token: str) -> BaseResponse:
    """Show what a personal link will do, or do it and let the person enrol."""
    entry = Entry(browser=browser(), replaces=any_session())
    try:
        if request.method != "POST":
            preview = services_recovery_links.preview(token)
            return _sealed(render("iam/recovery_continue.html", preview=preview))
        signed = services_recovery_links.complete(token, entry, actor=request_actor())
    except (NotFound, RecoveryClosed):
        return _sealed(render("iam/recovery_link_invalid.html", 404))
    except RecoveryTooEarly:
        return redirect_to("iam_recovery.proceed", token=token)
    keep_session(signed)
    return onwards(signed)


@account_bp.post("/security/recovery/cancel")
@requires_login
def recovery_cancel() -> BaseResponse:
    """Stop one's own recovery, from the page that shows the banner."""
    with transaction():
        services_recovery_links.cancel_own(signed_in().user_id, actor=request_actor())
    flash(_("The recovery is stopped. If you did not ask for it, change your password."), "ok")
    return redirect_to("iam_account.security")


def _page(person: Principal, form: ProofForm | None = None, status: int = 200) -> Response:
    user = services_sessions.owner(person)
    row = services_recovery_rows.open_of(user.id)
    given = services_recovery.proved(row) if row is not None else set()
    channels = [
        _channel(person, item, item.name in given, form)
        for item in services_recovery.channels(user).values()
    ]
    settings = effective(RecoverySettings)
    return render(
        "iam/recovery.html",
        status,
        status=row.status if row is not None else "",
        available_at=row.available_at if row is not None else None,
        expires_at=row.expires_at if row is not None else None,
        takes_proofs=row is not None and services_recovery.takes_proofs(row),
        channels=channels,
        focus=_focus(channels, form),
        wait_hours=settings.RECOVERY_WAIT_HOURS,
        approved_wait_hours=settings.RECOVERY_APPROVED_WAIT_HOURS,
        minutes=MfaSettings.current().MFA_CODE_MINUTES,
    )


def _channel(
    person: Principal, channel: Channel, done: bool, form: ProofForm | None
) -> dict[str, Any]:
    live = services_codes.current(person.user_id, channel.purpose, session_id=person.session_id)
    wrong = form is not None and form.channel.data == channel.name
    own = form if form is not None and wrong else ProofForm(formdata=None, channel=channel.name)
    own.code.id = f"code-{channel.name}"  # two such forms are on one page
    return {
        "name": channel.name,
        "hint": channel.hint,
        "proved": done,
        "sent": live.id if live is not None and not done else None,
        "resend_in": services_codes.seconds_until_resend(person.user_id, channel.purpose),
        "form": own,
    }


def _focus(channels: list[dict[str, Any]], form: ProofForm | None) -> str:
    """Return the name of the channel to type into: the wrong code's, or the newest one's."""
    if form is not None:
        return form.channel.data or ""
    sent = [item for item in channels if item["sent"]]
    return max(sent, key=lambda item: item["sent"])["name"] if sent else ""


def _sealed(response: Response) -> Response:
    # The address holds a secret: it must not go along to another page.
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


def _say(refusal: IAMError) -> None:
    late = isinstance(refusal, TooManyAttempts)
    flash(_waiting(refusal) if late else _(str(refusal.title)), "warn")


def _waiting(refusal: IAMError) -> str:
    text = f"{_(str(refusal.title))}."
    seconds = getattr(refusal, "retry_after", None)
    if seconds:
        text = f"{text} {waiting_text(seconds)}"
    return f"{text} {_('If you cannot wait, ask your administrator.')}"


def _pending() -> Principal:
    person = pending_login()
    if person is None:
        raise NotAuthenticated
    return person
