"""The benchmark: awfproxy and one Envoy worker do the same job through one Squid, in turns. See README.md."""
