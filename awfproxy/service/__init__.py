"""The daemon's life: validate, listen, report, drain, exit."""
