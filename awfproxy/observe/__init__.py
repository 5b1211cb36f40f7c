"""What watches exchanges and never touches them: logs and counters."""
