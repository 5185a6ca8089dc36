//! Behaviour of the gateway, on the real binary over real TLS.
