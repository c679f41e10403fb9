"""Words for what an event carries: its metadata, the fields it changed, kinds of things.

A name that is missing here is shown in English, made from the name itself.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..core.i18n import N_

LABELS: Mapping[str, str] = {
    # metadata
    "acr": N_("Assurance level"),
    "actor_type": N_("Kind of account"),
    "amr": N_("Proofs given"),
    "attempts": N_("Attempts"),
    "channel": N_("Channel"),
    "count": N_("Count"),
    "device": N_("Device"),
    "device_id": N_("Device ID"),
    "endpoint": N_("Endpoint"),
    "expires_at": N_("Expires"),
    "fallback_from": N_("Instead of"),
    "filters": N_("Filters"),
    "format": N_("Format"),
    "from_scheme": N_("Former scheme"),
    "identifier": N_("Identifier"),
    "known": N_("Known account"),
    "limit": N_("Limit"),
    "method": N_("Method"),
    "methods": N_("Methods"),
    "name": N_("Name"),
    "names": N_("Settings"),
    "new_device": N_("New device"),
    "permissions": N_("Permissions"),
    "producer": N_("Way in"),
    "purpose": N_("Purpose"),
    "reason": N_("Reason"),
    "remaining": N_("Remaining"),
    "required": N_("Missing right"),
    "resource": N_("Resource"),
    "retry_after": N_("Retry after (seconds)"),
    "role": N_("Role"),
    "roles": N_("Roles"),
    "scope": N_("Scope"),
    "slug": N_("Short name"),
    "stage": N_("Stage"),
    # changed fields
    "description": N_("Description"),
    "display_name": N_("Display name"),
    "email": N_("E-mail"),
    "email_verified": N_("E-mail verified"),
    "first_name": N_("First name"),
    "language": N_("Language"),
    "last_name": N_("Last name"),
    "mfa_policy": N_("Second factor"),
    "organization_id": N_("Organization"),
    "parent_id": N_("Parent"),
    "phone_number": N_("Phone"),
    "phone_verified": N_("Phone verified"),
    "status": N_("Status"),
    "type": N_("Type"),
    "timezone": N_("Time zone"),
    "username": N_("Username"),
    # kinds of things and of actors
    "anonymous": N_("Nobody signed in"),
    "auth_log": N_("Audit trail"),
    "auth_session": N_("Session"),
    "action_token": N_("Link"),
    "mfa_challenge": N_("Code"),
    "mfa_method": N_("Second factor"),
    "organization": N_("Organization"),
    "outbox": N_("Message"),
    "recovery_code": N_("Recovery code"),
    "system": N_("System"),
    "tenant": N_("Tenant"),
    "user": N_("Person"),
    "user_account": N_("Account"),
    "user_role": N_("Role of a person"),
}
