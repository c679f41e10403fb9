"""A virtual authenticator of the browser: passkeys without a finger (WebAuthn over DevTools)."""

from __future__ import annotations

from typing import Any

from tests.support.chromium import command

DEVICE = {
    "protocol": "ctap2",
    "transport": "internal",
    "hasResidentKey": True,
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}


class Authenticator:
    """One authenticator of a browser: a phone or laptop, unless `options` say otherwise."""

    def __init__(self, browser: Any, **options: Any) -> None:
        self.browser = browser
        command(browser, "WebAuthn.enable", enableUI=False)
        made = command(browser, "WebAuthn.addVirtualAuthenticator", options={**DEVICE, **options})
        self.id = made["authenticatorId"]

    def keys(self) -> list[dict[str, Any]]:
        """Return its credentials, private keys included."""
        found: list[dict[str, Any]] = self._do("getCredentials")["credentials"]
        return found

    def add(self, key: dict[str, Any]) -> None:
        """Put a credential into it."""
        self._do("addCredential", credential=key)

    def forget(self, key: dict[str, Any]) -> None:
        """Take a credential out of it."""
        self._do("removeCredential", credentialId=key["credentialId"])

    def answer(self, willing: bool) -> None:
        """Let it answer what is asked from now on, as if somebody touched it; or let it wait."""
        self._do("setAutomaticPresenceSimulation", enabled=willing)

    def recognise(self, person: bool) -> None:
        """Let it recognise its owner, by finger or PIN; or fail to."""
        self._do("setUserVerified", isUserVerified=person)

    def remove(self) -> None:
        """Unplug it."""
        self._do("removeVirtualAuthenticator")

    def _do(self, what: str, **parameters: Any) -> dict[str, Any]:
        return command(self.browser, f"WebAuthn.{what}", authenticatorId=self.id, **parameters)
