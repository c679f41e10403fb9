"""Invitations: people asked into a tenant by mail, with the roles they will hold (B3)."""
