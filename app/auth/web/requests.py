"""What any request to our pages must look like before a view sees it.

Broken text, NUL bytes, repeated fields, oversized or wrongly typed bodies are
refused here once, with a 4xx and no effect (ATTACKS groups A and V).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

from flask import current_app, request
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import RequestEntityTooLarge

from ...core.errors import BadRequest, IAMError
from ...core.i18n import N_
from ...core.parsing.strict_json import read_object
from ..settings import AuthSettings

_UNUSABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
_FORM_TYPES = {"application/x-www-form-urlencoded", "multipart/form-data"}
_LONGEST_FIELD = 8192
_MOST_FIELDS = 200
_LARGEST_JSON = 64 * 1024
_READS_JSON = "__iam_reads_json__"
REPEATABLE = {"permissions", "ids", "roles", "MFA_METHODS", "WEBAUTHN_ALLOWED_AAGUIDS"}


class PayloadTooLarge(IAMError):
    """A body over the limit (413)."""

    status = 413
    code = "request.too_large"
    title = N_(N_("That is more than this page accepts"))


class UnsupportedMediaType(IAMError):
    """A body of a type that this page does not read (415)."""

    status = 415
    code = "request.media_type"
    title = N_(N_("This page does not read that kind of data"))


V = TypeVar("V", bound=Callable[..., Any])


def takes_json(view: V) -> V:
    """Declare that a view reads its body by `json_object`, and nothing but JSON."""
    setattr(view, _READS_JSON, True)
    return view


def is_json_view() -> bool:
    """Return whether the view of this request takes JSON."""
    view = current_app.view_functions.get(request.endpoint or "")
    return getattr(view, _READS_JSON, False)


def json_object() -> dict[str, Any]:
    """Return the JSON object in the body of this request, of up to 64 KiB.

    For views that `takes_json`. Raises PayloadTooLarge, BadRequest.
    """
    request.max_content_length = _LARGEST_JSON
    try:
        return read_object(request.get_data(cache=False))
    except RequestEntityTooLarge:
        raise PayloadTooLarge from None
    except ValueError:
        raise BadRequest(N_("The request is not JSON as we read it"), code="request.json") from None


def check() -> None:
    """Refuse a malformed request. Raises BadRequest, PayloadTooLarge, UnsupportedMediaType."""
    request.max_content_length = AuthSettings.current().IAM_MAX_BODY_KIB * 1024
    request.max_form_parts = _MOST_FIELDS
    _check_fields(request.args)
    if request.method not in {"POST", "PUT", "PATCH", "DELETE"}:
        return
    if not is_json_view():
        _check_body()
    elif request.mimetype != "application/json":  # AT-140
        raise UnsupportedMediaType


def _check_body() -> None:
    length = request.content_length
    if length and length > AuthSettings.current().IAM_MAX_BODY_KIB * 1024:
        raise PayloadTooLarge
    if not length and request.headers.get("Transfer-Encoding") is None:
        return
    if request.mimetype not in _FORM_TYPES:
        raise UnsupportedMediaType
    _check_fields(request.form)
    if request.files:
        raise BadRequest(N_("This form takes no files"), code="request.files")


def _check_fields(fields: MultiDict[str, str]) -> None:
    for name, values in fields.lists():
        if len(values) > 1 and name not in REPEATABLE:
            raise BadRequest(N_("A field was sent twice"), code="request.repeated_field")
        if _UNUSABLE.search(name) or any(_is_bad(value) for value in values):
            raise BadRequest(
                N_("The request contains text that cannot be used"), code="request.text"
            )


def _is_bad(value: str) -> bool:
    # U+FFFD is what invalid UTF-8 was decoded to: the sender's bytes were broken.
    return len(value) > _LONGEST_FIELD or "\ufffd" in value or bool(_UNUSABLE.search(value))
