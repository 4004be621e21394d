"""How often what may be asked, and how a quota is shared out among the gateways."""
