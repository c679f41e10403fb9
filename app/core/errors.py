"""Typed refusals. Services raise them; one handler renders a page or problem+json.

`code` is stable and dotted, `title` is safe to show and translatable,
`keeps_evidence` tells the unit of work to keep the audit rows of a refused act.
"""

from __future__ import annotations

from typing import Any, ClassVar

from .i18n import N_


class IAMError(Exception):
    """Base of every refusal: status, stable code, a title that may be shown."""

    status: ClassVar[int] = 500
    code: str = "error"
    title: str = N_("Something went wrong")
    keeps_evidence: ClassVar[bool] = False

    def __init__(
        self,
        title: str | None = None,
        *,
        code: str | None = None,
        field: str | None = None,
        **details: Any,
    ) -> None:
        self.title = title or type(self).title
        self.code = code or type(self).code
        self.field = field
        self.details = details
        super().__init__(self.title)


class InvalidInput(IAMError):
    """A value that cannot be used (422); `field` names the form field."""

    status = 422
    code = "input.invalid"
    title = N_("Please check what you entered")


class BadRequest(IAMError):
    """A request that is malformed as a whole (400)."""

    status = 400
    code = "request.malformed"
    title = N_("The request could not be understood")


class NotAuthenticated(IAMError):
    """No one is signed in, or the proof offered was refused (401)."""

    status = 401
    code = "auth.required"
    title = N_("Please sign in")
    keeps_evidence = True


class StepUpRequired(IAMError):
    """Signed in, yet not freshly or strongly enough (401, RFC 9470)."""

    status = 401
    code = "auth.step_up_required"
    title = N_("Please confirm that it is you")


class Forbidden(IAMError):
    """Signed in without the right (403)."""

    status = 403
    code = "auth.forbidden"
    title = N_("You do not have access to this")
    keeps_evidence = True


class NotFound(IAMError):
    """Not here, or not in this tenant: the same answer for both (404)."""

    status = 404
    code = "not_found"
    title = N_("We could not find that")


class Conflict(IAMError):
    """The change contradicts what is stored (409)."""

    status = 409
    code = "conflict"
    title = N_("That conflicts with what is already there")
    keeps_evidence = True


class TooManyAttempts(IAMError):
    """Throttled (429); `retry_after` in whole seconds."""

    status = 429
    code = "auth.too_many_attempts"
    title = N_("Too many attempts. Please wait and try again")
    keeps_evidence = True

    def __init__(self, title: str | None = None, *, retry_after: int = 30, **kw: Any) -> None:
        super().__init__(title, **kw)
        self.retry_after = max(1, retry_after)


class UpstreamFailed(IAMError):
    """A provider that we depend on failed (502)."""

    status = 502
    code = "upstream.failed"
    title = N_("A service we rely on did not answer")


class Unavailable(IAMError):
    """We cannot decide safely now (503); `retry_after` in whole seconds."""

    status = 503
    code = "unavailable"
    title = N_("The service is busy or a part of it is away. Please try again shortly")

    def __init__(self, title: str | None = None, *, retry_after: int = 5, **kw: Any) -> None:
        super().__init__(title, **kw)
        self.retry_after = max(1, retry_after)


class Misconfigured(IAMError):
    """A setting is missing, weak or contradictory; start-up stops."""

    status = 500
    code = "misconfigured"
    title = N_("The service is not configured correctly")


class TenantContextMissing(IAMError):
    """A query on tenant data ran outside any tenant scope: a programming error."""

    code = "tenant.context_missing"
    title = N_("A query ran without tenant context")
