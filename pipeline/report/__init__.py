"""Reading what a run did: evidence from the state, a view of it, and one self-contained page."""
