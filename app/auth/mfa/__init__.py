"""Second factors as a person has them: enrolled, asked for, proved, changed.

The contract functions are in `auth/services_mfa.py`, each factor is a file in `auth/factors/`.
Start with `services_factors.py`.
"""
