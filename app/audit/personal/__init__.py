"""What the audit trail tells of people, readable for as long as their key exists (M6).

`services_personal.py` encrypts on the way in, `models_reading.py` decrypts on the way out,
`keys.py` makes the keys, `services_subject_keys.py` destroys them. Destroying one leaves
every event, and so the chain over them, as it was.
"""
