"""The rules of Atlas, by subject: values in, values out. No client, no clock, no environment is imported here."""
