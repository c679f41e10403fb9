"""Bounds of a stranger's bytes, walked before a decoder sees them: JSON and CBOR."""
