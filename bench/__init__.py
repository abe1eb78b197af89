"""``make bench``: what the budgets of the design cost on this machine. Never part of the test run; see README.md."""
