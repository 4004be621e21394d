"""Deals each limit's bucket out among the gateways, by what they report. Runs in the process `control`."""
