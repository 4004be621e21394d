"""When two requests are the same one: the rules for events, commands and work."""
