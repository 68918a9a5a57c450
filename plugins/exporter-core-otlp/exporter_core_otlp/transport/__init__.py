"""The way to a server: reached within a context, and kept from one request to the next."""
