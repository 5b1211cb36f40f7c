"""The console command `awfproxy`, one module per verb."""
