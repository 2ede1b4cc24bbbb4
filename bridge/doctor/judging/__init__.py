"""From facts to findings: what is wrong with what was seen, and how to mend it. Pure, all of it."""
