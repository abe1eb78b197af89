"""``make prove``: what must hold, shown at full size with real processes. Each case prints line, figure and verdict."""
