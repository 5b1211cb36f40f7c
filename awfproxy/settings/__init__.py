"""From what the operator gave (command line, environment, TOML file) to frozen values. Pure."""
