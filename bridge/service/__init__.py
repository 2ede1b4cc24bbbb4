"""The life of the process: start, prove, reload, drain, leave."""
