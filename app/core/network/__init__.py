"""The network beside HTTP: name servers and system logs, each the one caller of its kind."""
