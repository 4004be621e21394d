"""Allocates each limit's bucket to the gateways, by what they report. Runs in the process `control`."""
