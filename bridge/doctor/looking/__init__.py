"""From this machine to facts: reads, asks and measures, and changes nothing."""
