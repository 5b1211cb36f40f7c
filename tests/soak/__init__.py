"""What stays flat when requests and broken-off streams go through awfproxy for a long time: `make soak`."""
