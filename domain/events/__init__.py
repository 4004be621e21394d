"""What an event may be, in each form in which one can arrive, and the status it has."""
