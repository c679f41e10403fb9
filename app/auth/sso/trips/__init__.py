"""What a trip to a provider is for, once its answer was checked: signing in, fresh proof, logout.

`assurance` says what a provider's word is worth here. Refuses to read answers: that is
`services_sso`, which calls these.
"""
