"""Numbers of the audit trail: what happened how often in the last days, from where."""
