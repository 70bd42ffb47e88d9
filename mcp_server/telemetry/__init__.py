"""What the server tells of itself to those who operate it.

tally      counts, in memory
lines      log records as lines
spans      spans of runs, if tracing is on
tracing    OpenTelemetry
built      what is known of the build
"""
