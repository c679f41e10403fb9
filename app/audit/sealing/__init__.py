"""Sealing: sequence, chain, Merkle tree and signed checkpoints over the audit trail (M3).

`services_seal.py` is the one writer of its tables; what the bytes mean, and every check of
them, is in `../verifier.py`, which needs nothing of this package.
"""
