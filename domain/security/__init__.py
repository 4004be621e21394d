"""Who may do what, and what is kept secret: tokens, principals, networks, signatures and encryption."""
