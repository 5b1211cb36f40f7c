"""The real clients: coding agents and SDKs in pinned versions, each with a driver for one headless turn."""
