"""Whether a precision can be promised: tests, bounds and drift."""
