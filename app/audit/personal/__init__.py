"""What the audit trail tells of people, readable for as long as their key exists (M6).

`services_subject_keys.py` makes and destroys the keys. Destroying one leaves every event,
and so the chain over them, as it was.
"""
