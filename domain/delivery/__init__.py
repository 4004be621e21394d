"""How a delivery goes: its states, when it is attempted again, what is signed and sent."""
