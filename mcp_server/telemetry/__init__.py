"""What the server tells of itself to those who operate it.

tally      counts, in memory
lines      log records as lines
built      what is known of the build
"""
