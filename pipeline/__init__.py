"""The export itself: plan, schedule, sanitize, commit; and the command line that starts it."""
