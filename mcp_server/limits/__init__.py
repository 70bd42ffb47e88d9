"""What may be used, by whom: how often somebody may ask, and how much may go on at once.

rates       who may ask how often, and a ledger of it in memory
shared      the same ledger for several servers on one PostgreSQL
slots       who has one, and who must wait or is refused
deadlines   who is told when time is up
queue       the queue of one pipeline: whose turn is next
"""
