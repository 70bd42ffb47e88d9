"""What may be used, by whom: how much may go on at once.

slots       who has one, and who must wait or is refused
queue       the queue of one pipeline: whose turn is next
"""
