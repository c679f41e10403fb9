"""Risk: attempt counters and devices.

`services_limits.charge()` is called before anything guessable is checked.
`services_devices` recognises browsers. Knows nothing of passwords or factors.
"""
