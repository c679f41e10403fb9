"""Signals a host may listen to. They are sent after commit, never before.

Each carries plain identifiers, no secrets and no ORM objects: the receiver runs
outside our transaction and cannot undo what happened.
"""

from __future__ import annotations

from blinker import Namespace

_signals = Namespace()

user_signed_in = _signals.signal("iam.user_signed_in")
user_signed_out = _signals.signal("iam.user_signed_out")
user_created = _signals.signal("iam.user_created")
user_changed = _signals.signal("iam.user_changed")
user_deleted = _signals.signal("iam.user_deleted")
password_changed = _signals.signal("iam.password_changed")
factor_changed = _signals.signal("iam.factor_changed")
session_revoked = _signals.signal("iam.session_revoked")
roles_changed = _signals.signal("iam.roles_changed")
