"""Local servers that speak the published APIs of Twilio, Vonage and WhatsApp Cloud.

Each checks authentication and payload as its reference says and answers in its own
format. `mode` may be changed while it runs: ok, throttled (429), broken (500),
refused (the provider's permanent refusal), garbage (200 with no JSON), hang.
"""

from __future__ import annotations

import base64
import json
import re
import ssl
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, ClassVar, Self
from urllib.parse import parse_qs

HOST = "127.0.0.1"
_HANG_SECONDS = 20
_E164 = re.compile(r"\+[1-9]\d{6,14}\Z")
_DIGITS = re.compile(r"[1-9]\d{6,14}\Z")


@dataclass
class Received:
    """One accepted message as the provider understood it."""

    to: str
    sender: str
    text: str
    fields: dict[str, Any] = field(default_factory=dict)


@dataclass
class Answer:
    """One HTTP answer."""

    status: int
    body: Any


class ProviderServer:
    """Base: an HTTP server on a free local port, in threads, optionally with TLS."""

    path: ClassVar[str] = ""

    def __init__(self, *, tls: ssl.SSLContext | None = None, mode: str = "ok") -> None:
        self.mode = mode
        self.messages: list[Received] = []
        self.attempts = 0
        self._closing = threading.Event()
        self._server = ThreadingHTTPServer((HOST, 0), self._handler())
        self._server.daemon_threads = True
        self._scheme = "http"
        if tls is not None:
            self._scheme = "https"
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def base_url(self) -> str:
        """Return the address that stands in for the provider's."""
        return f"{self._scheme}://{HOST}:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()

    def accept(self, body: bytes, headers: dict[str, str]) -> Answer:
        """Check one request and answer it."""
        raise NotImplementedError

    def failure(self, status: int, text: str) -> Answer:
        """Return an error in the provider's format."""
        raise NotImplementedError

    def refusal(self) -> Answer:
        """Return the provider's answer for a recipient it will never reach."""
        return self.failure(400, "no")

    def answer(self, path: str, body: bytes, headers: dict[str, str]) -> Answer:
        """Answer one request as `mode` says."""
        self.attempts += 1
        if self.mode == "hang":
            self._closing.wait(_HANG_SECONDS)
        if path != self.path:
            return self.failure(404, f"no such resource {path}")
        # Errors echo the request, as some providers do: none of it may reach a log.
        echo = body.decode(errors="replace")
        if self.mode == "throttled":
            return self.failure(429, f"too many requests: {echo}")
        if self.mode == "broken":
            return self.failure(500, f"internal error: {echo}")
        if self.mode == "refused":
            return self.refusal()
        if self.mode == "garbage":
            return Answer(200, "<html>maintenance</html>")
        return self.accept(body, headers)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                headers = {key.lower(): value for key, value in self.headers.items()}
                answer = provider.answer(self.path, body, headers)
                text = answer.body if isinstance(answer.body, str) else json.dumps(answer.body)
                try:
                    self.send_response(answer.status)
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(text.encode())))
                    self.end_headers()
                    self.wfile.write(text.encode())
                except OSError:
                    self.close_connection = True  # the client did not wait

            def log_message(self, *_: Any) -> None:
                """Stay silent: the log of a test shows our own lines only."""

        return Handler


class TwilioServer(ProviderServer):
    """Twilio, Messages resource of API 2010-04-01."""

    account_sid = "AC00000000000000000000000000000001"
    auth_token = "twilio-token-do-not-leak"
    path: ClassVar[str] = f"/2010-04-01/Accounts/{account_sid}/Messages.json"

    def accept(self, body: bytes, headers: dict[str, str]) -> Answer:
        """Check Basic authentication, To, From and Body or ContentSid."""
        if headers.get("authorization") != _basic(self.account_sid, self.auth_token):
            return self.failure(401, "Authenticate")
        fields = {key: values[0] for key, values in parse_qs(body.decode()).items()}
        to, sender = fields.get("To", ""), fields.get("From", "")
        if not _E164.match(to.removeprefix("whatsapp:")):
            return Answer(400, {"code": 21211, "message": f"Invalid 'To' {to}", "status": 400})
        if to.startswith("whatsapp:") != sender.startswith("whatsapp:"):
            return Answer(400, {"code": 63007, "message": "No such channel", "status": 400})
        text = fields.get("Body", "") or fields.get("ContentVariables", "")
        if not text:
            return Answer(400, {"code": 21602, "message": "Body is required", "status": 400})
        self.messages.append(Received(to, sender, text, fields))
        sid = f"SM{len(self.messages):032x}"
        return Answer(201, {"sid": sid, "status": "queued", "to": to, "from": sender, "body": text})

    def failure(self, status: int, text: str) -> Answer:
        """Return Twilio's error object."""
        return Answer(status, {"code": 20000 + status % 100, "message": text, "status": status})

    def refusal(self) -> Answer:
        """Return error 21610: the recipient has unsubscribed."""
        body = {"code": 21610, "message": "Attempt to send to unsubscribed", "status": 400}
        return Answer(400, body)


class VonageServer(ProviderServer):
    """Vonage SMS API, `POST /sms/json`: HTTP 200 with a status per message.

    A further mode, throttled_in_body, answers 200 with status 1 as the API throttles.
    """

    api_key = "vonagekey"
    api_secret = "vonage-secret-do-not-leak"
    path: ClassVar[str] = "/sms/json"

    def accept(self, body: bytes, headers: dict[str, str]) -> Answer:
        """Check Basic authentication, to, from and text."""
        if self.mode == "throttled_in_body":
            return self._verdict(1, "Throttled")
        if headers.get("authorization") != _basic(self.api_key, self.api_secret):
            return self._verdict(4, "Bad Credentials")
        fields = {key: values[0] for key, values in parse_qs(body.decode()).items()}
        if not all(fields.get(name) for name in ("to", "from", "text")):
            return self._verdict(2, "Missing parameters")
        if not _DIGITS.match(fields["to"]):
            return self._verdict(3, f"Invalid value for 'to' {fields['to']}")
        self.messages.append(Received(fields["to"], fields["from"], fields["text"], fields))
        message = {
            "to": fields["to"],
            "message-id": f"{len(self.messages):016X}",
            "status": "0",
            "remaining-balance": "3.14",
            "message-price": "0.03",
            "network": "12345",
        }
        return Answer(200, {"message-count": "1", "messages": [message]})

    def failure(self, status: int, text: str) -> Answer:
        """Return an error of the HTTP layer in front of the API."""
        return Answer(status, {"type": "about:blank", "title": text})

    def refusal(self) -> Answer:
        """Return status 7: the number is barred."""
        return self._verdict(7, "Number barred")

    def _verdict(self, status: int, text: str) -> Answer:
        message = {"status": str(status), "error-text": text}
        return Answer(200, {"message-count": "1", "messages": [message]})


class WhatsAppServer(ProviderServer):
    """WhatsApp Business Cloud API, messages of one phone number."""

    phone_number_id = "106540352242922"
    access_token = "whatsapp-token-do-not-leak"
    template = "sign_in_code"
    path: ClassVar[str] = f"/v23.0/{phone_number_id}/messages"

    def accept(self, body: bytes, headers: dict[str, str]) -> Answer:
        """Check the bearer token and the authentication template message."""
        if headers.get("authorization") != f"Bearer {self.access_token}":
            return self._error(401, 190, "Invalid OAuth access token")
        message = json.loads(body)
        if message.get("messaging_product") != "whatsapp" or message.get("type") != "template":
            return self._error(400, 100, "Invalid parameter")
        if not _DIGITS.match(message.get("to", "")):
            return self._error(400, 131009, "Parameter value is not valid")
        template = message["template"]
        if template["name"] != self.template or "code" not in template["language"]:
            return self._error(404, 132001, "Template name does not exist")
        parts = {part["type"]: part for part in template["components"]}
        code = parts["body"]["parameters"][0]["text"]
        button = parts["button"]
        # An authentication template wants the code twice: in the text and in its button.
        if (button["sub_type"], button["index"]) != ("url", "0"):
            return self._error(400, 132000, "Number of parameters does not match")
        if button["parameters"][0]["text"] != code:
            return self._error(400, 132000, "Number of parameters does not match")
        self.messages.append(Received(message["to"], self.phone_number_id, code, message))
        sent = {"id": f"wamid.{len(self.messages)}"}
        contact = {"input": message["to"], "wa_id": message["to"]}
        answer = {"messaging_product": "whatsapp", "contacts": [contact], "messages": [sent]}
        return Answer(200, answer)

    def failure(self, status: int, text: str) -> Answer:
        """Return the Graph API's error object."""
        return self._error(status, {429: 130429, 500: 131000}.get(status, 100), text)

    def refusal(self) -> Answer:
        """Return error 131026: the recipient cannot be reached."""
        return self._error(400, 131026, "Message undeliverable")

    def _error(self, status: int, code: int, text: str) -> Answer:
        return Answer(status, {"error": {"message": text, "type": "OAuthException", "code": code}})


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
