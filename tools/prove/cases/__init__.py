"""The cases, by theme. They are named in tools/prove/table.py."""
