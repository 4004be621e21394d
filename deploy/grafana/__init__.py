"""The dashboard: `panels` says what it shows, `dashboard` writes atlas.json from it (`make docs`)."""
