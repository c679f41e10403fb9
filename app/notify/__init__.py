"""Messages that leave the system: mail, SMS, WhatsApp.

`messages` writes them, `services_caps` says whether a number may be written to,
`services_outbox` queues them in the caller's transaction and delivers after
commit through `gateways/`. Never decides who is told what: callers do.
Start with `services_outbox.enqueue`.
"""
