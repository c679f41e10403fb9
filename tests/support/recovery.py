"""Steps of an account recovery, as a person takes them in a browser."""

from __future__ import annotations

import re
from typing import Any

from flask.testing import FlaskClient
from sqlalchemy import select

from app.auth.models import IAMRecoveryRequest, IAMUserAccount
from app.core.db import session, transaction
from app.core.scoping import unscoped
from app.notify import services_outbox
from tests.conftest import Someone, csrf_of, post

PHONE = "+12025550177"
PAGE = "/auth/recovery"
REASON = "seen with passport"


def set_phone(person: Someone, number: str | None = PHONE) -> None:
    """Give a person a confirmed number, past the pages; None takes it away."""
    change(person, phone_number=number, phone_verified=number is not None)


def change(person: Someone, **values: Any) -> None:
    """Change columns of an account past the services."""
    with unscoped("the test writes for any tenant"), transaction():
        row = session().scalar(select(IAMUserAccount).where(IAMUserAccount.id == person.id))
        assert row is not None
        for name, value in values.items():
            setattr(row, name, value)


def give_password(client: FlaskClient, person: Someone, password: str = "") -> Any:
    """Show the first factor and stop there."""
    data = {"username": person.username, "password": password or person.password}
    return post(client, "/auth/login", data)


def press(client: FlaskClient, url: str, page: str = PAGE, **data: str) -> Any:
    """Press a button of a page."""
    token = csrf_of(client.get(page).text)
    return client.post(url, data={**data, "csrf_token": token})


def begin(client: FlaskClient, person: Someone) -> Any:
    """Give the password and open a request."""
    give_password(client, person)
    return press(client, PAGE)


def prove(client: FlaskClient, channel: str) -> Any:
    """Ask for the code of a channel and type it in."""
    press(client, f"{PAGE}/send", channel=channel)
    kind = "email" if channel == "email" else "sms"
    return press(client, f"{PAGE}/proof", channel=channel, code=last_code(kind))


def begin_waiting(client: FlaskClient, person: Someone) -> None:
    """Go through a request until its waiting time runs."""
    begin(client, person)
    prove(client, "email")
    answer = prove(client, "phone")
    assert answer.status_code == 303, answer.text
    assert the_request(person).status == "waiting"


def follow(client: FlaskClient, path: str) -> Any:
    """Open a link of a message and press its button."""
    return press(client, path, path)


def messages(channel: str = "", purpose: str = "") -> list[dict[str, Any]]:
    """Return what was sent, oldest first; `purpose` is a word of the text."""
    found = services_outbox.list_recent(200)[::-1]
    return [
        item
        for item in found
        if channel in {"", item["channel"]} and purpose in item["body"] + item["subject"]
    ]


def last_code(channel: str) -> str:
    """Return the newest code that was sent over a channel."""
    for message in reversed(messages(channel)):
        found = re.search(r"\b(\d{6})\b", message["body"])
        if found:
            return found.group(1)
    raise AssertionError(f"no code over {channel}")


def link(kind: str, channel: str = "email") -> str:
    """Return the path of the newest link of a kind: `cancel` or `continue`."""
    for message in reversed(messages(channel)):
        found = re.findall(rf"/auth/recovery/{kind}/[\w-]{{43}}", message["body"])
        if found:
            return str(found[-1])
    raise AssertionError(f"no {kind} link over {channel}")


def requests_of(person: Someone) -> list[IAMRecoveryRequest]:
    """Return the person's requests as stored now, oldest first."""
    with unscoped("tests look at every tenant"):
        session().rollback()
        where = IAMRecoveryRequest.user_id == person.id
        query = select(IAMRecoveryRequest).where(where).order_by(IAMRecoveryRequest.id)
        return list(session().scalars(query))


def the_request(person: Someone) -> IAMRecoveryRequest:
    """Return the person's newest request."""
    return requests_of(person)[-1]
