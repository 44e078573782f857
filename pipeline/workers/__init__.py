"""A run divided among workers: one process coordinates, others read, sanitize and send (docs/adr/0011).

partition     principals into tasks
dispatch      tasks out, reports back into the run's journal         coordinator's side
coordinator   which worker does what, and what share of the budgets each has
messages      what both sides tell each other
worker        does a task                                            worker's side
unit_log      what became of its units, to be told again by the coordinator
sealed_parts  parts that are complete and that nobody sees yet
"""
