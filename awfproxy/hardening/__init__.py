"""What the process takes from itself: dumps, the environment's credentials, files, ports and system calls."""
