"""What would go wrong, found before it does, and how to mend it.

``looking`` gathers facts and has no opinion; ``judging`` turns facts into findings and looks at
nothing; ``examination`` brings the two together.
"""
